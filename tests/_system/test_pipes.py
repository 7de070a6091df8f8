from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator

import pytest

from sealgate._system.pipes import gathered

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def test_what_gathered_meanwhile_comes_in_one_piece(pipe: Pipe) -> None:
    reading, writing = pipe
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            for number in range(1000):
                os.write(writing, b"line %d\n" % number)
        else:
            os.close(writing)

    os.write(writing, b"the first\n")
    first, rest = gathered(reading, sleep=sleep)
    assert first == b"the first\n"
    assert rest == b"".join(b"line %d\n" % number for number in range(1000))
    assert all(0 < seconds <= 0.05 for seconds in slept)


def test_a_pipe_that_fills_is_emptied_at_once(pipe: Pipe) -> None:
    reading, writing = pipe
    slept: list[float] = []
    size = 4 << 20

    def write() -> None:
        left = b"x" * size
        while left:
            left = left[os.write(writing, left) :]
        os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    seen = 0
    for piece in gathered(reading, sleep=slept.append):
        seen += len(piece)
    writer.join(20)
    assert seen == size
    assert len(slept) < size // 4096  # not for each of the kernel's pages


def test_a_small_pipe_is_left_alone_for_less(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it takes as many bytes a second as a large one."""
    reading, writing = pipe
    small = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 65536)
    monkeypatch.setattr("sealgate._system.pipes._LARGE", 1 << 62)  # more than anybody gets
    slept: list[float] = []
    os.write(writing, b"x")
    os.close(writing)
    assert list(gathered(reading, sleep=slept.append)) == [b"x"]
    assert slept == [pytest.approx(0.05 * small / (1 << 62))]
