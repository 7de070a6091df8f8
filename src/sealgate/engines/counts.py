"""What processes that answer requests count: status, latency, refusals; in memory shared with who shows it.

Theory: a table of 64-bit numbers with one row for each process. Only that process writes its row, and
numbers only grow; who shows them reads whenever it likes. So nobody asks, waits or locks while a request is
under way, a process that is killed takes nothing with it, and the size is fixed: codes, classes and bounds
are closed lists. The memory can be neither shrunk (a reader would die of SIGBUS) nor grown (memfd_create(2),
sealing), so a process that was taken over can tell lies about what it counts, and nothing else. A number that
shrinks is such a lie: the highest that was seen counts. Numbers wrap at 2^64, so that a full one, which only
a liar can have written, stops nobody.

Two numbers of a row say something else: who it is, as long as he has exchanges under way that a revocation
may end, and up to which generation of the revoked he has ended them (``guard/under_way.py``).

Behind the rows each process has a few places for certificates of which nobody knows whether they are revoked
(``guard/asking.py``), and a number for each that says how often it was written. One that is read while it is
written is no certificate, or one that is asked for again: who reads believes nothing but its signature.

Threads: ``numbers[at] = numbers[at] + 1 & _FULL`` with ``at`` known is read and written without a call in
between, and CPython changes threads at calls and jumps only. A test counts in several threads at once.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from bisect import bisect_left
from pathlib import Path

from sealgate.policy.problems import PROBLEMS

__all__ = ["BOUNDS", "PLACES", "Counters", "Row", "Table", "bound_names", "counters_of", "shared"]

Counters = tuple[tuple[str, str, int], ...]
"""Name, label, number: see ``contract.Counting``."""

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the classes of latency, seconds; one more has none."""

PLACES = 520
"""Rows for an engine that runs the app in processes of its own: old and new ones at once."""

_CODES = {slug: number for number, slug in enumerate(PROBLEMS)}
_LIMITS = tuple(round(bound * 1e9) for bound in BOUNDS)
_SUM = len(BOUNDS) + 1
_CLASSES = _SUM + 1  # 0xx to 9xx: what an app may say
_DENIALS = _CLASSES + 10
_OPEN = _DENIALS + len(_CODES)
_OBEYED = _OPEN + 1
_WIDTH = _OBEYED + 1
_NUMBER = struct.calcsize("=Q")
_ASKED, _SLOT = 4, 8192
_ROW = (_WIDTH + _ASKED) * _NUMBER + _ASKED * _SLOT
"""Bytes for each process: its row, and in two regions behind all rows how often it asked, and what."""
_FULL = (1 << 64) - 1
_MOST = (1 << 63) - 1  # nanoseconds of 292 years


def shared(rows: int = 1) -> int:
    """A descriptor of memory for so many processes, all numbers 0. The caller closes it.

    Raises:
        OSError: there is no memory.
    """
    fd = os.memfd_create("counts", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, rows * _ROW)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Row:
    """One process's, to be written.

    Args:
        fd: of :func:`shared`; stays open, and need not. -1: nobody reads what is counted.
        place: of this process. A later one goes on where an earlier one of the same place has ended.
    """

    __slots__ = ("_asked", "_lock", "_numbers", "_slots", "_turn")

    def __init__(self, fd: int = -1, place: int = 0) -> None:
        size = os.fstat(fd).st_size if fd >= 0 else _ROW
        rows, memory = size // _ROW, memoryview(mmap.mmap(fd, size))
        numbers = memory[: rows * (_WIDTH + _ASKED) * _NUMBER].cast("Q")
        self._numbers = numbers[place * _WIDTH : (place + 1) * _WIDTH]
        first = rows * _WIDTH + place * _ASKED
        self._asked = numbers[first : first + _ASKED]
        at = len(numbers) * _NUMBER + place * _ASKED * _SLOT
        self._slots = memory[at : at + _ASKED * _SLOT]
        self._lock, self._turn = threading.Lock(), 0

    def answered(self, status: int, nanoseconds: int) -> None:
        """A request has its answer, after so long."""
        numbers = self._numbers
        group, bound = _CLASSES + status // 100 % 10, bisect_left(_LIMITS, nanoseconds)
        numbers[group] = numbers[group] + 1 & _FULL
        numbers[bound] = numbers[bound] + 1 & _FULL
        numbers[_SUM] = numbers[_SUM] + nanoseconds & _FULL

    def upgraded(self, status: int) -> None:
        """Something was answered whose length says nothing: a WebSocket lasts as long as people like."""
        group = _CLASSES + status // 100 % 10
        numbers = self._numbers
        numbers[group] = numbers[group] + 1 & _FULL

    def denied(self, slug: str) -> None:
        """A request was refused, with this problem."""
        code = _CODES.get(slug)
        if code is not None:
            numbers, at = self._numbers, _DENIALS + code
            numbers[at] = numbers[at] + 1 & _FULL

    def open(self, *, are: bool) -> None:
        """There may be exchanges of clients under way in this process; or there are none."""
        self._numbers[_OPEN] = os.getpid() if are else 0

    def obeyed(self, generation: int) -> None:
        """Those of clients who were revoked up to this generation have been told to end."""
        self._numbers[_OBEYED] = generation & _FULL

    def asks(self, der: bytes) -> None:
        """Nobody knows whether this certificate is revoked. One that is too long is not passed on."""
        if len(der) > _SLOT - _NUMBER:
            return
        with self._lock:
            self._turn = turn = (self._turn + 1) % _ASKED
            at = turn * _SLOT
            self._slots[at : at + _NUMBER + len(der)] = len(der).to_bytes(_NUMBER, "little") + der
            self._asked[turn] = self._asked[turn] + 1 & _FULL


