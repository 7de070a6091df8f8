"""A test is asked again if the machine stood still, and only then."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.machine import LATE_SECONDS, Mark, Watch

_ROOT = Path(__file__).resolve().parents[2]

_FAILS_ONCE = """
import os, signal, time
from pathlib import Path
from tests.conftest import _WATCH

def test_it(request, tmp_path_factory):
    told = Path(__file__).with_name("told")
    with told.open("a") as file:
        file.write("x")
    if len(told.read_text()) == 1:
        while not request.config.stash[_WATCH].awake():
            time.sleep(0.01)
        sleeper = request.config.stash[_WATCH]._sleeper
        os.kill(sleeper.pid, signal.{first})
        time.sleep(0.8)
        os.kill(sleeper.pid, signal.SIGCONT)
        time.sleep(0.5)
        raise AssertionError("measured too late")
"""


def _run(folder: Path, first: str) -> tuple[subprocess.CompletedProcess[str], int]:
    test = folder / "test_it.py"
    test.write_text(_FAILS_ONCE.format(first=first))
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
        f"--rootdir={folder}",
    ]
    argv += ["-c", os.devnull, "-rR", str(test)]
    environ = os.environ | {"PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        argv, cwd=_ROOT, capture_output=True, text=True, timeout=120, env=environ, check=False
    )
    return done, len((folder / "told").read_text())


def test_a_failure_on_a_machine_that_stood_still_is_asked_again_and_named(tmp_path: Path) -> None:
    done, asked = _run(tmp_path, "SIGSTOP")
    assert asked == 2
    assert re.search(r"1 passed, 1 rerun in", done.stdout), done.stdout + done.stderr
    assert re.search(r"^RERUN .*test_it", done.stdout, re.MULTILINE)


def test_a_failure_on_a_machine_that_ran_is_a_failure(tmp_path: Path) -> None:
    for attempt in range(5):  # the machine may really stand still
        folder = tmp_path / str(attempt)
        folder.mkdir()
        done, asked = _run(folder, "SIGCONT")
        if asked == 1:
            break
    assert "1 failed in" in done.stdout


def test_the_moment_counts() -> None:
    watch = Watch()
    try:
        while not watch.awake():
            time.sleep(0.01)
        before = Mark.now()
        os.kill(watch._sleeper.pid, signal.SIGSTOP)
        time.sleep(LATE_SECONDS * 2)
        os.kill(watch._sleeper.pid, signal.SIGCONT)
        end = time.monotonic() + 20
        while not watch.stood_still_since(before):
            assert time.monotonic() < end
            time.sleep(0.05)
        for _ in range(100):
            mark = Mark.now()
            time.sleep(0.2)
            if not watch.stood_still_since(mark):
                return
        pytest.fail("it never ran")
    finally:
        watch.close()
