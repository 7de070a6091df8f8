"""A sign of life that one process gives and others see, in memory that they cannot write to."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
from collections.abc import Callable

__all__ = ["Pulse", "PulseReader"]

_PAGE = 4096
_F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h, since 5.1; Python names it from 3.13 on


class Pulse:
    """To be given, by one process, which shares the descriptor with the others.

    Args:
        clock: nanoseconds, the same in all processes.

    Raises:
        OSError: there is no memory.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self.fd = os.memfd_create("pulse", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, _PAGE)
            self._memory = mmap.mmap(self.fd, _PAGE)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            with contextlib.suppress(OSError):  # kernels before 5.1 do not know it
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(self.fd)
            raise
        self._words = memoryview(self._memory)[:8].cast("Q")

    def beat(self) -> None:
        """All that was told until now is what counts."""
        self._words[0] = self._clock()

    def close(self) -> None:
        """Readers keep what they have mapped."""
        os.close(self.fd)


class PulseReader:
    """To be seen.

    Args:
        fd: of :class:`Pulse`; need not stay open.
        clock: as there.
    """

    __slots__ = ("_clock", "_words")

    def __init__(self, fd: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._words = memoryview(mmap.mmap(fd, _PAGE, prot=mmap.PROT_READ))[:8].cast("Q")

    @property
    def age(self) -> float:
        """Seconds since the last beat; since the machine started where there was none."""
        return (self._clock() - self._words[0]) / 1e9
