"""The guard in front of ASGI apps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard import asgi
from sealgate.guard.asgi import Guard
from sealgate.guard.client import Client
from sealgate.guard.sources import EnvoySource
from tests.guard.exchange import REQUEST_ID, SITE, Log, call_asgi, compiled, reply_of, scope
from tests.guard.test_headers import SPOOFABLE, THE_APPS_OWN, spellings

CONNECT = {"type": "websocket.connect"}


class Seen:
    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    @property
    def scope(self) -> dict[str, Any]:
        assert len(self.scopes) == 1
        return self.scopes[0]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
        elif scope["type"] == "websocket":
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})


def guarded(app: Any, log: Log | None = None) -> Guard:
    return Guard(app, SITE, EnvoySource(), log or Log())


def test_what_the_app_sees() -> None:
    seen = Seen()
    asked = scope(
        "/caf%C3%A9/x;y?q=%20", headers=[(b"x-forwarded-for", b"evil"), (b"cookie", b"a"), (b"cookie", b"b")]
    )
    before = dict(asked)
    assert reply_of(call_asgi(guarded(seen), asked)).body == b"ok"
    assert seen.scope["path"] == "/café/x;y"
    assert seen.scope["query_string"] == b"q=%20"
    assert seen.scope["client"] == ("192.0.2.7", 50007)
    assert seen.scope["server"] == ("api.example.com", 8443)
    assert seen.scope["scheme"] == "https"
    assert seen.scope["sealgate"] == {"client": Client("192.0.2.7")}
    assert seen.scope["http_version"] == "2"
    assert seen.scope["state"] is asked["state"]
    assert sorted(seen.scope["headers"]) == [
        (b"accept", b"*/*"),
        (b"cookie", b"a"),
        (b"cookie", b"b"),
        (b"host", b"api.example.com:8443"),
        (b"x-request-id", REQUEST_ID.encode()),
    ]
    assert asked == before, "the server's own scope is not changed"


def test_a_websocket_is_wss() -> None:
    seen = Seen()
    sent = call_asgi(guarded(seen), scope(kind="websocket"), CONNECT)
    assert sent == [{"type": "websocket.accept"}]
    assert seen.scope["scheme"] == "wss"
    assert seen.scope["sealgate"]["client"].address == "192.0.2.7"


DENIED = [
    ({"target": "/a/../admin"}, 400, "path-not-canonical", "dot-segment"),
    ({"target": "/caf\xc3\xa9"}, 400, "path-not-canonical", "raw-character"),
    ({"target": "*"}, 400, "path-not-canonical", "asterisk"),
    ({"host": b"evil.example"}, 421, "unknown-host", "host"),
    ({"host": b"\xff"}, 421, "unknown-host", "host"),
    ({"host": None}, 421, "unknown-host", "host"),
    ({"headers": [(b"host", b"api.example.com")]}, 421, "unknown-host", "host"),
    ({"method": "POST", "headers": [(b"content-length", b"1048577")]}, 413, "body-too-large", "body-limit"),
    ({"method": "POST", "headers": [(b"content-length", b"1")] * 2}, 413, "body-too-large", "body-limit"),
    ({"address": None}, 500, "internal-error", "engine-facts-missing"),
    ({"headers": [(b"sealgate-address", b"192.0.2.8:1")]}, 500, "internal-error", "engine-facts-missing"),
    ({"headers": [(b"sealgate-path", b"/orders")]}, 500, "internal-error", "engine-facts-missing"),
]


@pytest.mark.parametrize(("request_", "status", "slug", "rule"), DENIED)
def test_denials(request_: dict[str, Any], status: int, slug: str, rule: str) -> None:
    seen, log = Seen(), Log()
    reply = reply_of(call_asgi(guarded(seen, log), scope(**request_)))
    assert seen.scopes == []
    assert reply.status == status
    assert reply.problem()["type"] == f"urn:problem-type:sealgate:{slug}"
    assert reply.problem()["instance"] == f"urn:uuid:{REQUEST_ID}"
    assert reply.header("cache-control") == "no-store"
    assert log.rules == [rule]


@pytest.mark.parametrize(("request_", "status", "slug", "rule"), DENIED)
def test_websockets_are_denied_the_same_way(
    request_: dict[str, Any], status: int, slug: str, rule: str
) -> None:
    seen, log = Seen(), Log()
    sent = call_asgi(guarded(seen, log), scope(kind="websocket", **request_), CONNECT)
    assert seen.scopes == []
    assert reply_of(sent, "websocket.http.response").problem()["type"].endswith(slug)
    assert log.rules == [rule]
    plain = scope(kind="websocket", extensions=(), **request_)
    assert call_asgi(guarded(seen), plain, CONNECT) == [
        {"type": "websocket.close", "code": 1008, "reason": ""}
    ]


def test_a_path_other_than_the_announced_one_fails_closed() -> None:
    seen, log = Seen(), Log()
    reply = reply_of(call_asgi(guarded(seen, log), scope() | {"path": "/admin"}))
    assert (reply.status, log.rules, seen.scopes) == (500, ["path-mismatch"], [])


def test_head_is_denied_without_a_body() -> None:
    reply = reply_of(call_asgi(guarded(Seen()), scope("/..", method="HEAD")))
    assert (reply.status, reply.body) == (400, b"")


def test_no_secret_is_logged() -> None:
    log = Log()
    asked = scope("/..?token=s3cret", headers=[(b"authorization", b"Bearer s3cret")])
    call_asgi(guarded(Seen(), log), asked)
    assert log.rules == ["dot-segment"]
    assert "s3cret" not in str(log.events)


@pytest.mark.parametrize(
    "name", [name for name in SPOOFABLE if name not in {"Sealgate-Address", "Sealgate-Path"}]
)
def test_claims_of_proxies_are_removed(name: str) -> None:
    seen = Seen()
    fields = [(spelling.encode(), b"evil") for spelling in spellings(name) * 2]
    call_asgi(guarded(seen), scope(headers=fields))
    assert len(seen.scope["headers"]) == 3


@pytest.mark.parametrize(
    "name", (b"sealgate_address", b"Sealgate_Path", b"SEALGATE-ADDRESS", b"Host_", b"x_request_id")
)
def test_other_spellings_of_our_own_fields_are_removed(name: bytes) -> None:
    seen = Seen()
    call_asgi(guarded(seen), scope(headers=[(name, b"evil")]))
    assert b"evil" not in [value for _, value in seen.scope["headers"]]


def test_the_apps_own_fields_stay_in_order() -> None:
    seen = Seen()
    fields = [
        (name.lower().encode(), b"1")
        for name in THE_APPS_OWN
        if name not in {"Host", "X-Forwarder", "X-Request-Id"}
    ]
    call_asgi(guarded(seen), scope(headers=fields + fields))
    assert seen.scope["headers"][-2 * len(fields) :] == fields + fields


@given(
    st.lists(
        st.tuples(st.binary(max_size=20) | st.sampled_from(SPOOFABLE).map(str.encode), st.binary(max_size=20))
    )
)
def test_hostile_fields_neither_crash_nor_reach_the_app(fields: list[tuple[bytes, bytes]]) -> None:
    seen = Seen()
    reply = reply_of(call_asgi(guarded(seen), scope(headers=fields)))
    if reply.status == 200:
        names = {name.lower() for name, _ in seen.scope["headers"]}
        assert not {name.lower().encode() for name in SPOOFABLE} & names
    else:
        assert seen.scopes == []


def test_memory_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_MOST_REMEMBERED", 20)
    guard = guarded(Seen())
    for number in range(100):
        call_asgi(guard, scope(headers=[(b"x-%d" % number, b"")]))
        assert len(guard._spoofable) <= 20


def test_another_policy_counts_from_the_next_request_on() -> None:
    guard = guarded(Seen())
    guard.use(compiled(site={"names": ["other.example"]}))
    assert reply_of(call_asgi(guard, scope())).status == 421
    assert reply_of(call_asgi(guard, scope(host=b"other.example"))).status == 200


def test_lifespan_is_passed_through_untouched() -> None:
    seen = Seen()
    asked = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    call_asgi(guarded(seen), asked)
    assert seen.scope is asked


def test_an_unknown_kind_of_exchange_is_not_let_through() -> None:
    seen = Seen()
    with pytest.raises(NotImplementedError, match="webtransport"):
        call_asgi(guarded(seen), scope(kind="http") | {"type": "webtransport"})
    assert seen.scopes == []


def test_receive_and_send_are_the_servers_own() -> None:
    passed: list[Any] = []

    async def app(*arguments: Any) -> None:
        passed.extend(arguments)

    async def receive() -> dict[str, Any]:
        return {}

    async def send(message: dict[str, Any]) -> None:
        pass

    import asyncio

    asyncio.run(guarded(app)(scope(), receive, send))
    assert passed[1:] == [receive, send]
