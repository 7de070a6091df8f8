"""One Granian worker in this very process.

Granian's own server is a supervisor with children; the keeper supervises already, with one process for each
worker. So its worker is run directly: `granian.server.mp` is not a public interface, hence the exact minor
version in `pyproject.toml`, and tests that fail where it changes.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter_ns
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Loops, RuntimeModes, TaskImpl
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.server import mp
from granian.server.mp import MPServer

from sealgate.engines.counts import Row
from sealgate.guard.admission import Means
from sealgate.guard.asgi import Guard as AsgiGuard
from sealgate.guard.compiled import Compiled
from sealgate.guard.judge import Revoked
from sealgate.guard.sources import Source
from sealgate.guard.under_way import quiet
from sealgate.guard.wsgi import Guard as WsgiGuard
from sealgate.runtime.app import Interface
from sealgate.runtime.calls import Caller
from sealgate.runtime.denials import counted_log

__all__ = ["serve"]

_holder: Callable[..., Any] = SocketHolder  # its stub lacks the arguments
App = Callable[..., Any]
Message = MutableMapping[str, Any]

_BACKLOG = 1024
_STREAMS = 1024
_WINDOW = 1024 * 1024
# Standard output carries the access log and nothing else of ours.
_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"quiet": {"()": lambda: quiet}},
    "formatters": {"plain": {"format": "sealgate: worker: %(message)s"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["quiet"],
            "formatter": "plain",
            "stream": "ext://sys.stderr",
        }
    },
    "loggers": {"_granian": {"handlers": ["console"], "level": "WARNING", "propagate": False}},
}


def serve(  # noqa: PLR0913 - each is another part's affair
    app: App,
    interface: Interface,
    compiled: Compiled,
    sock: socket.socket,
    *,
    source: Source,
    revoked: Revoked,
    means: Means,
    threads: int,
    counts: Row,
    ready: Callable[[], None],
    failed: Callable[[str], None],
) -> None:
    """Serve `app` behind the guard on a listening unix socket until SIGTERM has been obeyed.

    Args:
        app: WSGI or ASGI application.
        interface: which of the two.
        compiled: the guard's policy.
        sock: listening, h2c and HTTP/1.1.
        source: where the guard takes its facts from.
        revoked: the revoked clients.
        means: by what the guard judges beside the policy.
        threads: of a WSGI app.
        counts: where what is answered is counted.
        ready: called once requests will be answered.
        failed: called with the app's message if its lifespan startup fails.
    """
    sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    shared = _holder(sock.fileno(), True, _BACKLOG)  # noqa: FBT003 - true: a unix socket
    holder = ((None, shared), None)
    log = counted_log(counts.denied)
    if interface == "wsgi":
        guarded: Any = WsgiGuard(app, compiled, source, log, revoked=revoked, means=means, told=counts)
        _call_by(Caller(guarded, threads, counts.answered))
        ready()
        MPServer._spawn_wsgi_worker(*_arguments(guarded, holder, threads))  # noqa: SLF001 - see above
        return
    guard = AsgiGuard(app, compiled, source, log, revoked=revoked, means=means, told=counts)
    guarded = _Outermost(guard, counts, ready, failed)
    MPServer._spawn_asgi_lifespan_worker(*_arguments(guarded, holder, 1))  # noqa: SLF001 - see above


def _call_by(caller: Caller) -> None:
    """Have Granian use our caller for WSGI apps instead of its own; see ``calls.py``."""
    if not hasattr(mp, "_wsgi_call_wrap"):
        raise AssertionError("this Granian is not one that this file was written for")
    mp._wsgi_call_wrap = lambda _app, _options, _log: caller  # noqa: SLF001 - see above


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


class _Outermost:
    """Around an ASGI app and its guard: counts answers, and says when the lifespan startup is over.

    Apps without one are ready at once. An answer's time ends when the last of it is handed over; what is
    counted is counted in the way of `send` (a plain function: another coroutine would cost as much as all
    the rest).
    """

    def __init__(
        self, app: App, counts: Row, ready: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        self._app, self._answered = app, counts.answered
        self._ready, self._failed = ready, failed

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if kind != "http":  # a WebSocket lasts as long as people like
            await self._app(scope, receive, send)
            return
        began, status, answered = perf_counter_ns(), 0, self._answered

        def noting(message: Message) -> Awaitable[None]:
            nonlocal status
            if not status:
                status = message.get("status", 0)
            elif not message.get("more_body"):
                answered(status, perf_counter_ns() - began)
                status = 0
            return send(message)

        try:
            await self._app(scope, receive, noting)
        except BaseException:
            answered(500, perf_counter_ns() - began)
            raise

    async def _lifespan(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
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
