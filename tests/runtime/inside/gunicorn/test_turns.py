"""Turns: never more calls of the app at once, and none waits for who waits for somebody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from sealgate.runtime.inside.gunicorn.turns import Turns

LONG = 20.0


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not done():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_all_run_and_never_more_at_once_than_there_are_turns() -> None:
    turns, lock = Turns(3), threading.Lock()
    running, most, done = 0, 0, threading.Semaphore(0)

    def work() -> None:
        nonlocal running, most
        for _ in range(3):
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.001)
            with lock:
                running -= 1
            turns.step_aside()
            time.sleep(0.001)
            turns.come_back()
        done.release()

    for _ in range(40):
        turns.submit(work)
    for _ in range(40):
        assert done.acquire(timeout=LONG)
    assert 1 < most <= 3


def test_whoever_steps_aside_is_in_nobodys_way() -> None:
    turns, gate, back, other = Turns(1), threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        turns.step_aside()
        gate.wait(LONG)
        turns.come_back()
        back.set()

    for _ in range(20):
        turns.submit(slow)
    turns.submit(other.set)
    assert other.wait(LONG)
    assert not back.is_set()
    gate.set()
    assert back.wait(LONG)


def test_who_comes_back_waits_for_a_turn() -> None:
    turns, gate, aside = Turns(1), threading.Event(), threading.Event()
    order: list[str] = []

    def comes_back() -> None:
        turns.step_aside()
        aside.set()
        until(lambda: "holder began" in order)
        turns.come_back()
        order.append("came back")

    def holder() -> None:
        order.append("holder began")
        gate.wait(LONG)
        order.append("holder ended")

    turns.submit(comes_back)
    assert aside.wait(LONG)
    turns.submit(holder)
    until(lambda: len(turns._queue) == 1)
    gate.set()
    until(lambda: len(order) == 3)
    assert order == ["holder began", "holder ended", "came back"]


def test_a_task_that_fails_gives_its_turn_back(capsys: pytest.CaptureFixture[str]) -> None:
    turns, done = Turns(1), threading.Event()

    def fails() -> None:
        raise SystemExit("as asked")

    turns.submit(fails)
    turns.submit(done.set)
    assert done.wait(LONG)
    assert "as asked" in capsys.readouterr().err


def test_where_the_system_gives_no_more_threads_the_others_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    turns, gate, done = Turns(2), threading.Event(), threading.Event()
    turns.submit(gate.wait, LONG)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _self: (_ for _ in ()).throw(RuntimeError))
        turns.submit(done.set)
    assert not done.is_set()
    gate.set()
    assert done.wait(LONG)


def test_threads_that_are_too_many_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealgate.runtime.inside.gunicorn.turns._IDLE_SECONDS", 0.02)
    turns, gate = Turns(1), threading.Event()

    def slow() -> None:
        turns.step_aside()
        gate.wait(LONG)
        turns.come_back()

    for _ in range(5):
        turns.submit(slow)
    until(lambda: turns._count == 5)
    gate.set()
    until(lambda: turns._count == 1)
    done = threading.Event()
    turns.submit(done.set)
    assert done.wait(LONG)
