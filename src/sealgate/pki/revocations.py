"""Who was revoked, in memory that every process with a guard sees: the door of open connections.

An engine looks at a list when a connection begins. The guard asks here at each request, so what is written
counts from the next request on, in every process, and nobody has to be told.

The groups that single certificates were given stand in the same table, under keys of their own
(:func:`~sealgate.policy.identity.membership_key`).

Theory: one writer (the keeper), readers without locks. A table of 16-byte keys with open addressing stands in
one of several *places* of one sparse memory, at most half full; a page before them says which place counts.
In a place that counts a key is added where nothing stood, or struck out: nothing moves. A table that gets
full is built anew in another place, and then that one counts; a reader that finds nothing looks whether the
place is still the same, and else looks again. A half-written key equals none. The memory can be neither
shrunk nor written to by whoever is handed it (memfd_create(2), F_SEAL_FUTURE_WRITE), not even by an app that
was taken over; for the same reason a place that counts no more stays what it is until it is needed again.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Collection, Iterable, Iterator

__all__ = ["MOST", "Revocations", "Revoked"]

_SIZE = 16
_PAGE = 4096
_SMALLEST, _LARGEST = 10, 23  # slots of a place: powers of two
_EMPTY, _STRUCK = bytes(_SIZE), b"\xff" * _SIZE  # no hash is either, but once in 2^127
_F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h, since 5.1; Python names it from 3.13 on

MOST = 1 << (_LARGEST - 1)
"""Keys: 4,194,304, in 128 MiB."""


def _layout() -> tuple[tuple[int, int], ...]:
    """Where each place begins, and its slots; two of each size, so that one can be built beside the other."""
    found, at = [], _PAGE
    for power in range(_SMALLEST, _LARGEST + 1):
        for _ in range(2):
            found.append((at, 1 << power))
            at += _SIZE << power
    return tuple(found)


_PLACES = _layout()
_BYTES = _PLACES[-1][0] + _SIZE * _PLACES[-1][1]


class Revoked:
    """The table, to be asked.

    Args:
        fd: of :class:`Revocations`; stays open, and need not.
    """

    __slots__ = ("_memory", "_words")

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _BYTES, prot=mmap.PROT_READ)
        self._words = memoryview(self._memory)[:16].cast("Q")

    @property
    def generation(self) -> int:
        """Rises with each change."""
        return self._words[0]

    def __contains__(self, key: bytes) -> bool:
        """Is this one revoked? 16 bytes of :func:`~sealgate.policy.identity.revocation_key`."""
        memory, words, first = self._memory, self._words, int.from_bytes(key[:4], "little")
        while True:  # as `_find`, without its call: this is asked at each request
            place = words[1]
            begin, slots = _PLACES[place]
            slot = first & (slots - 1)
            while (there := memory[(at := begin + slot * _SIZE) : at + _SIZE]) != key:
                if there == _EMPTY:
                    break
                slot = (slot + 1) & (slots - 1)
            else:
                return True
            if words[1] == place:
                return False


class Revocations:
    """The table, to be written: by one process alone, which shares the descriptor with the others.

    Raises:
        OSError: there is no memory.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("revocations", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, _BYTES)
            self._memory = mmap.mmap(self.fd, _BYTES)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            # Kernels before 5.1 do not know it. What is lost: an app that was taken over, which the guard in
            # its own process cannot keep from anything, could also let in whom other processes refuse.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(self.fd)
            raise
        self._words = memoryview(self._memory)[:16].cast("Q")
        self._count = self._filled = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    @property
    def generation(self) -> int:
        """Rises with each change."""
        return self._words[0]

    def replace(self, keys: Collection[bytes]) -> int:
        """Exactly these, each of them once; returns the generation from which on they count.

        Raises:
            ValueError: there are more than `MOST`.
        """
        lacking = [key for key in keys if not _stands(self._memory, self._words[1], key)]
        if self._count > len(keys) - len(lacking):
            _strike(self._memory, self._words[1], frozenset(keys))
            self._count = len(keys) - len(lacking)
            self._words[0] += 1
        return self._added(lacking, keys)

    def add(self, keys: Iterable[bytes]) -> int:
        """These too; returns the generation from which on they count.

        Raises:
            ValueError: there are more than `MOST`.
        """
        lacking = [key for key in dict.fromkeys(keys) if not _stands(self._memory, self._words[1], key)]
        return self._added(lacking, None)

    def _added(self, lacking: list[bytes], wanted: Collection[bytes] | None) -> int:
        if not lacking:
            return self.generation
        _, slots = _PLACES[self._words[1]]
        if 2 * (self._filled + len(lacking)) > slots:
            self._build([*self._keys(), *lacking] if wanted is None else wanted)
        else:
            _add(self._memory, self._words[1], lacking)
            self._filled += len(lacking)
        self._count += len(lacking)
        self._words[0] += 1
        return self.generation

    def _keys(self) -> Iterator[bytes]:
        begin, slots = _PLACES[self._words[1]]
        for at in range(begin, begin + slots * _SIZE, _SIZE):
            there = self._memory[at : at + _SIZE]
            if there not in (_EMPTY, _STRUCK):
                yield there

    def _build(self, keys: Collection[bytes]) -> None:
        """In another place, which then counts."""
        if len(keys) > MOST:
            raise ValueError(f"{len(keys)} revocations are more than the {MOST} that there is room for")
        power = max(_SMALLEST, (2 * len(keys) - 1).bit_length())
        place = 2 * (power - _SMALLEST)
        place += place == self._words[1]
        at, slots = _PLACES[place]
        self._memory[at : at + slots * _SIZE] = bytes(slots * _SIZE)
        _add(self._memory, place, keys)
        self._words[1] = place
        self._filled = len(keys)

    def close(self) -> None:
        """Readers keep what they have mapped."""
        os.close(self.fd)


def _find(memory: mmap.mmap, place: int, key: bytes) -> int:
    """Where the key stands, or would."""
    begin, slots = _PLACES[place]
    slot = int.from_bytes(key[:4], "little") & (slots - 1)
    while True:
        at = begin + slot * _SIZE
        there = memory[at : at + _SIZE]
        if there in (key, _EMPTY):
            return at
        slot = (slot + 1) & (slots - 1)


def _stands(memory: mmap.mmap, place: int, key: bytes) -> bool:
    at = _find(memory, place, key)
    return memory[at : at + _SIZE] == key


def _add(memory: mmap.mmap, place: int, keys: Collection[bytes]) -> None:
    for key in keys:
        at = _find(memory, place, key)
        memory[at : at + _SIZE] = key


def _strike(memory: mmap.mmap, place: int, wanted: Collection[bytes]) -> None:
    """All others out."""
    begin, slots = _PLACES[place]
    for at in range(begin, begin + slots * _SIZE, _SIZE):
        there = memory[at : at + _SIZE]
        if there not in (_EMPTY, _STRUCK) and there not in wanted:
            memory[at : at + _SIZE] = _STRUCK
