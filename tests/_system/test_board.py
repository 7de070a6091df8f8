"""What one process writes on a board, others read whole, and cannot change."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from sealgate._system import board as module
from sealgate._system.board import MOST, Board, BoardReader


def test_what_is_written_is_read() -> None:
    board = Board("test")
    reader = BoardReader(board.fd)
    assert reader.read() == (0, b"")
    for text in (b"one", b"", b"x" * 100_000, b"four"):
        generation = board.write(text)
        assert reader.read() == (generation, text)
        assert reader.generation == board.generation == generation


def test_what_has_no_room_leaves_what_is_there() -> None:
    board = Board("test")
    board.write(b"before")
    with pytest.raises(ValueError, match="more than"):
        board.write(bytes(MOST + 1))
    assert BoardReader(board.fd).read() == (1, b"before")
    board.write(b"y" * MOST)
    assert len(BoardReader(board.fd).read()[1]) == MOST


def test_another_process_reads_and_cannot_write() -> None:
    board = Board("test")
    board.write(b"told")
    code = (
        "import mmap,os,sys\n"
        "from sealgate._system.board import BoardReader\n"
        "fd = int(sys.argv[1])\n"
        "print(BoardReader(fd).read()[1].decode())\n"
        "acts = lambda: mmap.mmap(fd, 4096), lambda: os.pwrite(fd, b'x', 0), lambda: os.ftruncate(fd, 0)\n"
        "for act in acts:\n"
        "    try:\n        act()\n    except OSError as error:\n        print(error.errno)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(board.fd)],
        pass_fds=(board.fd,),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert said.stdout.split() == ["told", "1", "1", "1"]


def test_no_reader_ever_sees_half_a_document() -> None:
    board = Board("test")
    texts = [bytes([number]) * (200_000 + number) for number in range(1, 9)]
    board.write(texts[0])
    enough = threading.Event()

    def write() -> None:
        for round_ in range(1_000_000):
            board.write(texts[round_ % len(texts)])
            if enough.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    reader = BoardReader(board.fd)
    seen: set[int] = set()
    until = time.monotonic() + 30
    while len(seen) < len(texts) and time.monotonic() < until:
        _, text = reader.read()
        assert text in texts
        seen.add(text[0])
    enough.set()
    thread.join()
    assert len(seen) == len(texts)


def test_one_that_never_stands_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board("test")
    board.write(b"one")
    reader = BoardReader(board.fd)
    monkeypatch.setattr(module, "_TRIES", 0)
    with pytest.raises(OSError, match="faster"):
        reader.read()
