"""A WebSocket: uvicorn's protocol on the websockets library, with what the policy adds.

The handshake was judged before (``connection.py``). Here: the same scope as a request has, HSTS on every
answer to a handshake, a bound on the time until the app accepts, pings (half of ``timeouts.idle``: who does
not answer one is gone), and one line of the access log when it is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sealgate.runtime.inside.answers import problem_bytes
from sealgate.runtime.inside.cycle import Exchange, answered_fields

if TYPE_CHECKING:
    from websockets.http11 import Request

    from sealgate.runtime.inside.connection import Connection

__all__ = ["Socket", "upgraded"]

_HOPS = frozenset((b"connection", b"upgrade"))


def upgraded(connection: Connection, left: Callable[[], None]) -> None:
    """Go on as a WebSocket on the same transport."""
    lines = [connection.parser.get_method() + b" " + connection.url + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in connection.headers]
    lines += [b"connection: upgrade", b"upgrade: websocket", b"", b""]
    protocol = Socket(connection, left)
    protocol.connection_made(connection.transport)
    protocol.data_received(b"\r\n".join(lines))
    connection.transport.set_protocol(protocol)


class Socket(WebSocketsSansIOProtocol):
    """One WebSocket.

    Args:
        connection: what it was before.
        left: called once, when it is over.
    """

    def __init__(self, connection: Connection, left: Callable[[], None]) -> None:
        super().__init__(connection.config, connection.server_state, connection.app_state)
        self.app = connection.app
        self._house, self._left = connection.house, left
        self._tls, self._noted = connection.tls, connection.noted
        self._exchange: Exchange | None = None
        self._waiting: asyncio.TimerHandle | None = None

    def handle_connect(self, event: Request) -> None:
        """The handshake's request."""
        super().handle_connect(event)
        scope: Any = self.scope
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in _HOPS]
        scope["extensions"]["tls"] = dict(self._tls)
        self._exchange = self._noted
        self._waiting = self.loop.call_later(self._house.settings.request, self._too_late)

    def _too_late(self) -> None:
        if not self.handshake_complete and self.initial_response is None:
            self._own_answer("app-timeout")

    def _own_answer(self, slug: str) -> None:
        """Instead of the app's; the app hears that the client is gone."""
        assert self._exchange is not None  # noqa: S101 - after the handshake's request
        host, request_id = self._exchange.host, self._exchange.request_id
        data = problem_bytes(slug, self._house.hsts, host=host, method="GET", request_id=request_id)
        self._exchange.status = int(data[9:12])
        self.handshake_complete = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.transport.write(data)
        self.transport.close()

    def send_500_response(self) -> None:
        """The app failed before it accepted."""
        if not self.handshake_complete and self.initial_response is None:
            self._own_answer("internal-error")

    async def send(self, message: Any) -> None:  # noqa: ANN401 - uvicorn's types are private
        """From the app."""
        exchange = self._exchange
        assert exchange is not None  # noqa: S101 - after the handshake's request
        if not self.handshake_complete and self.initial_response is None:
            if message["type"] == "websocket.close":  # ASGI: 403
                await self.send({"type": "websocket.http.response.start", "status": 403, "headers": []})
                message = {"type": "websocket.http.response.body", "body": b""}
            elif message["type"] in {"websocket.accept", "websocket.http.response.start"}:
                hsts = self._house.hsts.value(exchange.host).encode("ascii")
                fields, _ = answered_fields(message.get("headers", ()), hsts)
                exchange.status = message.get("status", 101)
                if exchange.status != 101:
                    fields += [(b"date", formatdate(usegmt=True).encode()), (b"connection", b"close")]
                message = {**message, "headers": fields}
        else:
            exchange.sent += len(message.get("bytes") or message.get("text") or message.get("body") or "")
        await super().send(message)

    def data_received(self, data: bytes) -> None:
        """Count it."""
        if self._exchange is not None:
            self._exchange.received += len(data)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)
        if self._exchange is not None and not self._exchange.logged:
            self._exchange.logged = True
            line = self._exchange.line(time.time(), self.loop.time())
            self._house.journal.add(line.encode() + b"\n")
            self._house.counts.upgraded(self._exchange.status)
        self._left()
