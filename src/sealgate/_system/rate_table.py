"""Budgets in memory that all workers of a machine share: who may call when again.

Theory: a table of sets of eight places; who hashes into a set may have any place of it. A place is a key and
the time (CLOCK_MONOTONIC, in ns) at which its budget is whole again; from then on it holds nothing that
anybody would miss, and is free. Nobody's place is ever taken before that. Where a set is full the caller is
counted with his neighbours (the network that he comes from), in a smaller table; and where that is full, with
everybody there. So a flood of addresses costs a fixed memory, and no budget but its own.

Locks: of each part of the table, one in the process (threads) and one of the file (processes, fcntl(2)),
which the kernel gives back whoever is killed. Nobody waits for long for one who was stopped while he held it.
A place is written so that whoever is killed in between leaves one that is nobody's.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Budget", "RateTable", "Rates", "TooBusy"]

_PAGE = 4096
_SECRET = 32
_PLACES = 8
_SET = struct.Struct(f"={3 * _PLACES}Q")
_OWN, _SHARED = 1 << 16, 1 << 12  # sets: half a million callers, 32,768 networks
_ALL = _OWN + _SHARED
_BYTES = _PAGE + (_ALL + 1) * _SET.size
_STRIPES = 256
_PATIENCE = 0.25
_NAP = 0.0005
_INDEXES = range(0, 3 * _PLACES, 3)
_MOST_REMEMBERED = 4096
_TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


class TooBusy(Exception):
    """A lock was not to be had in time."""


class Budget(Protocol):
    """One rate (``guard.rates.Budget``)."""

    @property
    def mark(self) -> bytes:
        """Which: of rates that differ it does."""

    @property
    def interval(self) -> int:
        """Nanoseconds that a request's worth takes to come back."""

    @property
    def depth(self) -> int:
        """Nanoseconds that the whole budget does."""


class _Found(NamedTuple):
    """Where the budgets of a caller may stand.

    Attributes:
        stripe: whose lock is taken.
        at: the byte at which the set begins.
        keys: of each budget, as two words.
    """

    stripe: int
    at: int
    keys: tuple[tuple[int, int], ...]


class RateTable:
    """The memory, made by one process, which shares the descriptor with the others.

    Raises:
        OSError: there is none.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("rates", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, _BYTES)
            os.pwrite(self.fd, os.urandom(_SECRET), 0)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, seals)
        except BaseException:
            os.close(self.fd)
            raise

    def close(self) -> None:
        """Others keep what they have mapped."""
        os.close(self.fd)


class Rates:
    """The table, to be counted in.

    Args:
        fd: of :class:`RateTable`. It stays open: a process that closes any descriptor of a file gives back
            all its locks of it (fcntl(2)).
        clock: nanoseconds, the same in all processes.
    """

    blocking = False

    def __init__(self, fd: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._fd, self._clock = fd, clock
        self._memory = mmap.mmap(fd, _BYTES)
        self._words = memoryview(self._memory).cast("Q")
        self._secret = bytes(self._memory[:_SECRET])
        self._threads = [threading.Lock() for _ in range(_STRIPES)]
        self._known: dict[tuple[bytes, int], _Found] = {}

    def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> list[int]:
        """Count a request under all of these, or under none; see :meth:`sealgate.guard.rates.Store.take`.

        Raises:
            TooBusy: somebody holds a lock, and has for long.
        """
        found = self._known.get((who, len(budgets)))
        if found is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known = {}
            found = self._found(who, budgets, 0, _OWN)
            self._known[who, len(budgets)] = found
        self._lock(found.stripe)
        try:
            now = self._clock()
            places = self._places(found, now)
            if places is not None:
                return self._count(places, found.keys, budgets, now)
        finally:
            self._unlock(found.stripe)
        return self._take_wider(b"wider\0" + wider, budgets)

    def _take_wider(self, who: bytes, budgets: Sequence[Budget]) -> list[int]:
        """There is no room for him: he is counted with his neighbours, or with everybody."""
        found = self._found(who, budgets, _OWN, _SHARED)
        for one in (found, _Found(_ALL % _STRIPES, _PAGE + _ALL * _SET.size, found.keys)):
            self._lock(one.stripe)
            try:
                now = self._clock()
                places = self._places(one, now)
                if places is None and one is not found:  # one place for everybody, of each rate
                    places = [one.at // 8 + index % _PLACES * 3 for index in range(len(budgets))]
                if places is not None:
                    return self._count(places, one.keys, budgets, now)
            finally:
                self._unlock(one.stripe)
        raise AssertionError("everybody has a place")

    def _found(self, who: bytes, budgets: Sequence[Budget], first: int, sets: int) -> _Found:
        number = first + int.from_bytes(self._hash(who)[:4], "little") % sets
        marks = (self._hash(budget.mark + who) for budget in budgets)
        keys = tuple((int.from_bytes(one[:8], "little"), int.from_bytes(one[8:], "little")) for one in marks)
        return _Found(number % _STRIPES, _PAGE + number * _SET.size, keys)

    def _count(
        self, places: Sequence[int], keys: Sequence[tuple[int, int]], budgets: Sequence[Budget], now: int
    ) -> list[int]:
        words, levels, fits = self._words, [], True
        for place, budget in zip(places, budgets, strict=True):
            depth, whole = budget.depth, words[place + 2]
            # What is further ahead than a whole budget was never written by us.
            level = (min(whole - now, depth) if whole > now else 0) + budget.interval
            levels.append(level)
            if level > depth:
                fits = False
                words[place + 2] = min(whole, now + depth)
        if not fits:
            pairs = zip(levels, budgets, strict=True)
            return [one.depth - level if level > one.depth else level - one.interval for level, one in pairs]
        for place, key, level in zip(places, keys, levels, strict=True):
            words[place + 2] = now + level  # first: a key without its time would be a fresh budget
            words[place], words[place + 1] = key
        return levels

    def _places(self, found: _Found, now: int) -> list[int] | None:
        """Of each key the index of its first word; None: the set is full."""
        seen, first = _SET.unpack_from(self._memory, found.at), found.at // 8
        places: list[int] = []
        for one, two in found.keys:
            free = -1
            for index in _INDEXES:
                if seen[index] == one and seen[index + 1] == two:
                    free = index
                    break
                if free < 0 and seen[index + 2] <= now and first + index not in places:
                    free = index
            if free < 0:
                return None
            places.append(first + free)
        return places

    def _hash(self, key: bytes) -> bytes:
        return hashlib.blake2b(key, digest_size=16, key=self._secret).digest()

    def _lock(self, stripe: int) -> None:
        """In the process, then among processes."""
        if not self._threads[stripe].acquire(timeout=_PATIENCE):
            raise TooBusy
        until = 0.0
        while True:
            try:
                fcntl.lockf(self._fd, _TRY, 1, stripe)
            except (BlockingIOError, PermissionError):  # fcntl(2): EAGAIN or EACCES
                until = until or time.monotonic() + _PATIENCE
                if time.monotonic() > until:
                    self._threads[stripe].release()
                    raise TooBusy from None
                time.sleep(_NAP)
            else:
                return

    def _unlock(self, stripe: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, stripe)
        self._threads[stripe].release()
