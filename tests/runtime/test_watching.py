"""The socketpair between a parent and its watcher, each end against one that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sealgate.errors import PolicyError, StateError
from sealgate.monitor.alerts import Notes, advance, to_text
from sealgate.monitor.judge import judge
from sealgate.monitor.snapshot import Drift, Snapshot, to_json
from sealgate.monitor.webhook import SECONDS
from sealgate.policy.load import loads
from sealgate.policy.model import Endpoint
from sealgate.policy.secrets import Secret
from sealgate.runtime import watcher as watcher_module
from sealgate.runtime import watching as module
from sealgate.runtime.briefing import Hook, Orders
from sealgate.runtime.watcher import Parent, Watcher
from sealgate.runtime.watching import Settings, Watching, settings_of
from tests.live.served import free_port, loopback
from tests.monitor.made import NOW, snapshot
from tests.monitor.receiver import SECRET, receiver

NOBODY = Settings(None, None)


def watching(
    folder: Path,
    *,
    settings: Callable[[], Settings] = lambda: NOBODY,
    gather: Callable[[], Awaitable[Snapshot]] | None = None,
    said: list[str] | None = None,
) -> Watching:
    async def whole() -> Snapshot:
        return snapshot()

    say = (said if said is not None else []).append
    return Watching(folder, settings, gather or whole, lambda: None, say, asyncio.Event())


async def pair() -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], ...]:
    one, other = socket.socketpair()
    return (
        await asyncio.open_connection(sock=one, limit=module._LONGEST_ASK),
        await asyncio.open_connection(sock=other, limit=8 * 1024 * 1024),
    )


def exchange(parent: Watching, *lines: bytes) -> list[Any]:
    """What a parent answers to these lines, until it closes or has answered all."""

    async def run() -> list[Any]:
        (theirs_in, theirs_out), (reader, writer) = await pair()
        task = asyncio.ensure_future(parent._answer(theirs_in, theirs_out))
        found = []
        for line in lines:
            writer.write(line + b"\n")
            reading = asyncio.ensure_future(reader.readline())
            await asyncio.wait((task, reading), timeout=20, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                reading.cancel()
                break
            found.append(json.loads(await reading))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for one in (writer, theirs_out):
            one.transport.abort()
        await asyncio.sleep(0)
        return found

    return asyncio.run(run())


def ask(number: int, **what: object) -> bytes:
    return json.dumps({"id": number, **what}).encode()


def test_a_snapshot_and_notes_are_all_that_can_be_asked(tmp_path: Path) -> None:
    parent = watching(tmp_path / "monitor")
    answers = exchange(parent, ask(1, ask="snapshot"), ask(2, keep="notes é"))
    assert answers == [{"id": 1, "snapshot": to_json(snapshot())}, {"id": 2, "kept": True}]
    kept = tmp_path / "monitor" / "alerts.json"
    assert kept.read_text() == "notes é"
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"[]",
        b"null",
        ask(1, ask="renew"),
        ask(1, order="renew"),
        ask(1, ask="snapshot", order="renew"),
        ask(1, ask="snapshot", keep="x"),
        b'{"ask": "snapshot"}',
        b'{"id": "1", "ask": "snapshot"}',
        b"[" * 100_000,
        b"x" * (module._LONGEST_ASK + 10),
    ],
    ids=lambda line: repr(line[:40]),
)
def test_whoever_asks_for_more_is_not_answered_again(tmp_path: Path, line: bytes) -> None:
    assert exchange(watching(tmp_path), line, ask(9, ask="snapshot")) == []


@pytest.mark.parametrize(
    "text", ["", 5, None, ["x"], "x" * (module._NOTES + 1)], ids=lambda text: repr(text)[:20]
)
def test_notes_that_are_none_are_not_kept(tmp_path: Path, text: object) -> None:
    parent = watching(tmp_path / "monitor")
    assert exchange(parent, ask(1, keep=text)) == [{"id": 1, "kept": False}]
    assert not (tmp_path / "monitor").exists()


def test_a_full_disk_is_said_once_and_nothing_else_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def full(*_: object) -> None:
        raise StateError("state-full", "no space", "make some")

    monkeypatch.setattr(module, "write_atomic", full)
    answers = exchange(
        watching(tmp_path, said=said), ask(1, keep="a"), ask(2, keep="b"), ask(3, ask="snapshot")
    )
    assert [one.get("kept") for one in answers] == [False, False, None]
    assert len(said) == 1


def test_what_cannot_be_gathered_is_said_to_the_watcher(tmp_path: Path) -> None:
    async def broken() -> Snapshot:
        raise OSError("no more descriptors")

    said: list[str] = []
    assert exchange(watching(tmp_path, gather=broken, said=said), ask(1, ask="snapshot")) == [
        {"id": 1, "failed": "OSError"}
    ]
    assert "no more descriptors" in said[0]


def test_secrets_are_read_when_the_policy_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "sealgate.toml"
    text = '[[monitor.alerts]]\nwebhook = "https://a.test/"\nsecret = {file = "s"}\n'
    loaded = loads(text, path=path, environ={})
    with pytest.raises(PolicyError) as caught:
        settings_of(loaded)
    assert caught.value.code == "secret-missing"
    (tmp_path / "s").write_bytes(b"top\n")
    (tmp_path / "s").chmod(0o600)
    found = settings_of(loaded)
    assert found.needed
    assert found.hooks[0][1].reveal() == b"top"
    assert b"top" not in repr(found).encode()
    assert found.same_as(settings_of(loaded))
    (tmp_path / "s").write_bytes(b"other\n")
    assert not found.same_as(settings_of(loaded))


def test_one_that_cannot_be_started_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    place = Endpoint(loopback(), free_port("127.0.0.1"))
    parent = watching(tmp_path, settings=lambda: Settings(place, None), said=said)

    async def run() -> None:
        task = asyncio.ensure_future(parent.keep())
        await asyncio.sleep(0.8)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert len(said) == 1
    assert "could not be started" in said[0]


# The other end


class FakeParent:
    """A parent that answers by a function; None: it says nothing."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        self._answer = answer
        self.asked: list[dict[str, Any]] = []

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.asked.append(asked := json.loads(line))
            answer = self._answer(asked)
            if answer is not None:
                writer.write(json.dumps({"id": asked["id"], **answer}).encode() + b"\n")


