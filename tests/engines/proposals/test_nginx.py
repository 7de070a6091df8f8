"""A policy proposed from nginx's configuration: what carries over, what changes, what is left, and where."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.configurations.library import Texts
from sealgate.engines.configurations.nginx import read_nginx
from sealgate.engines.proposals.nginx import propose_nginx
from sealgate.engines.proposals.proposal import Proposal
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.policy.template import policy_template


def proposal(text: str, wanted: str = "", **more: str) -> Proposal:
    texts = {"/etc/nginx/nginx.conf": text} | {f"/etc/nginx/{name}": each for name, each in more.items()}
    found = propose_nginx(read_nginx("/etc/nginx/nginx.conf", Texts(texts)), wanted=wanted)
    assert found is not None
    return found


def policy(chosen: Mapping[tuple[str, ...], Any], **more: Any) -> Policy:
    return loads(policy_template(chosen, **more), path=Path("/sealgate.toml"), environ={}).policy


def carried(inside: str, around: str = "") -> dict[str, Any]:
    """Of one server with these directives: the keys as a policy file has them; the whole must load."""
    found = proposal(f"http {{ {around} server {{ {inside} }} }}")
    policy(found.chosen)
    return {".".join(key): value for key, value in found.chosen.items()}


def said(inside: str, around: str = "") -> str:
    found = proposal(f"http {{ {around} server {{ {inside} }} }}")
    return "\n".join([*map(" ".join, found.changed), *map(" ".join, found.left)])


@pytest.mark.parametrize(
    ("inside", "key", "value"),
    [
        ("server_name a.test b.test;", "site.names", ("a.test", "b.test")),
        ("server_name .a.test;", "site.names", ("a.test", "*.a.test")),
        ("server_name bücher.test;", "site.names", ("xn--bcher-kva.test",)),
        ("server_name _ a.test;", "site.names", ("a.test",)),
        ("listen 443 ssl; listen [::]:443 ssl;", "listen.https", ("0.0.0.0:443", "[::]:443")),
        ("listen 127.0.0.1:8443 ssl; listen localhost:80;", "listen.http", ("127.0.0.1:80",)),
        ("listen 443 ssl;", "listen.http", ()),
        ("listen 10.0.0.1:443 ssl; listen 443 ssl;", "listen.https", ("10.0.0.1:443",)),
        ("listen 80;", "listen.https", ("0.0.0.0:443",)),
        ("ssl on; listen 443;", "listen.https", ("0.0.0.0:443",)),
        ("listen 443 ssl proxy_protocol;", "listen.proxy_protocol", True),
        ("listen 443 quic; listen 443 ssl;", "listen.http3", True),
        ("listen 80; return 301 https://$host$request_uri;", "http.mode", "redirect"),
        ("listen 80; rewrite ^ https://a.test$request_uri permanent;", "http.mode", "redirect"),
        ("listen 80; return 403;", "http.mode", "refuse"),
        ("ssl_certificate c.pem; ssl_certificate_key /k.pem;", "certificate.files.chain", "/etc/nginx/c.pem"),
        ("ssl_certificate c.pem; ssl_certificate_key ../k.pem;", "certificate.files.key", "/etc/k.pem"),
        ("ssl_protocols TLSv1.3;", "tls.profile", "modern@6.0"),
        ("ssl_protocols TLSv1 TLSv1.2;", "tls.profile", "intermediate@6.0"),
        ("ssl_verify_client on; ssl_client_certificate c;", "clients.mode", "required"),
        ("ssl_verify_client optional; ssl_client_certificate c;", "clients.mode", "optional"),
        ("client_max_body_size 10M;", "limits.body", "10MiB"),
        ("client_max_body_size 1000;", "limits.body", "1000B"),
        ("location / { proxy_pass http://a; client_max_body_size 3k; }", "limits.body", "3KiB"),
        ("large_client_header_buffers 4 8k;", "limits.headers", "32KiB"),
        ("large_client_header_buffers 100 8k;", "limits.headers", "96KiB"),
        ("client_header_timeout 1m30s;", "timeouts.headers", "90s"),
        ("client_header_timeout 1m30s;", "timeouts.request", "90s"),
        ("keepalive_timeout 500ms;", "timeouts.idle", "500ms"),
        ("location / { proxy_pass http://a; proxy_read_timeout 5; }", "timeouts.headers", "5s"),
        ("client_header_timeout 40; proxy_read_timeout 60;", "timeouts.request", "60s"),
        ('add_header Strict-Transport-Security "max-age=31536000; includeSubDomains; preload";',
         "http.hsts.preload", True),
        ('add_header Strict-Transport-Security "max-age=5";', "http.hsts.max_age", 5),
        ("location / { proxy_pass http://127.0.0.1:9000; }", "site.upstream", "http://127.0.0.1:9000"),
        ("location / { proxy_pass http://unix:/run/a.sock; }", "site.upstream", "unix:/run/a.sock"),
        ("location / { proxy_pass http://unix:/run/a.sock:/x/; }", "site.upstream", "unix:/run/a.sock"),
        ("location / { proxy_pass https://b.test/v1/; }", "site.upstream", "https://b.test:443"),
        ("location /a { proxy_pass http://a; } location / { proxy_pass http://b; }", "site.upstream",
         "http://b:80"),
        ("location / { try_files $uri @x; } location @x { proxy_pass http://[::1]:1; }", "site.upstream",
         "http://[::1]:1"),
    ],
)  # fmt: skip
def test_what_carries_over(inside: str, key: str, value: object) -> None:
    assert carried(inside)[key] == value


def test_a_group_of_upstreams() -> None:
    around = "upstream app { zone z 64k; server unix:/run/a.sock weight=2; server 10.0.0.1:80; }"
    inside = "location / { proxy_pass http://app; }"
    assert carried(inside, around)["site.upstream"] == "unix:/run/a.sock"
    assert "a policy has one upstream" in said(inside, around)


def test_the_authority_of_clients() -> None:
    found = carried("ssl_verify_client on; ssl_client_certificate 'certs/My CA.pem';")
    (authority,) = found["clients.authorities"]
    assert (authority.name, authority.file) == ("my-ca", "/etc/nginx/certs/My CA.pem")
    (other,) = carried("ssl_verify_client on; ssl_client_certificate private.pem;")["clients.authorities"]
    assert other.name == "clients"


@pytest.mark.parametrize(
    ("inside", "sentence"),
    [
        ("server_name ~^a$;", "names by a regular expression are in no certificate"),
        ("server_name www.a.*;", "a wildcard at the end"),
        ("server_name $hostname;", "has an escape or a variable"),
        ("server_name _;", "names no host"),
        ("listen unix:/run/n.sock;", "a policy listens on TCP addresses only"),
        ("listen a.test:443 ssl;", "write an IP address and a port by hand"),
        ("listen 443 ssl; listen 10.0.0.1:443 ssl;", "10.0.0.1:443 is covered by 0.0.0.0:443"),
        (
            "listen 443 quic; ssl_verify_client on; ssl_client_certificate c;",
            "no HTTP/3 together with client",
        ),
        ("listen 80; location / { root /srv; }", "now they are redirected"),
        ("ssl_certificate c; ssl_certificate_key k; ssl_certificate d;", "a policy has one certificate"),
        ("ssl_certificate $ssl_server_name.pem; ssl_certificate_key k;", "name it by hand"),
        ("ssl_certificate c; ssl_certificate_key engine:x:y;", "name it by hand"),
        ("ssl_certificate c;", "certificate and key are needed, both"),
        (
            "ssl_certificate c; ssl_certificate_key k; ssl_password_file p;",
            "a key with a passphrase is not read",
        ),
        ("ssl_protocols TLSv1 TLSv1.1 TLSv1.2;", "stricter: TLSv1, TLSv1.1 no longer offered"),
        ("ssl_protocols TLSv1.2;", "TLSv1.3 is offered as well"),
        ("ssl_ciphers HIGH:!aNULL;", "families of suites are named"),
        ("ssl_ciphers AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256;", "stricter: no longer offered: AES128-SHA"),
        ("ssl_verify_client optional_no_ca; ssl_client_certificate c;", "must be valid"),
        ("ssl_verify_client on;", "no file of authorities"),
        ("ssl_verify_client $x;", "set clients.mode by hand"),
        ("ssl_verify_client on; ssl_client_certificate c; ssl_crl l;", "revocation lists"),
        ("ssl_client_certificate c;", "has no effect without ssl_verify_client"),
        ("keepalive_timeout 0;", "no time that timeouts.idle can have"),
        ("client_body_timeout 5;", "timeouts.idle each pause"),
        ('add_header Strict-Transport-Security "max-age=5; preload" always;', "preload is left out"),
        ('add_header Strict-Transport-Security "$x" always;', "no number of seconds"),
        ("add_header A b;", "let the app send it"),
        ("location / { proxy_pass http://$x; }", "set site.upstream by hand"),
        ("location / { proxy_pass http://a_b; }", "set site.upstream by hand"),
        ("location / { proxy_pass http://a/b; }", "the app gets every path as the client sent it"),
        ("location / { proxy_pass http://a; proxy_set_header X-Y z; }", "does not get this field"),
        ("location / { proxy_pass http://a; rewrite ^/a /b break; }", "no engine rewrites a path"),
        ("location ~ a { proxy_pass http://a; } location / { proxy_pass http://b; }", "location ~ a"),
        ("auth_basic x;", "passwords are not checked"),
        ("allow 10.0.0.0/8; deny 10.1.0.0/16; deny all;", "address rules"),
        ("content_by_lua_block { if a then b() end }", "a program inside nginx"),
        ("js_content a.b;", "a program inside nginx"),
        ("unheard_of 1;", "has no counterpart in a policy"),
        ("limit_req zone=a;", "rates are not in this version"),
    ],
)
def test_what_does_not_is_said(inside: str, sentence: str) -> None:
    assert sentence in said(inside)
    carried(inside)


@pytest.mark.parametrize(
    "inside", ["sendfile on;", "ssl_session_cache shared:a:1m;", "location / { proxy_pass http://a; }",
               "location / { proxy_pass http://a; proxy_set_header Host $host; proxy_http_version 1.1; }"]
)  # fmt: skip
def test_what_any_server_decides_itself_is_not_mentioned(inside: str) -> None:
    hsts = 'add_header Strict-Transport-Security "max-age=63072000" always;'
    passed = "" if "location" in inside else "location / { proxy_pass http://a; }"
    assert said(f"server_name a.test; listen 443 ssl; {hsts} {inside} {passed}") == ""


def test_values_that_may_be_secrets_are_not_repeated() -> None:
    inside = 'proxy_pass http://a; proxy_set_header X-Key s3cret; if ($http_k != "s3cret") { return 1; }'
    assert "s3cret" not in said(
        f"location / {{ {inside} }}" + 'set $k s3cret; add_header K s3cret; return 200 "s3cret";'
    )


CERTBOT = """http {
server {
    if ($host = a.test) {
        return 301 https://$host$request_uri;
    } # managed by Certbot
    listen 80;
    server_name a.test;
    return 404;
}
server { listen 443 ssl; server_name other.test; }
server { listen 443 ssl; server_name a.test; location / { proxy_pass http://127.0.0.1:1; } }
server { listen 80; server_name third.test; }
}
"""


def test_the_site_among_several_and_its_plain_http() -> None:
    found = proposal(CERTBOT)
    assert found.chosen["site", "names"] == ("a.test",)
    assert found.chosen["http", "mode"] == "redirect"
    assert found.chosen["listen", "http"] == ("0.0.0.0:80",)
    assert found.origins["http", "mode"] == "/etc/nginx/nginx.conf:4"
    assert found.origins["site", "upstream"] == "/etc/nginx/nginx.conf:11"
    left = [place for place, _, why in found.left if "another site" in why]
    assert left == ["/etc/nginx/nginx.conf:10", "/etc/nginx/nginx.conf:12"]


def test_another_one_by_name() -> None:
    assert proposal(CERTBOT, wanted="other.test").chosen["site", "names"] == ("other.test",)
    assert propose_nginx(read_nginx("/n", Texts({"/n": CERTBOT})), wanted="none.test") is None
    assert propose_nginx(read_nginx("/n", Texts({"/n": "events {}"}))) is None


def test_what_could_not_be_read_is_the_first_thing_left() -> None:
    found = proposal("http { include gone.conf; server { listen 443 ssl; } }")
    place, _, why = found.left[0]
    assert place == "/etc/nginx/nginx.conf:1"
    assert why.startswith("/etc/nginx/gone.conf cannot be read")


def test_many_words_cost_as_much_as_they_are() -> None:
    """Each is said, once: where all of them are copied or compared for each, it takes half a minute."""
    words = " ".join(f"~a{number}" for number in range(30_000))
    text = f"http {{ server {{ server_name {words}; return 200; }} }}"
    began = time.process_time()
    found = proposal(text)
    assert time.process_time() - began < 10
    assert len({why for _, _, why in found.left if why.startswith("~a")}) == 30_000
    assert all(len(said) <= 80 for _, said, _ in found.left)


def test_hostile_text_stays_in_comments() -> None:
    found = proposal(
        'http { server { server_name a.test; location "/\x1b[31m\n[site]" { } unheard\u2028of 1; } }'
    )
    preface = [f"- {place}: {what} {why}" for place, what, why in found.left]
    text = policy_template(found.chosen, preface=preface, remarks={("site", "names"): "\n[x]\x1b"})
    assert "\x1b" not in text
    assert "\u2028" not in text
    assert policy(found.chosen, preface=preface).site.names == ("a.test",)


HSTS = "add_header Strict-Transport-Security"
BEHIND = "location / { proxy_pass http://a;"


@pytest.mark.parametrize(
    ("inside", "around", "age", "sentences"),
    [
        ("add_header A b;", f'{HSTS} "max-age=7" always;', 7, ["with every answer, not there alone"]),
        (f'{HSTS} "max-age=7" always; {BEHIND} add_header A b; }}', "", 7, ["not there alone: max-age=7"]),
        (f'location /a {{ {HSTS} "max-age=7" always; }} {BEHIND} }}', "", 7, ["not there alone"]),
        (
            f'{HSTS} "max-age=7" always; location /a {{ {HSTS} "max-age=0"; }}', f'{HSTS} "max-age=7";', 7,
            ["sends max-age=7 with every answer: another value", "sends max-age=7 with every answer\n"],
        ),
        (f'{HSTS} "max-age=5" always; {HSTS} "max-age=6";', "", 5, ["sends max-age=5 with every answer: an"]),
        (f'{HSTS} "$x" always;', "", None, ["http.hsts sends max-age=63072000 instead"]),
        (f'{HSTS} "$x" always; {HSTS} "max-age=9" always;', "", 9, ["http.hsts sends max-age=9 instead"]),
        ("more_set_headers 'Strict-Transport-Security: max-age=7; includeSubDomains';", "", 7,
         ["sends it with every answer, not there alone: max-age=7; includeSubDomains"]),
        (f'{HSTS} "max-age=9999999999" always;', "", 316224000, ["http.hsts.max_age is ten years at most"]),
        ("", "", None, ["is sent now: max-age=63072000; begin with http.hsts.max_age = 300 if unsure"]),
        ("", f'server {{ server_name a.test; listen 80; {HSTS} "max-age=5"; }}', None,
         ["browsers ignore it over plain HTTP", "is sent now"]),
    ],
)  # fmt: skip
def test_hsts_wherever_it_stands(inside: str, around: str, age: int | None, sentences: list[str]) -> None:
    """The engine sends it, by the policy: nobody is told to have the app do it."""
    inside = f"server_name a.test; listen 443 ssl; {inside}"
    assert carried(inside, around).get("http.hsts.max_age") == age
    text = said(inside, around) + "\n"
    for sentence in sentences:
        assert sentence in text
    assert not re.search(r"(?i)strict-transport-security[^\n]*let the app", text)


def test_hsts_of_loopback_names_is_said_as_it_is_sent() -> None:
    inside = "server_name localhost; listen 443 ssl;"
    assert "is sent now: max-age=300" in said(inside)


def test_underscores_are_the_engines_to_judge_in_front_of_an_upstream() -> None:
    assert "never gets to the app" in said("underscores_in_headers on;")
    assert "guard" not in said("underscores_in_headers on;")
    assert "underscore" not in said("underscores_in_headers off;")


WORDS = st.sampled_from(
    ["a.test", "443", "ssl", "on", "off", "http://a", "0", "$x", "'", "10m", "max-age=1", "~a", "/",
     "unix:/a", "\ufffd", "99999999999999999999", "-1", "[::1]:443", "::", "%00", "optional", "https://",
     "TLSv1.3", "'a b'", "\\", "all", "10.0.0.0/8", "::/0", "0.0.0.0/0"]
)  # fmt: skip
NAMES = st.sampled_from(
    """listen server_name ssl_certificate ssl_certificate_key proxy_pass client_max_body_size add_header
    allow deny ssl_verify_client ssl_client_certificate keepalive_timeout client_header_timeout return rewrite
    proxy_read_timeout large_client_header_buffers ssl_protocols ssl_ciphers x upstream server""".split()  # noqa: SIM905 - a list to read
)
LINES = st.lists(
    st.builds(lambda name, words: f"{name} {' '.join(words)};", NAMES, st.lists(WORDS, max_size=4))
)


@given(server=LINES, location=LINES, http=LINES)
def test_whatever_is_proposed_loads(server: list[str], location: list[str], http: list[str]) -> None:
    inside = f"{' '.join(server)}\nlocation / {{ {' '.join(location)} }}"
    text = f"http {{\n{' '.join(http)}\nserver {{\n{inside}\n}}\n}}\n"
    found = propose_nginx(read_nginx("/n", Texts({"/n": text})))
    if found is not None:
        policy(found.chosen, preface=[" ".join(one) for one in (*found.changed, *found.left)])


def shouted(inside: str, around: str = "") -> tuple[list[str], list[str]]:
    found = proposal(f"http {{ {around} server {{ {inside} }} }}")
    return [why for _, why in found.opened], [why for _, why in found.shorter]


@pytest.mark.parametrize(
    ("inside", "sentence"),
    [
        ("location /admin { auth_basic a; auth_basic_user_file f; }", "location /admin asks for a password"),
        ("location /a { location /a/b { auth_request /x; } }", "location /a/b asks another server"),
        ("location /a { satisfy any; allow 10.0.0.0/8; deny all; }", "location /a lets in by address only"),
        ("auth_basic a;", "the whole site asks for a password"),
        ("location ~ /\\.git { return 404; }", "location ~ /\\.git answers 404 to all"),
        ("location /p { internal; }", "location /p is not reached from outside"),
        ('location /a { if ($ssl_client_s_dn != "CN=a") { return 403; } }', "location /a refuses by a rule"),
        ("ssl_verify_client $x;", "no certificate is asked for"),
    ],
)
def test_a_door_that_would_stand_open_is_shouted(inside: str, sentence: str) -> None:
    (why,), _ = shouted(inside)
    assert sentence in why
    (every,), _ = shouted("", "deny all;")
    assert every == "every site refuses everybody (deny); under this policy everybody gets through"


def test_what_is_open_today_or_stays_shut_is_not_shouted() -> None:
    inside = "auth_basic off; location / { allow all; } if ($host != a.test) { return 444; }"
    assert shouted(f"{inside} ssl_verify_client on; ssl_client_certificate c.pem; return 403;")[0] == []


@pytest.mark.parametrize(
    ("inside", "sentences"),
    [
        # Nothing is said: nginx waits longer than we do.
        ("", ["proxy_read_timeout 60s (the default): a pause before or in an answer may last 30s at most now",
              "keepalive_timeout 75s (the default)"]),
        ("keepalive_timeout 10; proxy_read_timeout 10;", []),
        # Carried over as timeouts.request, and cut by timeouts.idle all the same.
        ("keepalive_timeout 60; proxy_read_timeout 120s;",
         ["120s: a pause before or in an answer may last 60s at most now, by timeouts.request and timeouts"]),
        ("keepalive_timeout 99M; proxy_read_timeout 1;", ["keepalive_timeout 99M: "]),
        ("keepalive_timeout 1; proxy_read_timeout 1; location /s { proxy_read_timeout 1h; }",
         ["proxy_read_timeout 1h: a pause before or in an answer may last 1s"]),
    ],
)  # fmt: skip
def test_a_time_that_gets_shorter_is_shouted(inside: str, sentences: list[str]) -> None:
    _, found = shouted(inside)
    assert len(found) == len(sentences)
    for why, sentence in zip(sorted(found), sorted(sentences), strict=True):
        assert sentence in why


@pytest.mark.parametrize(
    ("inside", "names"),
    [
        ('proxy_set_header X-Api-Client $remote_addr; proxy_set_header X-Office "yes";',
         ["X-Api-Client", "X-Office"]),
        ('proxy_set_header X-Debug-Role ""; proxy_set_header Authorization "";',
         ["X-Debug-Role", "Authorization"]),
        ("proxy_set_header X_Office 1; proxy_set_header x-office 2;", ["X_Office"]),
        ("location / { proxy_set_header X-A 1; proxy_pass http://a; }", ["X-A"]),
        ("location /a { uwsgi_param HTTP_X_OFFICE yes; uwsgi_param REMOTE_USER $x; }", ["X-Office"]),
        ("location /a { fastcgi_param HTTP_X_A a; fastcgi_param HTTP_PROXY ''; }", ["X-A"]),
        ("more_clear_input_headers -t text/plain X-A 'X-B: c';", ["X-A", "X-B"]),
        # Removed or set anew whatever the policy says, or the client's own today as well.
        (("proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For x;"
         "proxy_set_header Forwarded x; proxy_set_header SSL_CLIENT_CERT $x; proxy_set_header Via ''; "
         "proxy_set_header Host $host; proxy_set_header Authorization $http_authorization;"), []),
    ],
)  # fmt: skip
def test_a_field_that_a_client_can_send_itself_is_shouted(inside: str, names: list[str]) -> None:
    whys = shouted(inside)[0]
    assert whys == [
        f"{name} is the server's to set today; a client can now send it itself: the app must not trust it"
        for name in names
    ]


def test_fields_are_inherited_as_nginx_inherits_them() -> None:
    assert len(shouted("", "proxy_set_header X-A s3cret;")[0]) == 1
    (why,) = shouted("proxy_set_header X-B s3cret;", "proxy_set_header X-A s3cret;")[0]
    assert why.startswith("X-B ")
    assert "s3cret" not in why
    assert "no request field is passed on" in shouted("proxy_pass_request_headers off;")[0][0]


@pytest.mark.parametrize(
    ("inside", "around", "key", "networks"),
    [
        ("allow 10.0.0.0/8; allow ::1; deny all;", "", "allow", ("10.0.0.0/8", "::1/128")),
        ("deny 192.0.2.1; deny 10.0.0.0/8;", "", "deny", ("192.0.2.1/32", "10.0.0.0/8")),
        ("deny 192.0.2.1; allow all;", "", "deny", ("192.0.2.1/32",)),
        ("", "allow 10.0.0.0/8; deny all;", "allow", ("10.0.0.0/8",)),
        ("deny 192.0.2.1;", "allow 10.0.0.0/8; deny all;", "deny", ("192.0.2.1/32",)),
    ],
)
def test_address_rules_that_mean_the_same(inside: str, around: str, key: str, networks: object) -> None:
    found = proposal(f"http {{ {around} server {{ {inside} }} }}")
    assert tuple(map(str, policy(found.chosen).network.model_dump()[key])) == networks
    assert set(found.chosen) & {("network", "allow"), ("network", "deny")} == {("network", key)}
    assert not found.opened


@pytest.mark.parametrize(
    "inside",
    [
        "deny all;",
        "allow 10.0.0.0/8; deny 10.1.0.0/16; deny all;",
        "deny 10.1.0.0/16; allow 10.0.0.0/8; deny all;",
        "deny 10.0.0.0/8; allow 10.1.0.0/16;",
        "allow unix:; deny all;",
        "satisfy any; allow 10.0.0.0/8; deny all;",
        "set_real_ip_from 10.0.0.1; allow 10.0.0.0/8; deny all;",
        "listen 443 ssl proxy_protocol; allow 10.0.0.0/8; deny all;",
        "allow 10.0.0.0/8; deny all; location /open { allow all; }",
    ],
)
def test_other_address_rules_are_shouted(inside: str) -> None:
    assert not any(key.startswith("network.") for key in carried(inside))
    assert len(shouted(inside)[0]) == 1


def test_a_body_without_limit_gets_smaller() -> None:
    assert any("1 MiB at most now" in why for why in shouted("client_max_body_size 0;")[1])
    assert "client_max_body_size" not in said("client_max_body_size 0;")
