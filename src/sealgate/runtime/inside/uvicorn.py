"""One uvicorn worker: the app in its own process with TLS, HTTP/1.1, WebSocket and the guard around it.

Started by the supervisor (``supervisor.py``) as ``python -P -m sealgate.runtime.inside.uvicorn`` on listening
sockets that it inherits. Its orders are JSON on standard input; what happens goes over a channel: it says
``ready`` or ``failed``; it is told ``refresh`` (certificate or trust changed) and ``drain``.

What is uvicorn's: the HTTP and WebSocket protocols, the ASGI cycle, lifespan, flow control. What is ours: how
connections are accepted and bounded, and how the process ends. Certificates change without any of this:
the context follows its files (``engines/tls_context.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from sealgate._system.process import ORDINARY, die_with_parent, limit_capabilities
from sealgate.engines.channel import Channel
from sealgate.engines.counts import Row
from sealgate.engines.servers.uvicorn.settings import Settings
from sealgate.engines.tls_context import LiveContext, TlsSettings
from sealgate.errors import AppError, SealgateError
from sealgate.guard.asgi import Guard
from sealgate.guard.compiled import Compiled
from sealgate.guard.sources import source
from sealgate.guard.under_way import quiet
from sealgate.pki.revocations import Revoked
from sealgate.runtime.app import load
from sealgate.runtime.denials import counted_log
from sealgate.runtime.inside.acceptor import Acceptor
from sealgate.runtime.inside.answers import Hsts
from sealgate.runtime.inside.budget import Budget
from sealgate.runtime.inside.connection import Connection
from sealgate.runtime.inside.house import House
from sealgate.runtime.inside.journal import Journal
from sealgate.runtime.means import means_of

__all__ = ["Orders", "Worker", "main"]

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

_POLL = 0.02
_ENDING = 5.0
_LEAST_MESSAGE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told.

    Attributes:
        site: the settings, as rendered.
        state: the state directory, absolute.
        listeners: descriptors of the HTTPS sockets.
        channel: descriptor of its end of the channel.
        budget: descriptor of the shared count of connections.
        counts: descriptor of the memory in which is counted what is answered.
        revocations: descriptor of the revoked clients; -1: nobody is.
        issued: descriptor of the keys by which tokens count; -1: none.
        rates: descriptor of the budgets of callers; -1: nobody counts.
        place: its own in both.
        parent: pid of the supervisor.
    """

    site: str
    state: str
    listeners: tuple[int, ...]
    channel: int
    budget: int
    counts: int
    revocations: int
    issued: int
    rates: int
    place: int
    parent: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the process inherits."""
        own = (self.channel, self.budget, self.counts, self.revocations, self.issued, self.rates)
        return (*(number for number in own if number >= 0), *self.listeners)

    def to_json(self) -> str:
        """For standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Orders:
        """The reverse of `to_json`."""
        raw: dict[str, Any] = json.loads(text)
        return cls(**{**raw, "listeners": tuple(raw["listeners"])})


