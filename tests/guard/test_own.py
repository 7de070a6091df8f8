"""What servers that are not ours say of a connection: believed where no header field could have said it."""

from __future__ import annotations

from typing import Any

import pytest

from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.guard.own import OwnSource
from sealgate.policy.model import Policy


def compiled(**tables: Any) -> Compiled:
    return compile_policy(Policy.model_validate({"site": {"app": "own:app"}, **tables}), 1)


TRUSTING = {"network": {"trusted_proxies": ["192.0.2.0/24"]}}
WSGI = {"REMOTE_ADDR": "192.0.2.9", "REMOTE_PORT": "5000", "RAW_URI": "/x?y=1", "wsgi.url_scheme": "https"}
SCOPE = {
    "client": ("192.0.2.9", 5000),
    "scheme": "https",
    "raw_path": b"/x",
    "query_string": b"y=1",
    "headers": [],
}


def wsgi(policy: Compiled, **changed: Any) -> tuple[str, str, str]:
    environ = {**WSGI, **{name.replace("__", "."): value for name, value in changed.items()}}
    told = OwnSource(policy).from_environ(
        {name: value for name, value in environ.items() if value is not None}
    )
    if told is None:
        return "", "", "none"
    origin, target = told
    return origin.client.address, target, origin.lost.reason if origin.lost else ""


def asgi(policy: Compiled, *headers: tuple[bytes, bytes], **changed: Any) -> tuple[str, str, str]:
    told = OwnSource(policy).from_scope({**SCOPE, "headers": list(headers), **changed})
    if told is None:
        return "", "", "none"
    origin, target = told
    return origin.client.address, target, origin.lost.reason if origin.lost else ""


def test_what_the_socket_says_counts() -> None:
    assert wsgi(compiled()) == ("192.0.2.9", "/x?y=1", "")
    assert asgi(compiled()) == ("192.0.2.9", "/x?y=1", "")
    assert wsgi(compiled(), HTTP_X_FORWARDED_FOR="198.51.100.1") == ("192.0.2.9", "/x?y=1", "")
    assert wsgi(compiled(), RAW_URI=None, REQUEST_URI="/z")[1] == "/z"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"RAW_URI": None}, "none"),
        ({"REMOTE_ADDR": ""}, "none"),
        ({"wsgi__url_scheme": "http"}, "plain-http"),
        ({"wsgi__url_scheme": ""}, "plain-http"),
        ({"wsgi__url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "https"}, "plain-http"),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=192.0.2.7"}, "proxy-not-in-trusted-proxies"),
        ({"REMOTE_ADDR": "::1", "HTTP_X_FORWARDED_PROTO": "https"}, "proxy-not-in-trusted-proxies"),
    ],
)
def test_wsgi_servers_that_do_not_say(changed: dict[str, Any], reason: str) -> None:
    assert wsgi(compiled(), **changed)[2] == reason


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"raw_path": None}, "none"),
        ({"client": None}, "none"),
        ({"client": ("192.0.2.9", 0)}, "address-by-header"),
        ({"scheme": "http"}, "plain-http"),
        ({"scheme": "ws"}, "plain-http"),
        ({"scheme": "wss"}, ""),
    ],
)
def test_asgi_servers_that_do_not_say(changed: dict[str, Any], reason: str) -> None:
    assert asgi(compiled(), **changed)[2] == reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"HTTP_X_FORWARDED_PROTO": "https"}, ""),
        ({"HTTP_X_FORWARDED_PROTO": "https, http"}, "plain-http"),
        ({"HTTP_X_FORWARDED_PROTO": ""}, "plain-http"),
        ({"HTTP_FORWARDED": 'for=198.51.100.1;proto="https"'}, ""),
        ({"HTTP_FORWARDED": "for=198.51.100.1;proto=http"}, "plain-http"),
        ({"HTTP_FORWARDED": "for=198.51.100.1"}, "plain-http"),
    ],
)
def test_a_trusted_proxy_says_how_it_was_reached(fields: dict[str, str], reason: str) -> None:
    assert wsgi(compiled(**TRUSTING), wsgi__url_scheme="http", **fields)[2] == reason


def test_nobody_brings_his_own_request_id() -> None:
    environ: dict[str, Any] = {**WSGI, "HTTP_X_REQUEST_ID": "mine"}
    OwnSource(compiled()).from_environ(environ)
    assert len(environ["HTTP_X_REQUEST_ID"]) == 36
    scope: dict[str, Any] = {**SCOPE, "headers": [(b"x-request-id", b"mine")]}
    OwnSource(compiled()).from_scope(scope)
    assert [len(value) for _, value in scope["headers"]] == [36]


def test_no_environ_says_that_a_certificate_was_shown() -> None:
    policy = compiled(clients={"mode": "optional"})
    assert wsgi(policy, **{"sealgate.peer_certificate": b"x"})[2] == "server-tells-no-certificates"
    assert asgi(policy)[2] == "server-tells-no-certificates"
    assert asgi(policy, extensions={"tls": {}})[2] == ""
