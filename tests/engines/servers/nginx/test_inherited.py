"""What the user's `http` block would bring into our site: what is not ours, nor known to be harmless."""

from __future__ import annotations

from typing import Any

import pytest

from sealgate.engines.configurations.directive import Configuration, Directive
from sealgate.engines.configurations.library import Texts
from sealgate.engines.configurations.nginx import read_nginx
from sealgate.engines.installed.contract import included
from sealgate.engines.servers.nginx.inherited import inherited
from sealgate.policy.model import Policy
from tests.engines.installed.test_included_files import CASES, facts

MAIN, OWN = "/etc/nginx/nginx.conf", "/state/sealgate.conf"

ORDINARY = """
    sendfile on; tcp_nopush on; tcp_nodelay on; types_hash_max_size 2048; server_tokens build;
    server_names_hash_bucket_size 64; default_type text/html; types { text/html html; }
    ssl_protocols TLSv1; ssl_ciphers LOW; ssl_prefer_server_ciphers on; ssl_session_cache shared:x:1m;
    ssl_stapling on; ssl_dhparam x.pem; ssl_verify_client on; ssl_reject_handshake on; ssl_conf_command A b;
    access_log /var/log/a; error_log /var/log/e debug; log_format main "$request"; gzip on; gzip_types *;
    map $http_upgrade $connection_upgrade { default upgrade; } geo $country { default 1; }
    upstream u { server 127.0.0.1; } limit_req_zone $binary_remote_addr zone=a:1m rate=1r/s;
    limit_conn_zone $binary_remote_addr zone=b:1m; limit_req_status 429;
    set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For; real_ip_recursive on;
    proxy_cache_path /c keys_zone=c:1m; proxy_cache c; proxy_cache_valid 200 1m; proxy_set_header X y;
    proxy_hide_header X; proxy_next_upstream error non_idempotent; proxy_pass_request_headers off;
    proxy_method POST; proxy_bind 127.0.0.9; proxy_redirect default; proxy_ssl_verify off;
    proxy_ssl_certificate c.pem; proxy_pass_header Server; proxy_cookie_path / /x; proxy_buffers 8 128k;
    proxy_busy_buffers_size 256k; proxy_ignore_client_abort on; proxy_store on; proxy_limit_rate 1;
    client_max_body_size 0; client_body_in_file_only on; client_header_timeout 1h; error_page 404 /x;
    limit_conn_dry_run on; add_header X-Frame-Options DENY; expires max; charset utf-8; root /var/www;
    chunked_transfer_encoding off; lingering_time 1d; underscores_in_headers on; merge_slashes on;
    resolver 127.0.0.53;
    open_file_cache max=9; fastcgi_param A b; uwsgi_read_timeout 9s; auth_basic off; limit_rate 0; mirror off;
    server { deny all; auth_basic x; location / { limit_req zone=a; } }
"""

COUNT = [
    "deny all",
    "allow 10.0.0.0/8",
    "limit_req zone=a",
    "limit_conn b 1",
    "limit_rate 1k",
    'auth_basic "who"',
    "auth_request /auth",
    "auth_jwt x",
    "proxy_set_body x",
    "proxy_pass_trailers on",
    "mirror /mirror",
    "sub_filter a b",
    "ssi on",
    "ssl on",
    "add_after_body /x",
    "add_trailer X y",
    "add_header_inherit merge",
    "dav_methods PUT",
    "http2_push /x",
    "userid on",
    "ssl_session_ticket_key k",
    "access_by_lua_block { ngx.exit(403) }",
    "header_filter_by_lua_file x.lua",
    "js_header_filter x",
    "more_set_headers X",
    "modsecurity on",
    "something_new on",
    "geo $sealgate_peer { default 0; }",
    'map "" $http_upgrade { default websocket; }',
    'map "" $HTTP_Upgrade { default websocket; }',
    "geo $Remote_Addr { default 192.0.2.1; }",
    "geoip2 x.mmdb { $sealgate_site country; }",
    "js_set $sealgate_hsts x.y",
]


