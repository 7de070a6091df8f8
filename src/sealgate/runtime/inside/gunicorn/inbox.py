"""What came over a connection and was not read yet: Gunicorn's parser reads from here, never from a socket.

Small things stay in memory; a body beyond that is an unnamed file. A read never waits: a worker hands over
whole requests only.
"""

from __future__ import annotations

import tempfile
from typing import IO

__all__ = ["Inbox"]

_IN_MEMORY = 128 * 1024  # more than any header
_PIECE = 64 * 1024


class Inbox:
    """A queue of bytes with the face of Gunicorn's ``Unreader``.

    Args:
        folder: where the file is made; None: the system's place for such.
    """

    __slots__ = ("_data", "_file", "_folder", "_read", "_written")

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        self._data = bytearray()
        self._file: IO[bytes] | None = None
        self._read = self._written = 0

    def __len__(self) -> int:
        return len(self._data) + self._written - self._read

    @property
    def head(self) -> bytearray:
        """What is in memory: all, before a body has grown large. Not to be changed."""
        return self._data

    def add(self, data: bytes) -> None:
        """More came. Raises OSError where a large body finds no room."""
        if self._file is None and len(self._data) + len(data) > _IN_MEMORY:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed in `_emptied`, `close`
        if self._file is None:
            self._data += data
            return
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)

    def read(self, size: int | None = None, read_ahead: int | None = None) -> bytes:
        """At most so many bytes, fewer only where no more came; without a size: the next piece."""
        del read_ahead  # everything is here already
        if size is None or size < 0:
            return self._taken(_PIECE if self._file else len(self._data))
        pieces = []
        while size > 0 and (piece := self._taken(size)):
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _taken(self, size: int) -> bytes:
        if self._data:
            piece = bytes(self._data[:size])
            del self._data[:size]
            return piece
        if self._file is None:
            return b""
        self._file.seek(self._read)
        piece = self._file.read(min(size, self._written - self._read))
        self._read += len(piece)
        if self._read == self._written:
            self.close()
        return piece

    def unread(self, data: bytes) -> None:
        """Put back what was read too much."""
        if data:
            self._data[:0] = data

    def settle(self) -> None:
        """Between two requests: what is left is the beginning of the next, and fits into memory."""
        if self._file is not None:
            self._data += self._taken(_IN_MEMORY)
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._read = self._written = 0
