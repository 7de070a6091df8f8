"""One exchange on an HTTP/1.1 connection: uvicorn's, with the policy's fields and the log's numbers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from sealgate.policy.problems import CONTENT_TYPE, problem
from sealgate.runtime.inside.answers import Hsts

__all__ = ["Cycle", "Exchange", "Fields", "Moving", "Wire", "answered_fields", "peer_text", "problem_message"]

Message = dict[str, Any]
Fields = list[tuple[bytes, bytes]]

# What an app must not say: the server's business, or a banner.
_OURS = frozenset(
    (b"strict-transport-security", b"server", b"x-powered-by", b"date", b"transfer-encoding", b"keep-alive")
) | {b"proxy-connection", b"upgrade", b"trailer"}
_PIECE = 64 * 1024


class Moving(Protocol):
    """Something in which things move.

    Attributes:
        moved: when something last did, by the loop's clock.
    """

    moved: float


class Wire:
    """All of a transport that an exchange uses.

    Closing waits for what was written. A header waits for the first piece of its body, if that comes at once:
    one TLS record and one packet for both.
    """

    __slots__ = ("_first", "_write", "close", "corked", "is_closing", "loop")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, finish: Callable[[], None]
    ) -> None:
        self.is_closing, self.close, self._write = transport.is_closing, finish, transport.write
        self.loop = loop
        self.corked = False
        self._first = b""

    def write(self, data: bytes) -> None:
        """To the peer; after `corked` was set the first write waits for the second, or a turn."""
        if self.corked:
            self.corked, self._first = False, data
            self.loop.call_soon(self.flush)
        elif self._first:
            first, self._first = self._first, b""
            self._write(first + data)
        else:
            self._write(data)

    def flush(self) -> None:
        """What waits goes out."""
        if self._first:
            first, self._first = self._first, b""
            self._write(first)


class Exchange:
    """What the access log says of it, as far as it is known.

    Args:
        began: seconds of the loop's clock.
        peer: what is the same for all of a connection (:func:`peer_text`).
    """

    __slots__ = (
        *("agent", "began", "host", "logged", "method", "path", "peer"),
        *("received", "request_id", "sent", "status"),
    )

    def __init__(self, began: float, peer: str) -> None:
        self.began, self.peer = began, peer
        self.method = self.host = self.path = self.agent = self.request_id = ""
        self.status = self.received = self.sent = 0
        self.logged = False

    def line(self, wall: float, now: float) -> str:
        """One line of the log, JSON in ASCII; the time by the calendar and by the loop."""
        began = wall - (now - self.began)
        text = f'{{"time": "{_second(int(began))}.{int(began % 1 * 1000):03d}Z"{self.peer}'
        if self.method:
            text += f', "method": {_quoted(self.method[:64])}'
        if self.host:
            text += f', "host": {_quoted(self.host[:300])}'
        if self.path:
            text += f', "path": {_quoted(self.path[:512])}'
        if self.request_id:
            text += f', "request_id": {_quoted(self.request_id)}'
        if self.agent:
            text += f', "user_agent": {_quoted(self.agent[:256])}'
        return (
            f'{text}, "protocol": "HTTP/1.1", "status": {self.status}'
            f', "milliseconds": {round((now - self.began) * 1000)}'
            f', "received": {self.received}, "sent": {self.sent}}}'
        )


@lru_cache(maxsize=8)
def _second(number: int) -> str:
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def peer_text(address: str, tls: str, cipher: str, certificate: bytes) -> str:
    """A connection's part of each line: who, and how it is protected.

    Args:
        address: of the client.
        tls: version.
        cipher: suite, as OpenSSL calls it.
        certificate: the client's, DER; empty: none.
    """
    client = hashlib.sha256(certificate).hexdigest() if certificate else ""
    known = {"address": address, "tls": tls, "cipher": cipher, "client": client}
    return "".join(f', "{name}": {_quoted(value)}' for name, value in known.items() if value)


def answered_fields(fields: Fields, hsts: bytes) -> tuple[Fields, bool]:
    """An app's response fields as they go out, and whether it wants the connection to end."""
    kept: Fields = []
    close = False
    for name, value in fields:
        lower = name.lower()
        if lower == b"connection":
            close = close or b"close" in value.lower()
        elif lower not in _OURS:
            kept.append((name, value))
    kept.append((b"strict-transport-security", hsts))
    return kept, close


def problem_message(slug: str) -> tuple[int, Fields, bytes]:
    """A problem as the parts of an ASGI answer."""
    said = problem(slug)
    body = said.as_json()
    fields = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    return said.status, fields, body


class Cycle(RequestResponseCycle):
    """uvicorn's exchange, which also

    * puts HSTS on every answer, and takes banners and hop-by-hop fields off;
    * answers with a problem where the app fails;
    * counts, and says when something moves.
    """

    exchange: Exchange
    whole: float

    def meet(self, hsts: Hsts, exchange: Exchange, wire: Wire, moving: Moving) -> None:
        """What uvicorn's constructor does not take."""
        self.exchange = exchange
        self.whole = 0.0  # when the last byte of the request came
        self._hsts, self._wire, self._moving = hsts, wire, moving
        self._loop = wire.loop

    async def send(self, message: Any) -> None:  # noqa: ANN401 - uvicorn's types are private
        """From the app."""
        self._moving.moved = self._loop.time()
        if self.response_started:
            body = message.get("body", b"")
            self.exchange.sent += len(body)
            if len(body) > _PIECE:
                message = {**message, "body": await self._all_but_the_last(memoryview(body))}
            await super().send(message)
            return
        if message["type"] == "http.response.start":
            value = self._hsts.value(self.exchange.host).encode("ascii")
            fields, close = answered_fields(message.get("headers", ()), value)
            message = {**message, "headers": fields}
            self.keep_alive = self.keep_alive and not close
            self._wire.corked = True
        try:
            await super().send(message)
        except Exception:
            self._wire.corked = False
            self.response_started = False  # nothing of it went out
            self.chunked_encoding = None
            self.expected_content_length = 0
            raise
        self.exchange.status = message["status"]

    async def _all_but_the_last(self, body: memoryview) -> memoryview:
        """Send a large body in pieces, with a turn of the loop in between; the last one is returned.

        Only then the layers below TLS can say that they are full: else they would take all of it, and nobody
        could see how much is still on its way.
        """
        while len(body) > _PIECE:
            piece, body = body[:_PIECE], body[_PIECE:]
            part: Any = {"type": "http.response.body", "body": piece, "more_body": True}
            await super().send(part)
            self._moving.moved = self._loop.time()
            await asyncio.sleep(0)
        return body

    async def send_500_response(self) -> None:
        """The app failed before it answered."""
        status, fields, body = problem_message("internal-error")
        await self.send({"type": "http.response.start", "status": status, "headers": fields})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
