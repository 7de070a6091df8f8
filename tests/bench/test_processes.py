from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from bench.machine import BenchError
from bench.processes import Command, Group, _birth

if TYPE_CHECKING:
    from pathlib import Path

BURN = """\
import os, sys, time
if os.fork() == 0:
    while time.process_time() < 0.3: pass
    print("child", os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
time.sleep(60)
"""


def core() -> int:
    return min(os.sched_getaffinity(0))


def start(script: str, logs: Path) -> Group:
    return Group((Command((sys.executable, "-c", script)),), core=core(), logs=logs)


def child_of(logs: Path) -> int:
    """The pid of the child, once it has done its work."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        said = (logs / "0.out").read_text().split()
        if said:
            return int(said[1])
        time.sleep(0.01)
    raise AssertionError("the child said nothing")


def check_until_dead(group: Group) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        group.check_alive()


def test_children_count_and_end_with_their_parent(tmp_path: Path) -> None:
    group = start(BURN, tmp_path)
    try:
        child = child_of(tmp_path)
        assert len(group.pids()) == 2
        assert group.cpu()[child] >= 0.3
        assert group.memory() > 1_000_000
        assert os.sched_getaffinity(child) == {core()}
    finally:
        group.stop()
    assert group.pids() == ()
    assert _birth(child) is None


def test_an_early_end_is_told_with_its_last_words(tmp_path: Path) -> None:
    group = start("raise SystemExit('no such thing')", tmp_path)
    try:
        with pytest.raises(BenchError, match="no such thing"):
            check_until_dead(group)
    finally:
        group.stop()


def test_what_cannot_start_leaves_nothing_running(tmp_path: Path) -> None:
    script = "import os, time; print('x', os.getpid(), flush=True); time.sleep(60)"
    wrong = Command((sys.executable,), cwd=tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        Group((Command((sys.executable, "-c", script)), wrong), core=core(), logs=tmp_path)
    said = (tmp_path / "0.out").read_text().split()
    assert not said or _birth(int(said[1])) is None
