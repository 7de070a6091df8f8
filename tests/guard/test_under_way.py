"""Exchanges of clients who are revoked while they are under way, in front of WSGI and ASGI apps."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sealgate.guard import asgi, under_way, wsgi
from sealgate.guard.client import Client
from sealgate.guard.compiled import Compiled
from sealgate.guard.judge import Revoked, refusal
from sealgate.guard.sources import Origin
from sealgate.guard.under_way import LOOK_SECONDS, PIECE, CutOff, Told, UnderWay, quiet
from tests.guard.exchange import REQUEST_ID, SITE, Log, environ, reply_of, scope
from tests.guard.test_certificate import certificate, make, ways

KEY = b"k" * 16
ALICE = Client(
    "192.0.2.7",
    replace(certificate(str(ways(make("alice"))["nginx"])), revocation_key=KEY, refused_by=(KEY,)),
)
SOON = 20 * LOOK_SECONDS


def of(*keys: bytes) -> Client:
    """Somebody who may be refused by these."""
    assert ALICE.certificate is not None
    return replace(ALICE, certificate=replace(ALICE.certificate, refused_by=keys))


def register(revoked: Revoked, told: Told | None = None) -> UnderWay:
    """Exchanges of clients with certificates."""
    return UnderWay(revoked, lambda one: one.certificate and refusal(one.certificate, revoked), told)


class Source:
    """Every request is Alice's."""

    def use(self, compiled: Compiled) -> None:
        pass

    def from_environ(self, environ: Any) -> tuple[Origin, str]:
        return Origin(ALICE, 50007), environ["PATH_INFO"]

    def from_scope(self, scope: Any) -> tuple[Origin, str]:
        return Origin(ALICE, 50007), scope["path"]


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# The register


def test_those_of_the_revoked_are_ended_and_no_others() -> None:
    revoked: set[bytes] = set()
    open_, ended = register(revoked), []
    marks = [open_.enter(of(key), lambda key=key: ended.append(key)) for key in (b"a", b"b", b"a")]  # type: ignore[misc]  # a default
    open_.leave(marks[2])
    revoked.add(b"a")
    until(lambda: ended)
    time.sleep(3 * LOOK_SECONDS)
    assert ended == [b"a"], "once, and not what had left"
    assert len(open_) == 1


def test_whoever_begins_in_the_moment_of_the_revocation_is_ended_too() -> None:
    ended = threading.Event()
    register({KEY}).enter(of(KEY), ended.set)
    assert ended.wait(20)


def test_one_that_cannot_be_ended_saves_no_other() -> None:
    revoked: set[bytes] = set()
    open_, ended = register(revoked), threading.Event()

    def stubborn() -> None:
        raise ValueError("no")

    open_.enter(of(KEY), stubborn)
    open_.enter(of(KEY), ended.set)
    revoked.add(KEY)
    assert ended.wait(20)
    ended.clear()
    open_.enter(of(KEY), ended.set)
    assert ended.wait(20), "and somebody still looks"


def test_nobody_looks_where_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "_QUIET_SECONDS", 0.0)
    revoked: set[bytes] = set()
    open_ = register(revoked)
    for _ in range(3):  # and again somebody does where there is something
        open_.leave(open_.enter(of(KEY), lambda: None))
        until(lambda: not open_._watching)
        ended = threading.Event()
        open_.enter(of(KEY), ended.set)
        revoked.add(KEY)
        assert ended.wait(20)
        revoked.clear()


class Heard:
    """Who waits."""

    def __init__(self) -> None:
        self.are: list[bool] = []
        self.upto = -1

    def open(self, *, are: bool) -> None:
        self.are.append(are)

    def obeyed(self, generation: int) -> None:
        self.upto = generation

    def asks(self, der: bytes) -> None:
        raise AssertionError("everybody is known")


class Generations(set[bytes]):
    """The revoked, as a table that says how often it changed."""

    generation = 0

    def revoke(self, key: bytes) -> None:
        self.add(key)
        self.generation += 1


