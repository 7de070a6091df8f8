"""An installed nginx whose `http` block says more than a distribution's: it does not count in our site, or is
refused with its line; on the real server, whose own site goes on as it was."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection

import pytest

from tests.live.backend import Backend, backend
from tests.live.installed import Installed, call, installed, said, untouched

PINNED = """\
proxy_method DELETE;
proxy_pass_request_headers off;
proxy_pass_request_body off;
proxy_set_header Authorization "Basic aGlzOnNlY3JldA==";
proxy_bind 127.250.250.250;
proxy_pass_header X-Powered-By;
proxy_hide_header Content-Type;
proxy_ignore_headers Expires;
proxy_next_upstream error timeout http_500 non_idempotent;
proxy_cookie_path / /his;
proxy_limit_rate 1;
proxy_buffers 8 128k;
proxy_busy_buffers_size 256k;
proxy_ssl_verify off;
ssl_reject_handshake on;
limit_conn_zone $binary_remote_addr zone=his:1m;
limit_conn_dry_run on;
client_body_in_file_only on;
chunked_transfer_encoding off;
charset utf-8;
charset_types *;
expires max;
add_header X-His yes always;
real_ip_header proxy_protocol;
set_real_ip_from 0.0.0.0/0;
"""
"""What our blocks say themselves."""

SECRET = "do-not-tell"
JUDGES = f"""\
deny all;
limit_req_zone $binary_remote_addr zone=requests:1m rate=1r/m;
limit_req zone=requests;
auth_basic {SECRET};
auth_basic_user_file /nonexistent;
sub_filter a b;
"""


@pytest.fixture(scope="module")
def behind() -> Iterator[Backend]:
    with backend() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, behind: Backend) -> Iterator[Installed]:
    with installed("nginx", tmp_path_factory.mktemp("installed"), behind.url) as one:
        yield one


@pytest.fixture
def site(server: Installed) -> Iterator[Installed]:
    with untouched(server):
        yield server


def test_what_our_blocks_say_themselves_counts_and_nothing_else(site: Installed, behind: Backend) -> None:
    with said(site, PINNED):
        assert call(site, "apply", "--yes") == 0
        assert call(site, "observe") == 0
        connection = HTTPSConnection(site.host, site.https, timeout=20, context=site.context())
        with contextlib.closing(connection):
            for method, body in (("POST", b"his words"), ("OPTIONS", None), ("GET", None)):
                connection.request(method, "/x", body, headers={"X-Mine": "yes"})
                answer = connection.getresponse()
                assert answer.status == 200
                assert answer.read()
                fields = {name.lower(): value for name, value in answer.getheaders()}
                assert fields["content-type"] == "application/json"
                assert {"x-powered-by", "x-his", "expires", "cache-control"}.isdisjoint(fields)
                seen = behind.seen[-1]
                assert (seen["method"], seen["size"]) == (method, len(body or b""))
                told = dict(seen["fields"])
                assert told["x-mine"] == "yes"
                assert "authorization" not in told
                assert told["x-forwarded-for"] == "127.0.0.1"
        assert not list((site.folder / "run" / "body").rglob("*/*/*")), "no body is kept"
        status, fields, _ = site.get_plain("/x")
        assert status == 308
        assert {"x-his", "strict-transport-security", "expires"}.isdisjoint(fields)
        his = site.get_plain(port=site.user)
        assert his[2] == b"hand-written"
        assert his[1]["x-his"] == "yes", "his own site has what he said"


def test_what_judges_or_is_not_known_is_refused_with_its_line(
    site: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    before = site.main.read_bytes()
    with said(site, JUDGES) as extra:
        assert call(site, "plan", "--json") == 1
        plan = json.loads(capsys.readouterr().out)
        named = [(one["place"], one["directive"]) for one in plan["inherited"]]
        lines = {1: "deny", 3: "limit_req", 4: "auth_basic", 6: "sub_filter"}
        assert named == [(f"{extra}:{line}", name) for line, name in lines.items()]
        assert call(site, "plan") == 1
        shown = "".join(capsys.readouterr().out.split())
        assert f"{extra}:3:limit_reqwouldcount" in shown
        assert call(site, "apply", "--yes") == 3
        refusal = capsys.readouterr().err
        assert "server-config-inherits" in refusal
        assert all(f"{extra}:{line}: {name}" in refusal for line, name in lines.items())
        assert SECRET not in refusal + shown + str(plan)
        assert site.main.read_bytes() == before
        assert not site.own.exists()
        assert site.answers()
    assert call(site, "apply", "--yes") == 0
    with said(site, "satisfy any;\ndeny all;\n"):
        capsys.readouterr()
        assert call(site, "observe", "--json") == 1
        assert {one["kind"] for one in json.loads(capsys.readouterr().out)["drift"]} == {"server-inherits"}
        assert call(site, "apply", "--yes") == 3, "also where nothing of ours would change"
    with said(site, 'include half/*.conf;\nserver_tokens off;\nroot "x;\n'):
        assert call(site, "apply", "--yes") == 3
    assert call(site, "observe") == 0


def test_behind_a_balancer_the_address_is_the_one_that_it_says(site: Installed, behind: Backend) -> None:
    """By the PROXY protocol, whatever else the user believes; address rules judge that one."""
    extra = "real_ip_header X-Forwarded-For;\nset_real_ip_from 0.0.0.0/0;\nreal_ip_recursive on;\n"
    site.rewrite(listen={"proxy_protocol": True}, network={"deny": ["192.0.2.0/24"]}, http={"mode": "refuse"})
    try:
        with said(site, extra):
            assert call(site, "apply", "--yes") == 0
            assert said_over_proxy(site, "198.51.100.7") == 200
            assert dict(behind.seen[-1]["fields"])["x-forwarded-for"] == "198.51.100.7"
            assert said_over_proxy(site, "192.0.2.7") == 403
    finally:
        site.rewrite(listen={"proxy_protocol": False}, network={"deny": []}, http={"mode": "redirect"})


def said_over_proxy(site: Installed, address: str) -> int:
    """What a client at this address is answered, who claims another."""
    raw = socket.create_connection((site.host, site.https), 20)
    raw.sendall(f"PROXY TCP4 {address} 127.0.0.1 50000 443\r\n".encode())
    connection = HTTPConnection(site.host, site.https, timeout=20)
    context: ssl.SSLContext = site.context()
    with contextlib.closing(context.wrap_socket(raw, server_hostname=site.host)) as wrapped:
        connection.sock = wrapped
        connection.request("GET", "/", headers={"X-Forwarded-For": "10.9.9.9"})
        return connection.getresponse().status