def watched(parent: FakeParent, until: Callable[[Watcher], bool], orders: Orders | None = None) -> Watcher:
    """A watcher with that parent, until the condition holds; then its parent goes, and so does it."""

    async def run() -> Watcher:
        (reader, writer), (theirs_in, theirs_out) = await pair()
        made = Watcher(Parent(reader, writer), orders or Orders(os.getpid(), every=0.05))
        task = asyncio.ensure_future(made.run())
        serving = asyncio.ensure_future(parent.run(theirs_in, theirs_out))
        end = asyncio.get_running_loop().time() + 30
        while not until(made):
            assert asyncio.get_running_loop().time() < end
            assert not task.done()
            await asyncio.sleep(0.02)
        serving.cancel()
        theirs_out.transport.abort()
        await asyncio.wait_for(task, 20)
        writer.transport.abort()
        await asyncio.sleep(0)
        return made

    return asyncio.run(run())


def well(asked: dict[str, Any]) -> dict[str, Any]:
    return {"snapshot": to_json(snapshot())} if "ask" in asked else {"kept": True}


def test_it_shows_what_it_is_told_and_ends_with_its_parent() -> None:
    made = watched(FakeParent(well), lambda one: one.watched().snapshot is not None)
    assert made.watched().snapshot == snapshot()
    assert made.watched().fresh


def test_a_parent_that_falls_silent_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watcher_module, "_PATIENCE", 0.1)
    monkeypatch.setattr(watcher_module, "_SILENT", 0.5)
    silent = FakeParent(lambda asked: well(asked) if asked["id"] < 3 else None)
    made = watched(silent, lambda one: any(alert.code == "keeper-silent" for alert in one.watched().alerts))
    assert not made.watched().fresh
    assert made.watched().snapshot == snapshot()  # what was seen stays, and is called old
    assert "alert keeper-silent (critical)" in capsys.readouterr().err


def test_a_late_answer_is_not_taken_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher_module, "_PATIENCE", 0.3)

    async def run() -> None:
        (reader, writer), (theirs_in, theirs_out) = await pair()
        parent = Parent(reader, writer)
        with pytest.raises(TimeoutError):
            await parent.ask(ask="snapshot")
        first = json.loads(await theirs_in.readline())
        theirs_out.write(json.dumps({"id": first["id"], "snapshot": "old"}).encode() + b"\n")
        asking = asyncio.ensure_future(parent.ask(keep="x"))
        second = json.loads(await theirs_in.readline())
        theirs_out.write(json.dumps({"id": second["id"], "kept": True}).encode() + b"\n")
        assert (await asking)["kept"] is True
        for one in (writer, theirs_out):
            one.transport.abort()
        await asyncio.sleep(0)

    asyncio.run(run())


