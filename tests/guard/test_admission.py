"""The steps after who calls, seen through the adapters: the app is asked by whom the policy wants alone."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from sealgate.guard import asgi, wsgi
from sealgate.guard.admission import Means
from sealgate.guard.client import Client
from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.guard.judge import Judge
from sealgate.guard.sources import EnvoySource
from sealgate.policy.model import Policy
from tests.guard.exchange import PROOF, Log, Reply, call_asgi, call_wsgi, environ, reply_of, scope
from tests.guard.test_rates import Counted
from tests.guard.tokens.issuing import AUDIENCE, ISSUER, Published, jwk, token

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


TOKENS = compile_policy(
    Policy.model_validate(
        {
            "site": {"names": ["api.example.com"]},
            "tokens": {"issuers": [{"issuer": ISSUER, "jwks_file": "k", "audience": [AUDIENCE]}]},
            "limits": {"rates": [{"by": "address", "rate": "1/h", "burst": 4}]},
            "access": {"rules": [{"path": "/write", "require": {"scope": ["orders:write"]}}]},
        }
    ),
    7,
)


def answers(kind: str, targets: list[str], authorization: str) -> tuple[list[Reply], Log, list[object]]:
    """What a caller with this credential hears, one request after the other."""
    log, seen = Log(), list[object]()
    means = Means(Published(jwk("ES256", "ES256")), Counted())

    def app(env: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(env["sealgate.client"].token)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]

    async def later(received: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(received["sealgate"]["client"].token)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    if kind == "wsgi":
        guard = wsgi.Guard(app, TOKENS, EnvoySource(PROOF), log, means=means)
        found = [call_wsgi(guard, environ(one, HTTP_AUTHORIZATION=authorization)) for one in targets]
    else:
        second = asgi.Guard(later, TOKENS, EnvoySource(PROOF), log, means=means)
        fields = [(b"authorization", authorization.encode())]
        found = [reply_of(call_asgi(second, scope(one, headers=fields))) for one in targets]
    return found, log, seen


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_all_of_it_in_its_order(kind: str) -> None:
    """Each answer costs budget and says so; the log knows whose token it was, and never the token."""
    good = token(exp=time.time() + 600, iat=time.time())
    replies, log, seen = answers(kind, ["/read", "/write", "/read", "/read", "/read"], f"Bearer {good}")
    assert [one.status for one in replies] == [200, 403, 200, 200, 429]
    left = [one.header("ratelimit") for one in replies]
    assert [text and text.partition("r=")[2][0] for text in left] == ["3", "2", "1", "0", "0"]
    assert [getattr(one, "subject", None) for one in seen] == ["ann"] * 3
    denied, limited = log.events
    assert (denied["code"], denied["rule"]) == ("scope-insufficient", "access.rules[0]")
    assert (denied["token_issuer"], denied["token_subject"]) == (ISSUER, "ann")
    assert (limited["code"], limited["rule"]) == ("rate-limited", "limits.rates[0]")
    assert good not in str(log.events)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_forged_token_costs_the_budget_of_who_sends_it(kind: str) -> None:
    replies, log, seen = answers(kind, ["/read"] * 6, "Bearer a.b.c")
    assert [one.status for one in replies] == [401] * 4 + [429] * 2
    assert log.rules == ["token-encoding"] * 4 + ["limits.rates[0]"] * 2
    assert seen == []


def test_without_what_it_judges_by_a_guard_lets_nobody_in() -> None:
    """No keys, no table: 503 before anything else is looked at, never a guess."""
    guard = wsgi.Guard(lambda env, start: [], TOKENS, EnvoySource(PROOF), Log())
    reply = call_wsgi(guard, environ("/read"))
    assert (reply.status, reply.problem()["type"].rpartition(":")[2]) == (503, "rates-unavailable")


def test_what_is_under_way_ends_with_the_key_that_it_was_let_in_by() -> None:
    """And with the token's own end; of who showed none, never."""
    published = Published(jwk("ES256", "ES256"))
    judge = Judge(TOKENS, means=Means(published, Counted()))
    assert judge.admission is not None
    now = time.time()
    fields = {"authorization": [f"Bearer {token(exp=now + 600, iat=now)}"]}
    known = judge.admission(Client("192.0.2.7"), "GET", "/read", lambda name: fields.get(name, [])).client
    assert known.token is not None
    assert known.watched
    assert judge.refused(known) is None
    late = replace(known, token=replace(known.token, expires=now - 61))
    assert judge.refused(late) is not None
    published.publish(jwk("ES256", "new", "new"))
    deny = judge.refused(known)
    assert deny is not None
    assert (deny.problem.slug, deny.reason) == ("token-refused", "token-ended")
    assert judge.refused(Client("192.0.2.7")) is None
