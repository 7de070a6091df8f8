"""A file on its way to one client, in pieces: the next is read when the one before has left for the kernel.

So a reader costs one piece of memory, however long the file is and however slow he is. One piece in each turn
of the loop: who reads fast keeps nobody waiting. The file may be replaced meanwhile: what was opened is sent.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

from sealgate.runtime.inside.plain import Opened

__all__ = ["PIECE", "Sending", "opened"]

PIECE = 32 * 1024
_SEQUENCE, _LONG = 0x30, 0x80
_HEAD = 6  # tag, and a length of up to 4 GB


def opened(path: str) -> Opened | None:
    """A list in DER as it is at the moment; None: there is none that is whole. The caller closes it."""
    try:
        descriptor = os.open(Path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        facts = os.fstat(descriptor)
        if stat.S_ISREG(facts.st_mode) and _says(os.pread(descriptor, _HEAD, 0)) == facts.st_size:
            return Opened(descriptor, facts.st_size)
    except OSError:
        pass
    os.close(descriptor)
    return None


def _says(head: bytes) -> int:
    """How long a SEQUENCE says that it is (X.690 §8.1.3), its head included; -1: it is none."""
    if len(head) < 2 or head[0] != _SEQUENCE:
        return -1
    if head[1] < _LONG:
        return 2 + head[1]
    size = head[1] - _LONG
    return 2 + size + int.from_bytes(head[2 : 2 + size]) if 0 < size <= len(head) - 2 else -1


class Sending:
    """One file to one client.

    Args:
        file: what is sent; closed here.
        transport: where to; what it says to its protocol of pauses comes to :meth:`pause`, :meth:`resume`.
        moved: called with each piece, and once more, with nothing, when all has left.
    """

    def __init__(self, file: Opened, transport: asyncio.Transport, moved: Callable[[int], None]) -> None:
        self._file, self._transport, self._moved = file, transport, moved
        self._left = file.size
        self._paused = False
        self._open = True
        transport.set_write_buffer_limits(high=0)  # paused while anything waits for the client

    def begin(self) -> None:
        """Send the first piece."""
        asyncio.get_running_loop().call_soon(self._piece)

    def pause(self) -> None:
        """The client is slower than we are."""
        self._paused = True

    def resume(self) -> None:
        """All that was handed over has left."""
        self._paused = False
        self.begin()

    def close(self) -> None:
        """No more of it."""
        if self._open:
            self._open = False
            os.close(self._file.descriptor)

    def _piece(self) -> None:
        if not self._open or self._paused or self._transport.is_closing():
            return
        if not self._left:
            self.close()
            self._moved(0)
            return
        try:
            piece = os.read(self._file.descriptor, min(PIECE, self._left))
        except OSError:
            piece = b""
        if not piece:  # cut short under us: its reader must see that it is not whole
            self.close()
            self._transport.abort()
            return
        self._left -= len(piece)
        self._transport.write(piece)
        self._moved(len(piece))
        if not self._paused:
            self.begin()