class Table:
    """All processes', to be read.

    Args:
        fd: of :func:`shared`; stays open, and need not.
    """

    __slots__ = ("_asked", "_format", "_memory", "_numbers", "_seen")

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        self._memory = mmap.mmap(fd, size, prot=mmap.PROT_READ)
        rows = size // _ROW
        self._format = struct.Struct(f"={rows * _WIDTH}Q")
        self._numbers = struct.Struct(f"={rows * _ASKED}Q")
        self._asked = [0] * (rows * _ASKED)
        self._seen = [0] * _WIDTH

    def read(self) -> list[int]:
        """The sums over all processes; never less than before."""
        numbers = self._format.unpack_from(self._memory)
        sums = (min(sum(numbers[column::_WIDTH]), _MOST) for column in range(_WIDTH))
        self._seen = [max(before, now) for before, now in zip(self._seen, sums, strict=True)]
        return list(self._seen)

    def behind(self, generation: int) -> tuple[int, ...]:
        """Processes that have exchanges under way and have not obeyed this generation of the revoked yet."""
        numbers = self._format.unpack_from(self._memory)
        pairs = zip(numbers[_OPEN::_WIDTH], numbers[_OBEYED::_WIDTH], strict=True)
        return tuple(pid for pid, obeyed in pairs if pid and obeyed < generation and _lives(pid))

    def questions(self) -> tuple[bytes, ...]:
        """What was asked since the last call: certificates, as whoever wrote them would have them."""
        numbers = list(self._numbers.unpack_from(self._memory, self._format.size))
        before, self._asked = self._asked, numbers
        news = (at for at, (one, other) in enumerate(zip(before, numbers, strict=True)) if one != other)
        return tuple(dict.fromkeys(filter(None, map(self._question, news))))

    def _question(self, slot: int) -> bytes:
        at = self._format.size + self._numbers.size + slot * _SLOT
        size = int.from_bytes(self._memory[at : at + _NUMBER], "little")
        return self._memory[at + _NUMBER : at + _NUMBER + size] if size <= _SLOT - _NUMBER else b""


def _lives(pid: int) -> bool:
    """Whoever was killed has ended all of his, and cannot say so."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {b"Z", b"X"}


def bound_names() -> tuple[str, ...]:
    """The classes of latency as labels: upper bounds in seconds."""
    return (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


def counters_of(sums: list[int], seconds: str) -> Counters:
    """Sums of :class:`Table` in the words of ``contract.Counting``.

    Args:
        sums: one of each column.
        seconds: what latency was measured: ``server_seconds`` or ``worker_seconds``.
    """
    names = (*bound_names(), "nanoseconds")
    return (
        *((seconds, name, sums[at]) for at, name in enumerate(names)),
        *(("requests", f"{digit}xx", sums[_CLASSES + digit]) for digit in range(1, 6)),
        *(("denials", slug, sums[_DENIALS + at]) for slug, at in _CODES.items()),
    )
