"""``limits.connections`` over several processes: never more open connections than that, all together.

Theory: a piece of shared memory with one number for each process; only that process writes it, all read all.
Who takes a connection counts it first and looks at the sum then. So two that count at the same moment may
both go without, and never both get the last one. Who dies has its number cleared by who started it.
"""

from __future__ import annotations

import mmap
import os
import struct

__all__ = ["Budget", "shared_memory"]

_NUMBER = struct.Struct("=Q")


def shared_memory(places: int) -> int:
    """A descriptor for `places` processes; all numbers are 0. The caller closes it."""
    fd = os.memfd_create("connections", os.MFD_CLOEXEC)
    os.ftruncate(fd, places * _NUMBER.size)
    return fd


class Budget:
    """One process's part.

    Args:
        most: connections of all together.
        fd: from :func:`shared_memory`; -1: this process is alone.
        place: of this process.
    """

    def __init__(self, most: int, *, fd: int = -1, place: int = 0) -> None:
        self._most = most
        size = os.fstat(fd).st_size if fd >= 0 else _NUMBER.size
        self._memory = mmap.mmap(fd, size)
        self._format = struct.Struct(f"={size // _NUMBER.size}Q")
        self._at = place * _NUMBER.size
        self.mine = 0

    def take(self) -> bool:
        """Count one more, if there may be one more."""
        self._write(self.mine + 1)
        if sum(self._format.unpack_from(self._memory)) <= self._most:
            return True
        self._write(self.mine - 1)
        return False

    def give(self) -> None:
        """One has ended."""
        self._write(self.mine - 1)

    def clear(self, place: int) -> None:
        """A process that had this place is gone."""
        _NUMBER.pack_into(self._memory, place * _NUMBER.size, 0)

    def _write(self, value: int) -> None:
        self.mine = value
        _NUMBER.pack_into(self._memory, self._at, value)
