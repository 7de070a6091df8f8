"""A document that one process writes and others read, in memory that they can neither write to nor shrink.

For what changes while requests are served: which API keys there are, by which keys tokens are verified.

Theory: two places; a word before them counts the generations, and its last bit says which place counts. The
writer fills the other place, then counts up, in one store. Who reads looks at the word, copies, and looks at
it again: had two generations gone by meanwhile, the copy may be torn, and he copies anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os

__all__ = ["MOST", "Board", "BoardReader"]

_PAGE = 4096
MOST = 16 * 1024 * 1024
"""Bytes of a document."""
_PLACE = MOST + _PAGE
_BYTES = _PAGE + 2 * _PLACE
_F_SEAL_FUTURE_WRITE = 0x10  # linux/fcntl.h, since 5.1; Python names it from 3.13 on
_TRIES = 1000


class Board:
    """To be written, by one process alone, which shares the descriptor with the others.

    Args:
        name: for who looks at a process's descriptors.

    Raises:
        OSError: there is no memory.
    """

    def __init__(self, name: str) -> None:
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, _BYTES)
            self._memory = mmap.mmap(self.fd, _BYTES)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            with contextlib.suppress(OSError):  # kernels before 5.1 do not know it
                fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(self.fd)
            raise
        self._words = memoryview(self._memory)[:8].cast("Q")

    @property
    def generation(self) -> int:
        """Rises with each document; 0: there was none yet."""
        return self._words[0]

    def write(self, document: bytes) -> int:
        """From now on this one counts; returns its generation.

        Raises:
            ValueError: it is longer than `MOST`; the one before stays.
        """
        if len(document) > MOST:
            raise ValueError(f"{len(document)} bytes are more than the {MOST} that there is room for")
        generation = self._words[0] + 1
        at = _PAGE + (generation & 1) * _PLACE
        self._memory[at : at + 8] = len(document).to_bytes(8, "little")
        self._memory[at + 8 : at + 8 + len(document)] = document
        self._words[0] = generation
        return generation

    def close(self) -> None:
        """Readers keep what they have mapped."""
        os.close(self.fd)


class BoardReader:
    """To be read.

    Args:
        fd: of :class:`Board`; stays open, and need not.
    """

    __slots__ = ("_memory", "_words")

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _BYTES, prot=mmap.PROT_READ)
        self._words = memoryview(self._memory)[:8].cast("Q")

    @property
    def generation(self) -> int:
        """Rises with each document; 0: there was none yet."""
        return self._words[0]

    def read(self) -> tuple[int, bytes]:
        """The newest document, and its generation; empty where there was none yet.

        Raises:
            OSError: it was written anew again and again while it was read.
        """
        for _ in range(_TRIES):
            generation = self._words[0]
            if not generation:
                return 0, b""
            at = _PAGE + (generation & 1) * _PLACE
            length = int.from_bytes(self._memory[at : at + 8], "little")
            document = self._memory[at + 8 : at + 8 + min(length, MOST)]
            if self._words[0] == generation:
                return generation, document
        raise OSError("the document changes faster than it can be read")