def test_what_it_tells_is_kept_before_it_is_tried() -> None:
    """Killed in between, it is told after the restart: at least once, by the same id."""
    bad = {"snapshot": to_json(snapshot(drift=(Drift("file-edited", "f", "r"),)))}
    kept: list[str] = []

    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if "keep" in asked:
            kept.append(asked["keep"])
            return {"kept": True}
        return bad

    with receiver() as found:
        hook = Hook(found.url + "/", base64.b64encode(SECRET).decode())
        watched(FakeParent(answer), lambda _: bool(found.got), Orders(os.getpid(), hooks=(hook,), every=0.05))
        first = json.loads(kept[0])
        assert first["waiting"][0]["event"]["id"] == found.tries[0]
        assert found.bad == []


def told(*hooks: str, notes: str = "", every: float = 0.05) -> Orders:
    secret = base64.b64encode(SECRET).decode()
    return Orders(os.getpid(), hooks=tuple(Hook(url, secret) for url in hooks), notes=notes, every=every)


def wrong(asked: dict[str, Any]) -> dict[str, Any]:
    """A parent that tells of something that is wrong, and keeps notes."""
    bad = snapshot(drift=(Drift("file-edited", "f", "r"), Drift("file-gone", "g", "r")))
    return {"kept": True} if "keep" in asked else {"snapshot": to_json(bad)}


def test_a_webhook_that_is_slow_keeps_no_other_waiting() -> None:
    with socket.socket() as slow, receiver() as found:
        slow.bind((loopback(), 0))
        slow.listen()  # who takes connections, and never answers
        host, port = slow.getsockname()
        began = time.monotonic()
        watched(
            FakeParent(wrong), lambda _: len(found.got) == 2, told(f"http://{host}:{port}/", found.url + "/")
        )
        assert time.monotonic() - began < SECONDS, "the second was told before the slow one's time was over"


def test_one_that_was_taken_out_while_something_waited_for_it_is_no_end() -> None:
    """Else a watcher would begin by ending, again and again: its notes outlive it."""
    gone = "https://gone.test/"
    notes, _ = advance(
        Notes(), judge(snapshot(drift=(Drift("x", "f", "r"),)), NOW), NOW, hooks=[gone], new_id=str
    )
    assert notes.waiting
    with receiver() as found:
        watcher = watched(
            FakeParent(wrong), lambda _: bool(found.got), told(found.url + "/", notes=to_text(notes))
        )
        assert all(one.hook != gone for one in watcher._notes.waiting)
    watched(FakeParent(wrong), lambda one: one.watched().snapshot is not None, told(notes=to_text(notes)))


def test_notes_that_were_not_kept_are_kept_later() -> None:
    """A full disk is not full for ever."""
    asked: list[str] = []

    def answer(what: dict[str, Any]) -> dict[str, Any]:
        if "keep" not in what:
            return wrong(what)
        asked.append(what["keep"])
        return {"kept": len(asked) > 2}

    watched(FakeParent(answer), lambda _: len(asked) == 3)
    assert len(set(asked)) == 1


def test_a_keeper_of_another_version_is_one_that_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages change while the service runs: the next watcher is of the new ones, its keeper of the old."""
    monkeypatch.setattr(watcher_module, "_SILENT", 0.3)
    other = {**to_json(snapshot()), "schema": 99}
    parent = FakeParent(lambda asked: {"kept": True} if "keep" in asked else {"snapshot": other})
    watcher = watched(
        parent, lambda one: any(alert.code == "keeper-silent" for alert in one.watched().alerts)
    )
    assert watcher.watched().snapshot is None
    assert capsys.readouterr().err.count("cannot be read") == 1


def test_orders_go_through_json_and_hide_nothing_else() -> None:
    orders = Orders(1, 3, 4, "127.0.0.1:1", (Hook("https://a.test/", "c2VjcmV0"),), "{}", 0.5)
    assert Orders.from_json(orders.to_json()) == orders
    with pytest.raises(ValueError, match=r"."):
        Orders.from_json('{"parent": "1"}')


def test_a_secret_is_not_shown() -> None:
    assert "top" not in repr(Settings(None, None, (("https://a.test/", Secret(b"top")),)))


def test_what_strangers_cause_is_a_line_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("sealgate.runtime.watcher.time.monotonic", lambda: now[0])
    complain, loop = watcher_module.Complaints(), asyncio.new_event_loop()
    said = {"message": "socket.accept() out of system resource\x1b", "exception": OSError(24, "EMFILE")}
    for _ in range(1000):
        complain(loop, said)
    now[0] += 61
    complain(loop, {})
    loop.close()
    first, second = capsys.readouterr().err.splitlines()
    assert first == "sealgate: watcher: socket.accept() out of system resource\\u001b (OSError)"
    assert second.startswith("sealgate: watcher: ")
