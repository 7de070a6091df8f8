"""Takes connections from listening sockets and does their TLS handshakes, within ``limits.connections``.

uvicorn leaves this to asyncio, which counts no connection before its handshake is done and gives it a minute.
Here each one counts from accept(2) on; who comes when the house is full is let go at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Sequence

from sealgate.runtime.inside.budget import Budget

__all__ = ["Acceptor"]

_AT_ONCE = 32
_FULL = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE = 0.5
_UNSENT = 128 * 1024

Factory = Callable[[Callable[[], None]], asyncio.Protocol]
"""Makes the protocol of a connection; it calls what it is given once, when the connection is over."""


class Acceptor:
    """For one process.

    Args:
        sockets: listening; closed by :meth:`close`.
        factory: makes protocols.
        context: for the handshakes.
        handshake: seconds that one may take.
        goodbye: seconds for the end of a connection, and for what lies in its buffers then.
        budget: where connections are counted.
        alone: no other process accepts from these sockets.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Factory,
        *,
        context: ssl.SSLContext,
        handshake: float,
        goodbye: float,
        budget: Budget,
        alone: bool,
    ) -> None:
        self._sockets = list(sockets)
        self._factory, self._context, self._budget = factory, context, budget
        self._handshake, self._goodbye = handshake, goodbye
        # With others beside this one: one at a time, or whoever wakes first takes all.
        self._at_once = _AT_ONCE if alone else 1
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Are there handshakes under way?"""
        return bool(self._tasks)

    def open(self) -> None:
        """Begin."""
        for sock in self._sockets:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            self._loop.add_reader(sock, self._ready, sock)

    def close(self, *, last: bool) -> None:
        """Accept no more; `last`: nobody else will, so take what waits already."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            while last and self._accept(sock):
                pass
            sock.close()
        self._sockets = []

    def _ready(self, sock: socket.socket) -> None:
        for _ in range(self._at_once):
            if not self._accept(sock):
                return

    def _accept(self, sock: socket.socket) -> bool:
        """Take one; false: there is none."""
        try:
            accepted, _ = sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno in _FULL:
                self._loop.remove_reader(sock)
                self._loop.call_later(_PAUSE, self._again, sock)
            return False
        if self._budget.take():
            task = self._loop.create_task(self._shake_hands(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            accepted.close()
        return True

    def _again(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            self._loop.add_reader(sock, self._ready, sock)

    async def _shake_hands(self, sock: socket.socket) -> None:
        given = False

        def give() -> None:
            nonlocal given
            if not given:
                given = True
                self._budget.give()

        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # Megabytes that the kernel has not sent yet would hide that a slow reader reads.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
            await self._loop.connect_accepted_socket(
                lambda: self._factory(give),
                sock,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake,
                ssl_shutdown_timeout=self._goodbye,
            )
        except (OSError, TimeoutError):  # no TLS, no certificate, too slow, gone: the client's affair
            give()
            sock.close()
        except BaseException:
            give()
            raise
