"""The guard in front of ASGI apps."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard import asgi
from sealgate.guard.asgi import Guard
from sealgate.guard.client import Client
from sealgate.guard.sources import EnvoySource
from sealgate.policy.network import admitted
from tests.guard.exchange import PROOF, REQUEST_ID, SITE, Log, call_asgi, compiled, reply_of, scope
from tests.guard.test_certificate import certificate, make, ways
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
    return Guard(app, SITE, EnvoySource(PROOF), log or Log())


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
    assert seen.scope["sealgate"]["client"] == Client("192.0.2.7")
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
    ({"headers": [(b"sealgate-proof", PROOF.encode())]}, 500, "internal-error", "engine-facts-missing"),
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


def test_the_app_sees_the_clients_certificate_or_is_not_called() -> None:
    seen, log = Seen(), Log()
    guard = Guard(seen, SITE, EnvoySource(PROOF, clients=True), log)
    text = str(ways(make("alice"))["nginx"])
    told = [(b"sealgate-certificate", text.encode())]
    assert reply_of(call_asgi(guard, scope(headers=told))).status == 200
    assert seen.scope["sealgate"]["client"] == Client("192.0.2.7", certificate(text))
    assert b"sealgate-certificate" not in dict(seen.scope["headers"])
    reply = reply_of(call_asgi(guard, scope(headers=[(b"sealgate-certificate", b"odd")])))
    assert (reply.status, reply.problem()["type"]) == (
        403,
        "urn:problem-type:sealgate:client-certificate-refused",
    )
    assert (log.rules, log.events[0]["address"]) == (["certificate-encoding"], "192.0.2.7")
    assert len(seen.scopes) == 1


def test_all_fields_together_where_the_engine_leaves_that_to_the_guard() -> None:
    seen, log = Seen(), Log()
    engines = [(b"sealgate-certificate", b"x" * 5000)]  # the engine's own does not count
    size = sum(len(k) + len(v) for k, v in scope()["headers"] if not k.startswith(b"sealgate-"))
    guard = Guard(seen, dataclasses.replace(SITE, headers_limit=size + 100), EnvoySource(PROOF), log)
    fits = [(b"x-%d" % n, b"a" * 7) for n in range(10)]
    assert reply_of(call_asgi(guard, scope(headers=[*engines, *fits]))).status == 200
    reply = reply_of(call_asgi(guard, scope(headers=[*engines, *fits, (b"y", b"")])))
    assert (reply.status, reply.problem()["type"]) == (431, "urn:problem-type:sealgate:headers-too-large")
    assert log.rules == ["headers-limit"]
    assert len(seen.scopes) == 1


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

    asyncio.run(guarded(app)(scope(), receive, send))
    assert passed[1:] == [receive, send]


def pieces(*sizes: int) -> list[dict[str, Any]]:
    return [
        {"type": "http.request", "body": b"x" * size, "more_body": place < len(sizes) - 1}
        for place, size in enumerate(sizes)
    ]


class Reader:
    """Reads the whole body; `stubborn`: and answers whatever happened."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.size, self.stubborn = 0, stubborn

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            more = True
            while more:
                message = await receive()
                self.size += len(message["body"])
                more = message["more_body"]
        except Exception:
            if not self.stubborn:
                raise
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def test_a_body_of_unknown_length_is_counted() -> None:
    reader = Reader()
    sent = call_asgi(guarded(reader), scope(method="POST"), *pieces(SITE.body_limit - 1, 1))
    assert reply_of(sent).status == 200
    assert reader.size == SITE.body_limit


@pytest.mark.parametrize("stubborn", [False, True])
def test_one_that_is_too_large_is_413_whatever_the_app_makes_of_it(stubborn: bool) -> None:
    reader = Reader(stubborn=stubborn)
    sent = call_asgi(guarded(reader), scope(method="POST"), *pieces(SITE.body_limit, 1, 5))
    assert reply_of(sent).status == 413
    assert reader.size == SITE.body_limit


@pytest.mark.parametrize(
    ("sizes", "left"),
    [((SITE.body_limit + 1,), 0), ((SITE.body_limit, 1, 5, 7), 0), ((SITE.body_limit + 1, *[2**18] * 9), 5)],
    ids=["all of it", "a little more", "much more"],
)
def test_a_little_of_what_is_too_large_is_taken_in_before_the_refusal(
    sizes: tuple[int, ...], left: int
) -> None:
    """Or an engine that is still sending finds a closed connection where the answer would be."""
    messages = [*pieces(*sizes), {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        assert len(messages) == 1 + left
        sent.append(message)

    asyncio.run(guarded(Reader())(scope(method="POST"), receive, send))
    assert reply_of(sent).status == 413


def test_where_an_exchange_comes_from_is_judged_first() -> None:
    ruled = dataclasses.replace(SITE, admitted=admitted((), ("192.0.2.0/24",)))
    seen, log = Seen(), Log()
    guard = Guard(seen, ruled, EnvoySource(PROOF), log)
    for kind, answered in (("http", "http.response"), ("websocket", "websocket.http.response")):
        sent = call_asgi(guard, scope("//", kind=kind, host=b"evil.example"), CONNECT)
        reply = reply_of(sent, answered)
        assert (reply.status, reply.problem()["type"]) == (403, "urn:problem-type:sealgate:address-refused")
    assert (seen.scopes, log.rules) == ([], ["address", "address"])
    assert reply_of(call_asgi(guard, scope(address=b"192.0.3.7:1"))).status == 200
