"""Whose Gunicorn a process is: what it says of itself is run by who asks, so he must own it throughout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate.engines.servers.gunicorn import started

# Named as Gunicorn is; it becomes what it is told to once a line comes.
_FIRST = "import os, sys; print(flush=True); sys.stdin.readline(); {then}"
_AS_ANOTHER = (
    "os.setresuid(65534, 65534, 65534);"
    " os.execve(sys.argv[1], ['gunicorn', '-c', 'import time; print(flush=True); time.sleep(60)'],"
    " {'LD_PRELOAD': '/theirs.so'})"
)


class Guest:
    """A process of ours that calls itself Gunicorn."""

    def __init__(self, then: str, *words: str) -> None:
        command = ["gunicorn", "-c", _FIRST.format(then=then), *words]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, executable=sys.executable, stdin=pipe, stdout=pipe)
        self.wait()

    def wait(self) -> None:
        """Until it has begun."""
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def guest() -> Iterator[Guest]:
    one = Guest("pass")
    yield one
    one.end()


def test_one_of_ours_is_told_with_its_surroundings(guest: Guest) -> None:
    one = started._started(guest.process.pid)
    assert one is not None
    assert one.argv[0] == "gunicorn"
    assert one.folder == Path.cwd()
    assert one.environ["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("owners", [(False, True), (True, False)])
def test_one_that_is_anothers_at_any_time_is_none(
    guest: Guest, monkeypatch: pytest.MonkeyPatch, owners: tuple[bool, bool]
) -> None:
    answers = iter(owners)
    monkeypatch.setattr(started, "_is_ours", lambda _process: next(answers))
    assert started._started(guest.process.pid) is None


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("Uid:\t{us}\t{us}\t{us}\t{us}", True),
        ("Uid:\t4711\t{us}\t{us}\t{us}", False),  # in a setuid program
        ("Uid:\t{us}\t4711\t4711\t4711", False),
        ("Gid:\t{us}\t{us}\t{us}\t{us}", False),
    ],
)
def test_all_of_its_ids_are_ours(tmp_path: Path, line: str, ours: bool) -> None:
    text = f"Name:\tgunicorn\n{line.format(us=os.geteuid())}\n"
    (tmp_path / "status").write_text(text)
    assert started._is_ours(tmp_path) is ours


def test_who_was_root_a_moment_ago_is_not_taken_for_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.geteuid() == 0, "only root may become another user"
    assert Path("/usr/bin/python3").exists(), "the other user needs a Python"
    one, read = Guest(_AS_ANOTHER, "/usr/bin/python3"), started._argv

    def late(process: Path) -> tuple[str, ...]:
        if process.name == str(one.process.pid) and not one.process.stdin.closed:  # type: ignore[union-attr]
            one.go_on()
            one.process.stdin.close()  # type: ignore[union-attr]
            one.wait()
        return read(process)

    monkeypatch.setattr(started, "_argv", late)
    try:
        assert started._started(one.process.pid) is None
    finally:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()  # type: ignore[union-attr]
