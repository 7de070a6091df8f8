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
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Asked", "RateTable", "Rates", "TooBusy"]

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
_TRY = fcntl.LOCK_EX | fcntl.LOCK_NB


class TooBusy(Exception):
    """A lock was not to be had in time."""


class Asked(Protocol):
    """One request of somebody (``guard.rates.Ask``)."""

    @property
    def key(self) -> bytes:
        """Who."""

    @property
    def wider(self) -> bytes:
        """With whom he is counted where there is no room; empty: with everybody."""

    @property
    def interval(self) -> int:
        """Nanoseconds that a request's worth takes to come back."""

    @property
    def depth(self) -> int:
        """Nanoseconds that the whole budget does."""


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

    def __init__(self, fd: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._fd, self._clock = fd, clock
        self._memory = mmap.mmap(fd, _BYTES)
        self._words = memoryview(self._memory).cast("Q")
        self._secret = bytes(self._memory[:_SECRET])
        self._threads = [threading.Lock() for _ in range(_STRIPES)]

    def take(self, asks: Sequence[Asked]) -> list[int]:
        """Count a request under all of these, or under none; see :meth:`sealgate.guard.rates.Store.take`.

        Raises:
            TooBusy: somebody holds a lock, and has for long.
        """
        keys = [self._hash(ask.key) for ask in asks]
        sets = [int.from_bytes(key[:4], "little") % _OWN for key in keys]
        with self._locked({number % _STRIPES for number in sets}):
            now = self._clock()
            places = self._places(sets, keys, now)
            if all(places):
                return self._count(asks, places, keys, now)
        return self._take_wider(asks)

    def _take_wider(self, asks: Sequence[Asked]) -> list[int]:
        """There is no room for one of them: all are counted with their neighbours."""
        keys = [self._hash(b"wider\0" + ask.wider + ask.key[:1]) for ask in asks]
        sets = [_OWN + int.from_bytes(key[:4], "little") % _SHARED for key in keys]
        with self._locked({number % _STRIPES for number in (*sets, _ALL)}):
            now = self._clock()
            last = (_PAGE + _ALL * _SET.size) // 8  # one place for everybody, of each rate
            found = self._places(sets, keys, now)
            places = [place or last + index % _PLACES * 3 for index, place in enumerate(found)]
            return self._count(asks, places, keys, now)

    def _count(
        self, asks: Sequence[Asked], places: Sequence[int], keys: Sequence[bytes], now: int
    ) -> list[int]:
        words, levels, waits = self._words, [], []
        for place, ask in zip(places, asks, strict=True):
            # What is further ahead than a whole budget was never written by us.
            words[place + 2] = min(words[place + 2], now + ask.depth)
            whole = max(words[place + 2], now)
            level = whole - now + ask.interval
            levels.append(level)
            waits.append(ask.depth - level)
        if min(waits) < 0:
            return [
                wait if wait < 0 else level - ask.interval
                for wait, level, ask in zip(waits, levels, asks, strict=True)
            ]
        for place, key, level in zip(places, keys, levels, strict=True):
            words[place + 2] = now + level  # first: a key without its time would be a fresh budget
            words[place] = int.from_bytes(key[:8], "little")
            words[place + 1] = int.from_bytes(key[8:], "little")
        return levels

    def _places(self, sets: Sequence[int], keys: Sequence[bytes], now: int) -> list[int]:
        """For each key the index of its first word; 0: its set is full."""
        found: list[int] = []
        for number, key in zip(sets, keys, strict=True):
            found.append(self._place(number, key, now, found))
        return found

    def _place(self, number: int, key: bytes, now: int, taken: Sequence[int]) -> int:
        """Where this key stands, or may: the index of its first word; 0: the set is full."""
        at = _PAGE + number * _SET.size
        seen = _SET.unpack_from(self._memory, at)
        one, two = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        free = 0
        for index in range(0, 3 * _PLACES, 3):
            if seen[index] == one and seen[index + 1] == two:
                return at // 8 + index
            if not free and seen[index + 2] <= now and at // 8 + index not in taken:
                free = at // 8 + index
        return free

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

    @contextmanager
    def _locked(self, stripes: set[int]) -> Iterator[None]:
        """In their order, so that nobody waits for one who waits for him."""
        held: list[int] = []
        try:
            for stripe in sorted(stripes):
                self._lock(stripe)
                held.append(stripe)
            yield
        finally:
            for stripe in held:
                self._unlock(stripe)
