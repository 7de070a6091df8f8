"""uvicorn on listening sockets that were handed over, with bounds that it lacks.

Its own: an idle connection is closed after five seconds. Ours: whatever happens on a connection, ten seconds
after it was made or last answered it is over; and there are at most so many, of each listener. uvicorn's own
limit answers requests with 503 and takes connections without end, so who only connects would keep everybody
out. Here the newest comes in, and the one that was idle for the longest goes. So neither slow headers nor
slow readers nor the silent hold a place.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

__all__ = ["serve"]

_EXCHANGE = 10.0
_IDLE = 5
_LARGEST_HEAD = 16 * 1024
_AT_ONCE = 64
"""Connections taken in one turn of the event loop: so many more than the bound may there be for a moment."""
_WAITING = 1024
"""Connections that the kernel keeps until they are taken."""


class Seated(Protocol):
    """A connection that has a place."""

    @property
    def idle(self) -> bool:
        """Is nothing being answered?"""

    def drop(self) -> None:
        """End it at once."""


class Places:
    """The connections of one listener, in the order in which they were made or last answered.

    Args:
        most: how many.
        first: seconds until the first request of each must be answered.
    """

    def __init__(self, most: int, first: float) -> None:
        self._most, self.first = most, first
        self._taken: dict[Seated, None] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, one: Seated) -> None:
        """The newest; where all places are taken, another loses its own."""
        while len(self._taken) >= self._most:
            out = next((other for other in self._taken if other.idle), next(iter(self._taken)))
            self.leave(out)
            out.drop()
        self._taken[one] = None

    def renew(self, one: Seated) -> None:
        """It was answered."""
        if one in self._taken:
            del self._taken[one]
            self._taken[one] = None

    def leave(self, one: Seated) -> None:
        """It is over, or will be in a moment."""
        self._taken.pop(one, None)


class Bounded(H11Protocol):
    """HTTP/1.1 with an end to each exchange, in one of so many places."""

    _end: asyncio.TimerHandle | None = None

    def __init__(self, places: Places, **given: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**given)
        self._places = places

    @property
    def idle(self) -> bool:
        """Is nothing being answered? A request of which only a part is here is none."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def drop(self) -> None:
        """End it at once; what was written and not read is lost."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        super().connection_made(transport)
        self._places.take(self)
        self._until(self._places.first)

    def connection_lost(self, exc: Exception | None) -> None:
        self._places.leave(self)
        self._cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._places.renew(self)
        self._until(_EXCHANGE)
        super().on_response_complete()

    def _until(self, seconds: float) -> None:
        self._cancel()
        self._end = self.loop.call_later(seconds, self.transport.abort)

    def _cancel(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are not this server's affair: there are two of them in the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for sock in sockets or ():
            sock.listen(_WAITING)  # `backlog` is for asyncio: how many it takes at once


async def serve(app: ASGIApp, sock: socket.socket, *, most: int, first: float | None = None) -> None:
    """Serve until cancelled.

    Args:
        app: the app.
        sock: listening.
        most: connections at once.
        first: seconds until a connection's first request is answered; None: as long as any other.
    """
    places = Places(most, _EXCHANGE if first is None else first)
    settings: dict[str, Any] = {
        "http": partial(Bounded, places),
        "ws": "none",
        "loop": "none",
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "backlog": _AT_ONCE,
        "timeout_keep_alive": _IDLE,
        "timeout_graceful_shutdown": 1,
        "h11_max_incomplete_event_size": _LARGEST_HEAD,
    }
    server = _Server(uvicorn.Config(app, **settings))
    try:
        await server.serve(sockets=[sock])
    finally:
        for listening in getattr(server, "servers", ()):
            listening.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # for what the loop has to do about that
