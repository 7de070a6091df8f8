"""One Granian worker in this very process.

Granian's own server is a supervisor with children; the keeper supervises already, with one process for each
worker. So its worker is run directly: `granian.server.mp` is not a public interface, hence the exact minor
version in `pyproject.toml`, and tests that fail where it changes.
"""

from __future__ import annotations

import errno
import io
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from queue import SimpleQueue
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Loops, RuntimeModes, TaskImpl
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from sealgate.guard.asgi import Guard as AsgiGuard
from sealgate.guard.compiled import Compiled
from sealgate.guard.sources import EnvoySource
from sealgate.guard.wsgi import Guard as WsgiGuard
from sealgate.runtime.app import Interface

__all__ = ["serve"]

_holder: Callable[..., Any] = SocketHolder  # its stub lacks the arguments
App = Callable[..., Any]
Message = MutableMapping[str, Any]

_BACKLOG = 1024
_WAITING = 512  # threads of a WSGI worker that may wait for readers of streamed answers
_STREAMS = 1024
_WINDOW = 1024 * 1024
# Standard output carries the access log and nothing else of ours.
_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "sealgate: worker: %(message)s"}},
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}
    },
    "loggers": {"_granian": {"handlers": ["console"], "level": "WARNING", "propagate": False}},
}


def serve(
    app: App,
    interface: Interface,
    compiled: Compiled,
    sock: socket.socket,
    *,
    threads: int,
    ready: Callable[[], None],
    failed: Callable[[str], None],
) -> None:
    """Serve `app` behind the guard on a listening unix socket until SIGTERM has been obeyed.

    Args:
        app: WSGI or ASGI application.
        interface: which of the two.
        compiled: the guard's policy.
        sock: listening, h2c and HTTP/1.1.
        threads: of a WSGI app.
        ready: called once requests will be answered.
        failed: called with the app's message if its lifespan startup fails.
    """
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    shared = _holder(sock.fileno(), True, _BACKLOG)  # noqa: FBT003 - true: a unix socket
    holder = ((None, shared), None)
    if interface == "wsgi":
        guarded: Any = _fair(WsgiGuard(app, compiled, EnvoySource()), threads)
        ready()
        MPServer._spawn_wsgi_worker(*_arguments(guarded, holder, threads + _WAITING))  # noqa: SLF001 - see above
        return
    guarded = _Announced(AsgiGuard(app, compiled, EnvoySource()), ready, failed)
    MPServer._spawn_asgi_lifespan_worker(*_arguments(guarded, holder, 1))  # noqa: SLF001 - see above


def _arguments(app: App, holder: tuple[Any, ...], threads: int) -> tuple[Any, ...]:
    http2 = HTTP2Settings(
        initial_connection_window_size=16 * _WINDOW,
        initial_stream_window_size=_WINDOW,
        max_concurrent_streams=_STREAMS,
        max_headers_size=128 * 1024,
    )
    no_tls: tuple[Any, ...] = (False, None, None, None, "tls1.3", None, [], False)
    return (
        *(1, None, lambda: app, holder, None, Loops.auto),  # id, title, loader, socket, IPC, event loop
        *(True, LogLevels.warning, _LOG, ()),  # log: enabled, level, config; environment files
        *(RuntimeModes.st, 1, 2),  # runtime: mode, threads, blocking threads
        *(threads, 30, _BACKLOG),  # the app's threads, how long one may idle (s), requests that may wait
        *(TaskImpl.asyncio, HTTPModes.auto, HTTP1Settings(), http2),
        *(True, None, None),  # WebSocket, static files, access log
        *(no_tls, {"url_path_prefix": None}, (None, None)),  # TLS, scope options, metrics
    )


class _Body(io.RawIOBase):
    """A request body, taken from Granian at the first look at it.

    Granian's own input never returns from a sized read once the client is gone: each such request would cost
    a thread for ever. Reading all at once returns, with nothing; so what is missing is noticed by its length.
    The engine sends whole requests only, so there is nothing to wait for.
    """

    def __init__(self, inner: Any, length: str) -> None:  # noqa: ANN401 - Granian's type has no name
        self._inner = inner
        self._length = int(length) if length.isdecimal() else -1
        self._data: io.BytesIO | None = None

    def _all(self) -> io.BytesIO:
        if self._data is None:
            data = self._inner.read()
            if self._length >= 0 and len(data) != self._length:
                raise ConnectionResetError(
                    errno.ECONNRESET, "the client went away before its request was complete"
                )
            self._data = io.BytesIO(data)
        return self._data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        return self._all().readinto(buffer)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._all().read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._all().readline(size)


class _Turns:
    """An app's streamed answer, made piece by piece while holding one of the app's turns."""

    __slots__ = ("_inner", "_next", "_turns")

    def __init__(self, inner: Iterable[bytes], turns: SimpleQueue[None]) -> None:
        self._inner = inner
        self._next = iter(inner).__next__
        self._turns = turns

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._turns.get()
        try:
            return self._next()
        finally:
            self._turns.put(None)

    def close(self) -> None:
        """As PEP 3333 asks."""
        close: Callable[[], None] | None = getattr(self._inner, "close", None)
        if close is not None:
            close()


def _fair(app: App, threads: int) -> App:
    """The same WSGI app with bodies that can be read without fear, and `threads` turns of its own.

    A thread that waits for a slow reader of a streamed answer is in nobody's way: it holds no turn then.
    """
    turns: SimpleQueue[None] = SimpleQueue()  # of tokens: a semaphore at a tenth of its cost
    for _ in range(threads):
        turns.put(None)

    def called(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"] = _Body(environ["wsgi.input"], environ.get("CONTENT_LENGTH", ""))
        turns.get()
        try:
            result: Iterable[bytes] = app(environ, start_response)
        finally:
            turns.put(None)
        return result if isinstance(result, list) else _Turns(result, turns)

    return called


class _Announced:
    """Tells when an ASGI app's lifespan startup is over; apps without one are ready at once."""

    def __init__(self, app: App, ready: Callable[[], None], failed: Callable[[str], None]) -> None:
        self._app, self._ready, self._failed = app, ready, failed

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        said = False

        async def announce(message: Message) -> None:
            nonlocal said
            said = True
            if message["type"] == "lifespan.startup.complete":
                self._ready()
            elif message["type"] == "lifespan.startup.failed":
                self._failed(message.get("message") or "no message")
            await send(message)

        try:
            await self._app(scope, receive, announce)
        finally:
            if not said:
                self._ready()
