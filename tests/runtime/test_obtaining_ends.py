"""What ends a pass: a stop, or that nobody waits for it any more; and the next one is made all the same."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sealgate.runtime import obtaining as module
from sealgate.runtime.obtaining import Obtaining


@pytest.fixture
def obtaining(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Obtaining:
    monkeypatch.setattr(
        Obtaining,
        "_renewer",
        lambda _self, _loaded, ends, *_rest: SimpleNamespace(history=None, kept=True, ends=ends),
    )
    source = SimpleNamespace(certificate=SimpleNamespace(source="private"))
    there = SimpleNamespace(path=tmp_path)
    standing: Any = SimpleNamespace(site=SimpleNamespace(loaded=None, policy=source), state=there)
    nobody: Any = None
    return Obtaining(standing, nobody, nobody)


class Slow:
    """A pass that hears that it is to end, and then still has an answer to wait for."""

    def __init__(self) -> None:
        self.begun, self.heard, self.answered = (threading.Event() for _ in range(3))

    def __call__(self, renewer: Any) -> None:
        self.begun.set()
        if renewer.ends.wait(20):
            self.heard.set()
        self.answered.wait(20)


def is_to_end(renewer: Any) -> bool:
    return bool(renewer.ends.is_set())


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 20)


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_an_order_that_is_cancelled_ends_itself_alone(
    obtaining: Obtaining, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HIDE", 0.01)

    async def run() -> None:
        slow = Slow()
        order = asyncio.create_task(obtaining._run(slow))
        await until(slow.begun)
        await cancelled(order)
        await until(slow.heard)
        following = asyncio.create_task(obtaining._run(is_to_end))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not following.done(), "two would write the same journal"
        slow.answered.set()
        assert await following is False

    asyncio.run(run())


def test_a_stop_ends_whatever_is_under_way(obtaining: Obtaining) -> None:
    async def run() -> None:
        slow = Slow()
        keeping = asyncio.create_task(obtaining.keep())
        order = asyncio.create_task(obtaining._run(slow))
        await until(slow.begun)
        await cancelled(keeping)
        await until(slow.heard)
        slow.answered.set()
        await order
        assert await obtaining._run(is_to_end) is True

    asyncio.run(run())