def ours(case: str = "http", version: str = "1.22.1") -> Configuration:
    made = facts(CASES[case], "nginx")
    object.__setattr__(made, "version", version)
    text = included("nginx").render(made, ()).decode()
    read = read_nginx(OWN, Texts({OWN: text}))
    assert not read.unread, "our own file is read whole"
    return read


def theirs(http: str, **more: str) -> Configuration:
    texts = {MAIN: f'events {{ }}\nhttp {{\ninclude "{OWN}";\n{http}\n}}\n', **more}
    text = included("nginx").render(facts(CASES["http"], "nginx"), ()).decode()
    return read_nginx(MAIN, Texts({**texts, OWN: text}))


def found(http: str, case: str = "http", version: str = "1.22.1", **more: str) -> list[Directive]:
    return list(inherited(theirs(http, **more).root, ours(case, version).root))


@pytest.mark.parametrize("version", ["1.22.1", "1.31.0"])
@pytest.mark.parametrize("case", CASES)
def test_an_ordinary_configuration_may_stay_as_it_is(case: str, version: str) -> None:
    names = {one.name for one in found(ORDINARY, case, version)}
    # The backend over TLS would be shown that certificate.
    assert names == ({"proxy_ssl_certificate"} if case == "https" else set())


@pytest.mark.parametrize("line", COUNT)
def test_what_judges_or_changes_requests_or_is_not_known_counts(line: str) -> None:
    (one,) = found(f"{line}{'' if line.endswith('}') else ';'}")
    assert one.name == line.split(maxsplit=1)[0]
    assert one.place == f"{MAIN}:4"


def test_what_one_of_our_blocks_does_not_say_counts() -> None:
    """HTTP/2 without TLS: before 1.25.1 nobody can say it, from then on both of our blocks do."""
    assert [one.name for one in found("http2 on;", version="1.22.1")] == ["http2"]
    assert found("http2 on;", version="1.25.1") == []
    assert found("http2 on;", "modern", version="1.25.1") == []


def test_files_that_are_included_count_where_they_are_included() -> None:
    more = {"/etc/nginx/conf.d/block.conf": "deny 192.0.2.1;\ndeny 192.0.2.2;\n"}
    assert [one.place for one in found("include conf.d/*.conf;", **more)] == [
        "/etc/nginx/conf.d/block.conf:1",
        "/etc/nginx/conf.d/block.conf:2",
    ]
    assert found("server { include conf.d/*.conf; }", **more) == []


def test_without_a_block_of_ours_that_can_be_read_nothing_is_taken_for_ours() -> None:
    nothing = Directive("", (), OWN, 0, ())
    whole = theirs("charset utf-8; proxy_method POST; access_log off;")
    assert [one.name for one in inherited(whole.root, nothing)] == ["charset", "proxy_method"]


def test_what_could_not_be_read_counts_where_a_site_would_have_something_of_it() -> None:
    more = {"/etc/nginx/half.conf": 'deny "all;\n'}
    read = theirs(
        "include gone.conf;\nserver { include gone.conf; include half.conf; }\nmap $a $b { include c; }",
        **more,
    )
    assert [(one.line, one.apart) for one in read.unread] == [(4, False), (5, True), (0, True), (6, True)]
    again = theirs("server { include half.conf; }\ninclude half.conf;", **more)
    assert [one.apart for one in again.unread] == [True, False], "in each place in which it is included"


def test_rules_of_addresses_stay_ours() -> None:
    """No `allow` or `deny` of nginx's is in our file: a policy's rules are geo's."""
    table: dict[str, Any] = CASES["addresses"]
    assert Policy.model_validate(table).network.ruled_by_peer
    names = {one.name for one in ours("addresses").root.walk()}
    assert names.isdisjoint({"allow", "deny", "auth_basic", "satisfy"})
    assert "geo" in names
