"""Load over HTTP/1.1 and HTTP/2 in which every failure is counted.

A failure is a connection that is reset or refused, an answer other than 200, an answer cut short, a request
without an answer. A client that is told to go (`Connection: close`, GOAWAY) connects again, as HTTP demands.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events

from tests.live.served import Served

_PATIENCE = 20.0


@dataclass
class Tally:
    """What came back: `(when it was sent, seconds it took)` for each 200, a sentence for each failure."""

    served: Served
    path: str = "/"
    until: float = float("inf")
    answers: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    connections: int = 0

    def stopped(self) -> bool:
        return time.monotonic() >= self.until

    def p99(self, begin: float, end: float) -> float:
        """Milliseconds, of the requests sent in between."""
        taken = sorted(seconds for sent, seconds in self.answers if begin <= sent < end)
        return taken[int(len(taken) * 0.99)] * 1000 if taken else float("nan")

    async def connect(self, alpn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context: ssl.SSLContext = self.served.context()
        context.set_alpn_protocols([alpn])
        self.connections += 1
        return await asyncio.open_connection(
            self.served.host, self.served.https, ssl=context, server_hostname=self.served.host
        )


async def h1_client(tally: Tally) -> None:
    """One keep-alive connection after another, one request after another."""
    while not tally.stopped():
        try:
            reader, writer = await asyncio.wait_for(tally.connect("http/1.1"), _PATIENCE)
        except OSError as error:
            tally.failures.append(f"h1 connect: {error!r}")
            await asyncio.sleep(0.05)
            continue
        try:
            while not tally.stopped() and await asyncio.wait_for(
                _h1_request(tally, reader, writer), _PATIENCE
            ):
                pass
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            tally.failures.append(f"h1: {error!r}")
        finally:
            writer.close()


async def _h1_request(tally: Tally, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """True: the connection may be used again."""
    began = time.monotonic()
    writer.write(f"GET {tally.path} HTTP/1.1\r\nHost: {tally.served.host}\r\n\r\n".encode())
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].partition("\r")[0])
    await reader.readexactly(length)
    if not head.startswith("http/1.1 200 "):
        tally.failures.append(f"h1: {head.partition(chr(13))[0]}")
    else:
        tally.answers.append((began, time.monotonic() - began))
    return "connection: close" not in head


class _H2Client:
    """One connection with several streams at a time."""

    def __init__(self, tally: Tally, streams: int) -> None:
        self._tally = tally
        self._streams = streams
        self._open: dict[
            int, tuple[float, str, int, int]
        ] = {}  # sent at, status, length promised, length come
        self._going = False

    async def run(self) -> None:
        tally = self._tally
        while not tally.stopped():
            self._open, self._going = {}, False
            try:
                reader, writer = await asyncio.wait_for(tally.connect("h2"), _PATIENCE)
            except OSError as error:
                tally.failures.append(f"h2 connect: {error!r}")
                await asyncio.sleep(0.05)
                continue
            try:
                await self._talk(reader, writer)
            except (OSError, TimeoutError) as error:
                tally.failures += [f"h2: {error!r}"] * max(1, len(self._open))
            finally:
                writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tally = self._tally
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        while True:
            while len(self._open) < self._streams and not self._going and not tally.stopped():
                self._send(connection)
            writer.write(connection.data_to_send())
            await writer.drain()
            if not self._open and (self._going or tally.stopped()):
                return
            data = await asyncio.wait_for(reader.read(65536), _PATIENCE)
            if not data:
                if self._open:
                    tally.failures += [f"h2: closed with {len(self._open)} requests open"] * len(self._open)
                return
            for event in connection.receive_data(data):
                self._take(connection, event)

    def _send(self, connection: h2.connection.H2Connection) -> None:
        stream = connection.get_next_available_stream_id()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", self._tally.served.host)]
        connection.send_headers(stream, [*fields, (":path", self._tally.path)], end_stream=True)
        self._open[stream] = (time.monotonic(), "", -1, 0)

    def _take(self, connection: h2.connection.H2Connection, event: object) -> None:
        match event:
            case h2.events.ResponseReceived(stream_id=int(stream), headers=headers):
                fields = {str(name): str(value) for name, value in headers or ()}
                sent, _, _, come = self._open[stream]
                self._open[stream] = (sent, fields[":status"], int(fields.get("content-length", -1)), come)
            case h2.events.DataReceived(stream_id=int(stream)):
                sent, status, promised, come = self._open[stream]
                self._open[stream] = (sent, status, promised, come + len(event.data or b""))
                connection.acknowledge_received_data(event.flow_controlled_length or 0, stream)
            case h2.events.StreamEnded(stream_id=int(stream)):
                self._ended(stream)
            case h2.events.StreamReset(stream_id=int(stream)):
                self._open.pop(stream, None)
                if event.error_code != h2.errors.ErrorCodes.REFUSED_STREAM or not self._going:
                    self._tally.failures.append(f"h2: stream reset ({event.error_code})")
            case h2.events.ConnectionTerminated():
                self._going = True
                if event.error_code:
                    self._tally.failures.append(f"h2: GOAWAY with error {event.error_code}")
                # Not processed, so to be sent again on another connection: no failure (RFC 9113 §6.8).
                last = event.last_stream_id or 0
                self._open = {stream: facts for stream, facts in self._open.items() if stream <= last}

    def _ended(self, stream: int) -> None:
        sent, status, promised, come = self._open.pop(stream)
        if status != "200" or (promised >= 0 and promised != come):
            self._tally.failures.append(f"h2: status {status}, {come} of {promised} bytes")
        else:
            self._tally.answers.append((sent, time.monotonic() - sent))


def h2_client(tally: Tally, streams: int = 4) -> asyncio.Future[None]:
    """A client with so many requests at a time on one connection."""
    return asyncio.ensure_future(_H2Client(tally, streams).run())