class Worker:
    """The process.

    Args:
        orders: its own.
        settings: of the site.
        app: the ASGI app.
        compiled: the guard's policy.
        context: TLS.
    """

    def __init__(
        self, orders: Orders, settings: Settings, app: AsgiApp, compiled: Compiled, context: LiveContext
    ) -> None:
        self._orders, self._settings, self._context = orders, settings, context
        clients = settings.tls.clients != "off"
        counts = Row(orders.counts, orders.place)
        revoked = Revoked(orders.revocations) if orders.revocations >= 0 else ()
        means = means_of(orders.issued, orders.rates, counts)
        told = source("inside", clients=clients, compiled=compiled, given=revoked)
        log = counted_log(counts.denied)
        self._guard = Guard(app, compiled, told, log, revoked=revoked, means=means, told=counts)
        hsts = Hsts(settings.hsts, settings.hsts_local)
        self._house = House(self._guard, settings, hsts, Journal(), counts, _suites(context))
        self._announced = _Announced(self._guard)
        self._state = ServerState()
        self._stopped = asyncio.Event()

    async def serve(self, channel: Channel) -> None:
        """From the app's startup to its shutdown.

        Raises:
            AppError: `app-startup-failed`.
        """
        config = self._config()
        config.load()
        lifespan = LifespanOn(config)
        await lifespan.startup()
        if lifespan.should_exit:
            raise AppError(
                "app-startup-failed",
                f"{self._settings.app} failed in its lifespan startup: {self._announced.message}",
                "mend its startup",
            )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        acceptor = self._acceptor(config, lifespan.state)
        self._tick()
        acceptor.open()
        channel.send({"event": "ready"})
        linger, seconds, last = await self._until_drained(channel)
        acceptor.close(last=last)
        with contextlib.suppress(OSError):
            channel.send({"event": "draining"})
        await self._drain(acceptor, linger, seconds)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(lifespan.shutdown(), _ENDING)
        self._house.journal.close()

    def _config(self) -> Config:
        settings = self._settings
        return Config(
            self._announced,
            http=Connection,
            ws="none",  # the upgrade is made by our own protocol
            ws_max_size=max(_LEAST_MESSAGE, settings.body),
            ws_ping_interval=settings.idle / 2,
            ws_ping_timeout=settings.idle / 2,
            interface="asgi3",
            lifespan="auto",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ssl_context_factory=lambda _config, _default: self._context,
        )

    def _acceptor(self, config: Config, state: dict[str, Any]) -> Acceptor:
        def connection(left: Callable[[], None]) -> Connection:
            return Connection(config, self._state, state, house=self._house, left=left)

        assert config.ssl is not None  # noqa: S101 - from the factory above
        orders, settings = self._orders, self._settings
        return Acceptor(
            [socket.socket(fileno=fd) for fd in orders.listeners],
            connection,
            context=config.ssl,
            handshake=settings.handshake,
            goodbye=settings.idle,
            budget=Budget(settings.connections, fd=orders.budget, place=orders.place),
            alone=settings.workers == 1,
        )

    def _tick(self) -> None:
        """The Date field, once a second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode("ascii"))]
        asyncio.get_running_loop().call_later(1, self._tick)

    async def _until_drained(self, channel: Channel) -> tuple[float, float, bool]:
        """Obey until told to end.

        Returns:
            Seconds for idle connections, seconds for exchanges, and whether nobody accepts after us.
        """
        stopped = asyncio.create_task(self._stopped.wait())
        while True:
            order = asyncio.create_task(channel.receive())
            await asyncio.wait((order, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stopped.done():
                order.cancel()
                return 0.0, self._settings.drain, True
            said = order.result()
            if said is None:  # the supervisor is gone
                self._stopped.set()
            elif said[0]["order"] == "refresh":
                await asyncio.to_thread(self._context.refresh)
                channel.send({"event": "refreshed"})
            elif said[0]["order"] == "drain":
                stopped.cancel()
                return said[0]["linger"], said[0]["seconds"], said[0]["last"]

    async def _drain(self, acceptor: Acceptor, linger: float, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        house, connections = self._house, self._state.connections
        house.draining = True
        self._judge_by_what_holds_now()
        for connection in tuple(connections):
            if isinstance(connection, Connection):
                connection.drain()
        await self._until(lambda: not connections and not acceptor.busy, began + min(linger, seconds))
        house.closing = True
        for connection in tuple(connections):
            if isinstance(connection, Connection):
                connection.retire()
        await self._until(lambda: not connections and not acceptor.busy, began + seconds)
        for rest in tuple(connections):
            rest.transport.abort() if isinstance(rest, Connection) else rest.shutdown()
        for task in tuple(self._state.tasks):
            task.cancel()
        await self._until(lambda: not self._state.tasks and not connections, loop.time() + _ENDING)

    def _judge_by_what_holds_now(self) -> None:
        with contextlib.suppress(SealgateError, OSError):
            self._guard.use(Compiled.from_json(Path(self._settings.guard).read_bytes()))

    @staticmethod
    async def _until(done: Callable[[], bool], end: float) -> None:
        loop = asyncio.get_running_loop()
        while not done() and loop.time() < end:  # noqa: ASYNC110 - once, at the end of a process
            await asyncio.sleep(_POLL)


class _Announced:
    """Remembers why an app's lifespan startup failed."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self.message = "no message"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def listening(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                self.message = message.get("message") or self.message
            await send(message)

        await self._app(scope, receive, listening)


def _suites(context: ssl.SSLContext) -> dict[str, int]:
    """OpenSSL's names of TLS suites to their numbers (the lower 16 bits of its own)."""
    prepared = getattr(context, "prepared", context)
    return {suite["name"]: suite["id"] & 0xFFFF for suite in prepared.get_ciphers()}


def _log() -> None:
    """What uvicorn says goes to standard error; standard output carries the access log alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(quiet)
    handler.setFormatter(logging.Formatter("sealgate: worker: %(message)s"))
    logger = logging.getLogger("uvicorn")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False


def _say(text: str) -> None:
    sys.stderr.write(f"sealgate: worker: {text}\n")
    sys.stderr.flush()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _absolute(tls: TlsSettings, state: Path) -> TlsSettings:
    """The working directory is the app's."""

    def absolute(path: str) -> str:
        return str(state / path) if path else ""

    return replace(
        tls,
        chain=absolute(tls.chain),
        key=absolute(tls.key),
        trust=absolute(tls.trust),
        lists=absolute(tls.lists),
        second_chain=absolute(tls.second_chain),
        second_key=absolute(tls.second_key),
    )


def _serve(orders: Orders, channel: Channel) -> None:
    limit_capabilities(ORDINARY if os.geteuid() == 0 else frozenset())
    die_with_parent(orders.parent)
    settings = Settings.from_json(orders.site)
    compiled = Compiled.from_json(Path(settings.guard).read_bytes())
    state = Path(orders.state)
    context = LiveContext(_absolute(settings.tls, state), say=_say)
    app, interface = load(settings.app, Path(settings.folder))
    if interface != "asgi":
        raise AppError("app-not-callable", f"{settings.app} is no ASGI app", "use another engine for it")
    _log()

    async def run() -> None:
        await Worker(orders, settings, app, compiled, context).serve(channel)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run())


def main() -> int:
    """Serve until told to end; then finish what is under way."""
    orders = Orders.from_json(sys.stdin.read())
    for descriptor in orders.descriptors:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature
    channel = Channel(socket.socket(fileno=orders.channel))
    try:
        _serve(orders, channel)
    except SealgateError as error:
        details = {key: str(value) for key, value in error.details.items()}
        said = {"code": error.code, "fact": error.fact, "remedy": error.remedy, "details": details}
        channel.send({"event": "failed", **said})
        return int(error.exit)
    return 0


if __name__ == "__main__":
    sys.exit(main())
