"""Load over HTTP/1.1 and HTTP/2 in which every failure is counted.

A failure is a connection that is reset or refused, an answer other than 200, an answer cut short, a request
without an answer. A client that is told to go (`Connection: close`, GOAWAY) connects again, as HTTP demands.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events

from sealgate.engines.promises import LOSSLESS
from sealgate.engines.registry import engine as chosen
from sealgate.policy.model import Policy
from tests.live.served import Served

_PATIENCE = 20.0
# mod_http2's own number (nghttp2's -902), for a stream that began after its first GOAWAY: not processed, and
# outside of what `last_stream_id` promises. Requests that were promised an answer still have to get one.
_APACHES_GOODBYE = 2**32 - 902

_NOTICE = 2**31 - 1  # as the last stream: another GOAWAY with the right number is to follow (RFC 9113 §6.8)


@dataclass(frozen=True)
class Cut:
    """An HTTP/2 connection that ended while answers were due.

    Attributes:
        how: the end of it: "closed", or the error (a reset, where the peer had not read all that was sent).
        told: the number of the last stream that counts, as the last GOAWAY said it; -1 without any.
        due: numbers of the streams without an answer that they must get: of those above `told`, none.
    """

    how: str
    told: int
    due: tuple[int, ...]

    def __str__(self) -> str:
        said = {-1: "without GOAWAY", _NOTICE: "after the notice of a GOAWAY"}
        after = said.get(self.told, f"after GOAWAY up to {self.told}")
        return f"h2: {self.how}, {after}, {len(self.due)} requests open {self.due}"


class _Reader(asyncio.StreamReader):
    """What came before a reset is read: answers and a GOAWAY may be among it. `reset` is known at the end."""

    reset: Exception | None = None

    def set_exception(self, exc: Exception) -> None:
        self.reset = exc
        self.feed_eof()


@dataclass
class Tally:
    """What came back: `(when it was sent, seconds it took)` for each 200, a sentence for each failure.

    `cuts` are among the failures too: one for a connection, whatever it took along.
    """

    served: Served
    path: str = "/"
    until: float = float("inf")
    answers: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    connections: int = 0

    def stopped(self) -> bool:
        return time.monotonic() >= self.until

    def cut(self, cut: Cut) -> None:
        self.cuts.append(cut)
        self.failures.append(str(cut))

    def p99(self, begin: float, end: float) -> float:
        """Milliseconds, of the requests sent in between."""
        taken = sorted(seconds for sent, seconds in self.answers if begin <= sent < end)
        return taken[int(len(taken) * 0.99)] * 1000 if taken else float("nan")

    def context(self) -> ssl.SSLContext:
        """Whom the clients trust."""
        return self.served.context()

    async def connect(self, alpn: str) -> tuple[_Reader, asyncio.StreamWriter]:
        context = self.context()
        context.set_alpn_protocols([alpn])
        self.connections += 1
        loop = asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol,
            *(self.served.host, self.served.https),
            ssl=context,
            server_hostname=self.served.host,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def nothing_was_lost(tally: Tally, engine: str, changes: int) -> None:
    """mod_http2 now and then ends a connection of an old generation while answers are due on it, without a
    GOAWAY or after one that promised them. No directive keeps it from that (docs/design/apache.md). Not more
    than one connection for every other change; and of engines that promise to lose nothing, none.
    """
    lossless = LOSSLESS in chosen(engine).capabilities(Policy())
    cuts = [] if lossless else [str(cut) for cut in tally.cuts]
    assert [failure for failure in tally.failures if failure not in cuts] == []
    assert len(cuts) <= (changes + 1) // 2, cuts


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close it, and see it closed: the loop may end right after."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), 2)
    except (OSError, TimeoutError):  # what was wrong with it was counted already
        writer.transport.abort()


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
            await closed(writer)


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


class _Connection(h2.connection.H2Connection):
    """Takes in what is still answered after GOAWAY (RFC 9113 §6.8); the library calls that an error."""

    def _receive_goaway_frame(self, frame: Any) -> Any:
        told = h2.events.ConnectionTerminated()
        told.error_code, told.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [told]


class _H2Client:
    """One connection with several streams at a time."""

    def __init__(self, tally: Tally, streams: int) -> None:
        self._tally = tally
        self._streams = streams
        self._open: dict[
            int, tuple[float, str, int, int]
        ] = {}  # sent at, status, length promised, length come
        self._going = False
        self._told = -1

    async def run(self) -> None:
        tally = self._tally
        while not tally.stopped():
            self._open, self._going, self._told = {}, False, -1
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
                await closed(writer)

    async def _talk(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        tally = self._tally
        connection = _Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        while True:
            while len(self._open) < self._streams and not self._going and not tally.stopped():
                self._send(connection)
            if not self._going:  # the windows are wide enough for what is left, and nobody may read any more
                writer.write(connection.data_to_send())
                with contextlib.suppress(ConnectionError):  # seen below, after what came before it
                    await writer.drain()
            if not self._open and (self._going or tally.stopped()):
                return
            data = await asyncio.wait_for(reader.read(65536), _PATIENCE)
            if not data:
                if self._open or (reader.reset and not self._going):
                    how = repr(reader.reset) if reader.reset else "closed"
                    tally.cut(Cut(how, self._told, tuple(self._open)))
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
                if event.error_code not in {0, _APACHES_GOODBYE}:
                    self._tally.failures.append(f"h2: GOAWAY with error {event.error_code}")
                # Not processed, so to be sent again on another connection: no failure (RFC 9113 §6.8).
                self._told = event.last_stream_id or 0
                self._open = {stream: facts for stream, facts in self._open.items() if stream <= self._told}

    def _ended(self, stream: int) -> None:
        sent, status, promised, come = self._open.pop(stream)
        if status != "200" or (promised >= 0 and promised != come):
            self._tally.failures.append(f"h2: status {status}, {come} of {promised} bytes")
        else:
            self._tally.answers.append((sent, time.monotonic() - sent))


def h2_client(tally: Tally, streams: int = 4) -> asyncio.Future[None]:
    """A client with so many requests at a time on one connection."""
    return asyncio.ensure_future(_H2Client(tally, streams).run())
