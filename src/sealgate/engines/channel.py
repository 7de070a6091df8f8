"""Orders to a process of ours and its answers: JSON messages, with descriptors, over a pair of unix sockets.

Each message arrives whole or not at all (SOCK_SEQPACKET, unix(7)). Messages are small; what may be large
travels in a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Channel"]

_LARGEST = 128 * 1024
_MOST_DESCRIPTORS = 250  # SCM_MAX_FD is 253


class Channel:
    """One end; used by one event loop."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Our end, and the one to hand on."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    def send(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        """Send a message, and copies of descriptors.

        Raises:
            OSError: nobody is there, or nobody has read for long.
        """
        socket.send_fds(self._sock, [json.dumps(message).encode()], list(descriptors))

    async def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """The next message with its descriptors, which are the caller's from then on; None: the end."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._sock, _LARGEST, _MOST_DESCRIPTORS)
            except BlockingIOError:
                readable = loop.create_future()
                loop.add_reader(self._sock, _once, readable)
                try:
                    await readable
                finally:
                    loop.remove_reader(self._sock)
                continue
            except OSError:
                return None
            return (json.loads(data), descriptors) if data else None

    def close(self) -> None:
        """The other end sees the end."""
        with contextlib.suppress(OSError):
            self._sock.close()


def _once(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