def test_what_was_obeyed_is_told_after_it_was_done() -> None:
    revoked, heard, ended = Generations(), Heard(), threading.Event()
    open_ = register(revoked, heard)
    slow = threading.Event()

    def end() -> None:
        slow.wait(20)
        ended.set()

    open_.enter(of(KEY), end)
    assert heard.are == [True]
    until(lambda: heard.upto == 0)
    revoked.revoke(KEY)
    time.sleep(3 * LOOK_SECONDS)
    assert heard.upto == 0, "it is not done"
    slow.set()
    until(lambda: heard.upto == 1)
    assert ended.is_set()


def test_who_was_revoked_before_he_was_known_waits_for_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look that obeyed it came before: nobody would look for this one until the next."""
    monkeypatch.setattr(under_way, "LOOK_SECONDS", 3600.0)
    ended: list[bytes] = []
    open_ = register({KEY}, Heard())
    open_.enter(of(b"other", KEY), lambda: ended.append(KEY))
    assert ended == [KEY]
    assert len(open_) == 0


def test_nobody_is_waited_for_where_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way, "_QUIET_SECONDS", 0.0)
    heard = Heard()
    open_ = register(Generations(), heard)
    for _ in range(3):
        open_.leave(open_.enter(of(KEY), lambda: None))
        until(lambda: not open_._watching and not heard.are[-1])
    assert heard.are == [True, False] * 3


def test_one_line_is_enough_for_the_log() -> None:
    def record(message: str, error: BaseException | None = None) -> logging.LogRecord:
        told = (type(error), error, None) if error else None
        return logging.LogRecord("server", logging.ERROR, "", 0, message, (), told)

    assert not quiet(record("an app failed", CutOff()))
    assert not quiet(record("it failed\nsealgate.guard.under_way.CutOff: [Errno 32] the client was revoked"))
    assert quiet(record("an app failed", BrokenPipeError()))
    assert quiet(record("an app failed"))


# ASGI


class Exchange:
    """An app in a task, and what it sends."""

    def __init__(self, app: Any) -> None:
        self.revoked: set[bytes] = set()
        self.log, self.sent = Log(), list[dict[str, Any]]()
        self._asked = scope("/orders")
        self._guard = asgi.Guard(app, SITE, Source(), self.log, revoked=self.revoked)
        self.error: BaseException | None = None
        asyncio.run(self._run())

    async def _run(self) -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(60)
            raise AssertionError("nothing comes")

        async def send(message: dict[str, Any]) -> None:
            self.sent.append(message)
            if message["type"] == "http.response.start" or message.get("more_body"):
                self.revoked.add(KEY)

        asyncio.get_running_loop().call_later(2 * LOOK_SECONDS, self.revoked.add, KEY)
        try:
            await asyncio.wait_for(self._guard(self._asked, receive, send), SOON + 20)
        except Exception as error:  # noqa: BLE001 - what it is is asserted
            self.error = error


def test_an_app_that_has_not_answered_is_answered_for() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    done = Exchange(app)
    assert done.error is None
    said = reply_of(done.sent)
    assert said.status == 403
    assert said.problem()["type"].endswith("client-certificate-refused")
    assert done.log.rules == ["certificate-revoked"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_an_answer_that_has_begun_is_broken_off(stubborn: bool) -> None:
    """Whatever the app makes of it: it can neither go on nor end as if all were said."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not stubborn:
                raise
        await send({"type": "http.response.body", "body": b"the rest"})

    done = Exchange(app)
    assert isinstance(done.error, CutOff)
    assert [message["type"] for message in done.sent] == ["http.response.start"]
    assert done.log.rules == ["certificate-revoked"]


def test_an_app_that_swallows_it_and_returns_is_broken_off_too() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    assert isinstance(Exchange(app).error, CutOff)


