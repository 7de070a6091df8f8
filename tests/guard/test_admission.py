"""The steps after who calls, seen through the adapters: the app is asked by whom the policy wants alone."""

from __future__ import annotations

from typing import Any

import pytest

from sealgate.guard import asgi, wsgi
from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.guard.sources import EnvoySource
from sealgate.policy.model import Policy
from tests.guard.exchange import PROOF, Log, call_asgi, call_wsgi, environ, reply_of, scope

RULES = [
    {"path": "/free/**", "require": "none"},
    {"path": "/near/**", "require": {"address": ["192.0.2.0/24"]}},
    {"path": "/far/**", "require": {"address": ["198.51.100.0/24"]}},
    {"path": "/write", "methods": ["PUT"], "deny": True},
    {"path": "/write", "require": "none"},
]
SITE = compile_policy(
    Policy.model_validate(
        {"site": {"names": ["api.example.com"]}, "access": {"default": "deny", "rules": RULES}}
    ),
    7,
)
CASES = [
    ("GET", "/free/x", 200, ""),
    ("GET", "/near/x", 200, ""),
    ("GET", "/far/x", 403, "access.rules[2]"),
    ("PUT", "/write", 403, "access.rules[3]"),
    ("GET", "/write", 200, ""),
    ("GET", "/", 403, "access.default"),
    ("GET", "/free", 200, ""),
    ("GET", "/free;x", 403, "access.default"),
    ("GET", "/%66ree/x", 200, ""),
    ("GET", "/%66ar/x", 403, "access.rules[2]"),
    ("GET", "/free/%2e%2e/far", 400, "encoded-separator"),
    ("GET", "/FREE/x", 403, "access.default"),
    ("GET", "/free\\x", 400, "raw-character"),
    ("OPTIONS", "*", 403, "access.default"),
]


@pytest.mark.parametrize(("method", "target", "status", "rule"), CASES)
def test_wsgi(method: str, target: str, status: int, rule: str) -> None:
    seen: list[str] = []
    log = Log()

    def app(env: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(env["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    guard = wsgi.Guard(app, SITE, EnvoySource(PROOF), log)
    reply = call_wsgi(guard, environ(target, method=method))
    assert (reply.status, len(seen)) == (status, int(status == 200))
    assert log.rules == ([rule] if rule else [])


@pytest.mark.parametrize(("method", "target", "status", "rule"), CASES)
def test_asgi(method: str, target: str, status: int, rule: str) -> None:
    seen: list[str] = []
    log = Log()

    async def app(received: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(received["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    guard = asgi.Guard(app, SITE, EnvoySource(PROOF), log)
    reply = reply_of(call_asgi(guard, scope(target, method=method)))
    assert (reply.status, len(seen)) == (status, int(status == 200))
    assert log.rules == ([rule] if rule else [])


def test_a_websocket_is_a_get() -> None:
    """And refused before it is accepted."""

    async def app(received: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    guard = asgi.Guard(app, SITE, EnvoySource(PROOF), Log())
    sent = call_asgi(guard, scope("/far/x", kind="websocket"), {"type": "websocket.connect"})
    assert reply_of(sent, "websocket.http.response").status == 403
    sent = call_asgi(guard, scope("/free/x", kind="websocket"), {"type": "websocket.connect"})
    assert sent == [{"type": "websocket.accept"}]


def test_another_policy_counts_from_the_next_request_on() -> None:
    def app(env: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    guard = wsgi.Guard(app, SITE, EnvoySource(PROOF), Log())
    assert call_wsgi(guard, environ("/x")).status == 403
    guard.use(compile_policy(Policy.model_validate({"site": {"names": ["api.example.com"]}}), 8))
    assert call_wsgi(guard, environ("/x")).status == 200
    guard.use(SITE)
    assert call_wsgi(guard, environ("/x")).status == 403


def test_the_published_file_says_all_of_it() -> None:
    assert Compiled.from_json(SITE.to_json()) == SITE