def test_what_was_whole_before_stays_whole() -> None:
    """What an app does after its answer (a background task) is ended without a word to anybody."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all"})
        await asyncio.sleep(60)

    done = Exchange(app)
    assert done.error is None
    assert reply_of(done.sent).body == b"all"
    assert done.log.events == []


def test_an_answer_in_one_piece_is_handed_over_in_many() -> None:
    """What a server has it sends, whoever is revoked meanwhile."""
    whole = bytes(range(256)) * (3 * PIECE // 256) + b"rest"
    for body in (whole, whole[:-4], whole[: PIECE + 1], whole[:PIECE], b""):
        sent = list[dict[str, Any]]()

        async def app(scope: Any, receive: Any, send: Any, body: bytes = body) -> None:
            assert "http.response.pathsend" not in scope["extensions"]
            assert "other" in scope["extensions"]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        async def run(app: Any = app, sent: list[dict[str, Any]] = sent) -> None:
            async def send(said: dict[str, Any]) -> None:
                sent.append(said)

            asked = scope("/orders", extensions=("http.response.pathsend", "other"))
            await asgi.Guard(app, SITE, Source(), Log())(asked, None, send)  # type: ignore[arg-type]  # never asked

        asyncio.run(run())
        assert reply_of(sent).body == body
        assert all(len(message.get("body", b"")) <= PIECE for message in sent)
        assert [bool(message.get("more_body")) for message in sent[1:]] == [True] * (len(sent) - 2) + [False]


def test_an_apps_own_failure_stays_its_own() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("its own")

    assert isinstance(Exchange(app).error, ValueError)


# WSGI


def called(app: Any, revoked: set[bytes], **further: Any) -> tuple[Iterable[bytes], list[str], Log]:
    log, statuses = Log(), list[str]()

    def start(status: str, headers: Any, exc_info: Any = None) -> None:
        assert not statuses or exc_info
        statuses.append(status)

    guard = wsgi.Guard(app, SITE, Source(), log, revoked=revoked)
    asked = environ("/orders") | further
    return guard(asked, start), statuses, log


def answers(start: Any, revoked: set[bytes]) -> None:
    """Say 200; the revocation comes then, and is seen."""
    start("200 OK", [])
    revoked.add(KEY)
    time.sleep(SOON)


def test_an_answer_that_was_made_meanwhile_is_not_given() -> None:
    revoked: set[bytes] = set()

    def app(environ: Any, start: Any) -> list[bytes]:
        answers(start, revoked)
        return [b"secret"]

    response, statuses, log = called(app, revoked)
    assert statuses[-1].startswith("403 ")
    assert b"secret" not in b"".join(response)
    assert log.rules == ["certificate-revoked"]
    assert log.events[0]["request_id"] == REQUEST_ID


def test_pieces_are_broken_off_and_the_app_may_clean_up() -> None:
    revoked: set[bytes] = set()
    closed = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            yield b"one"
            revoked.add(KEY)
            time.sleep(SOON)
            yield b"two"

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start: Any) -> Iterable[bytes]:
        start("200 OK", [])
        return Pieces()

    response, _, log = called(app, revoked)
    got: list[bytes] = []
    with pytest.raises(CutOff):
        got.extend(response)
    response.close()  # type: ignore[attr-defined]  # it has one
    assert got == [b"one"]
    assert closed == [True]
    assert log.rules == ["certificate-revoked"]


def test_a_server_that_can_end_the_connection_is_asked_to() -> None:
    """And no app learns how."""
    revoked, aborted = set[bytes](), threading.Event()

    def app(environ: Any, start: Any) -> list[bytes]:
        assert not [name for name in environ if "abort" in name]
        answers(start, revoked)
        assert aborted.is_set()
        return [b"secret"]

    with pytest.raises(CutOff):
        called(app, revoked, **{"sealgate.abort": aborted.set})


def test_a_long_list_is_handed_over_in_pieces_and_broken_off() -> None:
    revoked: set[bytes] = set()

    def app(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"a" * 10, b"b" * 3 * PIECE]

    response, _, _ = called(app, revoked)
    assert b"".join(response) == b"a" * 10 + b"b" * 3 * PIECE
    response, _, log = called(app, revoked)
    pieces = iter(response)
    assert next(pieces) == b"a" * 10
    revoked.add(KEY)
    until(lambda: log.rules)
    with pytest.raises(CutOff):
        next(pieces)


def test_a_list_is_a_list_for_servers_that_join_it() -> None:
    def app(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"all"]

    response, statuses, _ = called(app, set())
    assert response == [b"all"]
    assert statuses == ["200 OK"]
