"""An HTTP/1.1 connection: uvicorn's protocol (llhttp) within the policy's bounds.

What is added to uvicorn's own:

* the ``tls`` extension of ASGI and a fresh request id in every scope; trailers never become fields;
* one clear request or 400: HTTP/1.1 only, one Host, no coding but ``chunked``, no name with "_", targets that
  begin with "/" (an absolute one's host counts), no upgrade but WebSocket; hop-by-hop fields end here;
* bounds on header and body, in bytes and in time, and on silence;
* own answers are problems with HSTS, and never come between the parts of somebody else's answer;
* while the process is to end, the last answer of a connection says so, and idle ones are left open for a
  moment: closing just when the next request is on its way would lose it (RFC 9112 §9.5).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sealgate.runtime.inside.answers import problem_bytes
from sealgate.runtime.inside.cycle import Cycle, Exchange, Wire
from sealgate.runtime.inside.deadlines import BODY, HEADER, NONE, Alarm, due
from sealgate.runtime.inside.ending import Ending
from sealgate.runtime.inside.fields import Refused, judge_fields, judge_target, judge_websocket
from sealgate.runtime.inside.house import House
from sealgate.runtime.inside.tls_scope import told_by_tls

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

__all__ = ["Connection"]

_SLICE = 16 * 1024
_FIELDS = 100


class Connection(HttpToolsProtocol):
    """One connection.

    Args:
        config, server_state, app_state: uvicorn's.
        house: what is shared.
        left: called once, when it is over.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        house: House,
        left: Callable[[], None],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.access_log = False
        self.app = house.app
        self.house = house
        self._most_header, self._most_body = house.settings.headers, house.settings.body
        self.tls: dict[str, Any] = {}
        self.peer = ""
        self._left: Callable[[], None] | None = left
        self._wire: Wire | None = None
        self._stage = NONE
        self._began = 0.0
        self.moved = 0.0
        self._sized = 0
        self._counted = 0
        self._received = 0
        self._running: Cycle | None = None
        self._trouble = ""
        self._held = b""
        self._over = False
        self._latest: Cycle | None = None
        self._ending: Ending | None = None
        self.noted = Exchange(0.0, "")
        self._upgrade: list[bytes] = []
        self._buffered = 0
        self._alarm = Alarm(self.loop, self._ring)

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's own
        """After the handshake."""
        super().connection_made(transport)
        self._wire = Wire(transport, self.loop, self.finish)
        self._ending = Ending(transport, self.loop, self._alarm, self.house.settings.idle)
        self.tls, self.peer = told_by_tls(
            transport.get_extra_info("ssl_object"),
            self.client,
            asked=self.house.settings.tls.clients != "off",
            suites=self.house.suites,
        )
        self.moved = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._alarm.cancel()
        running = self._running
        self.pipeline.clear()
        super().connection_lost(exc)
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
            self._log(running.exchange)
        self._leave()

    def _leave(self) -> None:
        if self._left is not None:
            left, self._left = self._left, None
            left()

    def finish(self) -> None:
        """Close once all that was written is on its way."""
        if self._ending is not None and self._wire is not None and not self.transport.is_closing():
            self._wire.flush()
            self._over = True
            self._ending.finish(self._sent)

    @property
    def _sent(self) -> int:
        return self._latest.exchange.sent if self._latest is not None else 0

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Parse it in slices: what one packet may start at once is bounded."""
        self.moved = self.loop.time()
        if self._over:
            return
        self._received += len(data)
        if self._held:
            self._held += data
            self.flow.pause_reading()
            return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._over:
            if self.pipeline or self._trouble:  # enough for now
                self._held = b"" if self._trouble else bytes(view)
                self.flow.pause_reading()
                break
            piece, view = view[:_SLICE], view[_SLICE:]
            rest = self._feed(piece)
            if rest:
                view = memoryview(bytes(rest) + bytes(view))
        self._watch()

    def _feed(self, piece: memoryview) -> bytes:
        """Parse; what an upgrade that is none left over."""
        stage = self._stage
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if self._trouble or self._over:
                pass
            elif self._wants_websocket():
                self.handle_websocket_upgrade()
            else:
                return bytes(piece[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._fail(self._trouble or "bad-request")
        else:
            if self._trouble:
                self._fail(self._trouble)
            elif stage == HEADER == self._stage:  # one long field is not seen before its end
                self._counted += len(piece)
                if self._counted > self._most_header:
                    self._fail("headers-too-large")
        return b""

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._stage = HEADER
        self._began = self.moved
        self._sized = self._counted = self._received = 0

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        super().on_url(url)
        self._sized += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; of a trailer nothing is taken."""
        self._sized += len(name) + len(value) + 4
        if self._sized > self._most_header:
            self._refuse("headers-too-large")
        if self._stage == HEADER:
            if len(self.headers) >= _FIELDS:
                self._refuse("headers-too-large")
            name, value = name.lower(), value.rstrip(b" \t")
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def _refuse(self, slug: str) -> None:
        """From within the parser: end its work. What is raised comes out of `feed_data`."""
        self._trouble = self._trouble or slug
        raise ValueError(slug)

    def on_headers_complete(self) -> None:
        """Begin the exchange, unless something is wrong with it."""
        if self.parser.get_http_version() != "1.1":
            self._refuse("http-version-unsupported")
        self.noted, self._upgrade = Exchange(self._began, self.peer), []
        try:
            self._judge()
        except Refused as refused:
            self._refuse(refused.slug)
        if self.parser.should_upgrade() and self._wants_websocket():
            return
        self._stage, self._sized = BODY, 0
        self._begin()

    def _judge(self) -> None:
        method = self.parser.get_method()
        self.url, host = judge_target(method, self.url)
        if host is not None:
            self.headers[:] = [pair for pair in self.headers if pair[0] != b"host"] + [(b"host", host)]
        kept, self._upgrade = judge_fields(self.headers, self._most_body, self.noted)
        self.scope["headers"] = self.headers = kept
        if not self.parser.should_upgrade() or self._is_h2c():
            return
        if not self._wants_websocket():
            raise Refused("upgrade-refused")
        judge_websocket(method, kept)
        if self._running is not None and not self._running.response_complete:
            raise Refused("bad-request")

    def _wants_websocket(self) -> bool:
        return self._upgrade == [b"websocket"]

    def _is_h2c(self) -> bool:
        """Not offered; a client that asks for it is content with HTTP/1.1 (RFC 9113 §3.1)."""
        return self._upgrade == [b"h2c"]

    def _begin(self) -> None:
        scope: Any = self.scope
        raw, _, query = self.url.partition(b"?")
        path = raw.decode("ascii")
        exchange = self.noted
        exchange.path = path
        exchange.method = scope["method"] = self.parser.get_method().decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw
        scope["query_string"] = query
        scope["extensions"] = {"tls": dict(self.tls)}
        assert self._wire is not None  # noqa: S101 - there since the handshake
        before = self._latest
        cycle = self.cycle = self._latest = Cycle(
            scope=scope,
            transport=self._wire,  # type: ignore[arg-type]  # all of a transport that it uses
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            # Whoever waits for a 100 and gets the answer may send the body or not: nothing comes after it.
            keep_alive=self.parser.should_keep_alive()
            and not (self.expect_100_continue or self.house.draining),
            on_response=self.on_response_complete,
        )
        cycle.meet(self.house.hsts, exchange, self._wire, self)
        if before is None or before.response_complete:
            self._run(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _run(self, cycle: Cycle) -> None:
        self._running = cycle
        self._start_asgi_task(cycle, self.app)

    def on_body(self, body: bytes) -> None:
        """Count it, whoever wants it."""
        if self._stage == BODY and self._latest is not None:
            exchange = self._latest.exchange
            exchange.received += len(body)
            if exchange.received > self._most_body:
                self._refuse("body-too-large")
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._stage = NONE
        if self.parser.should_upgrade() and not self._is_h2c():
            return
        if self._latest is not None:
            self._latest.whole = self.moved
        super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return self._wants_websocket()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over."""
        from sealgate.runtime.inside.websocket import upgraded

        self._alarm.cancel()
        self._over = True
        self.noted.method, self.noted.path = "GET", self.url.partition(b"?")[0].decode("latin-1")
        self.connections.discard(self)
        left, self._left = self._left, None
        upgraded(self, left or _nothing)

    # What goes out

    def on_response_complete(self) -> None:
        """One answer is out: the next of the pipeline, what is wrong with the request after it, or quiet."""
        self.server_state.total_requests += 1
        if self._running is not None:
            self._log(self._running.exchange)
        if self.transport.is_closing() or self._over:
            return
        self.moved = self.loop.time()
        if self.pipeline:
            cycle, _ = self.pipeline.pop()
            self._took_its_turn(cycle)  # type: ignore[arg-type]  # all in there are ours
            self._run(cycle)  # type: ignore[arg-type]  # as above
        elif self._trouble:
            self._answer(self._trouble)
        else:
            self.flow.resume_reading()
            if self._held:
                held, self._held = self._held, b""
                self.loop.call_soon(self._parse, held)
            self.retire()
        self._watch()

    def _took_its_turn(self, cycle: Cycle) -> None:
        """It waited for the answers before it: that is not the app's time, and nothing was read then."""
        if cycle.whole:
            cycle.whole = self.moved
        if not self.pipeline and self._stage != NONE:
            self._began = self.moved

    def _fail(self, slug: str) -> None:
        """Something is wrong with what came: say so, when it is its turn."""
        self._trouble = slug
        self.flow.pause_reading()
        running = self._running
        # An error in the body of the running request is about that one.
        own = self._stage == BODY and running is not None and running is self._latest
        if self._stage == BODY and self.pipeline:
            self.pipeline.popleft()  # it never gets whole
        if running is not None and not running.response_complete and not own:
            return
        self._answer(slug)

    def _answer(self, slug: str) -> None:
        """Our own answer, the last of this connection."""
        if self._over or self.transport.is_closing():
            return
        assert self._ending is not None  # noqa: S101 - there since the handshake
        self._over = True
        running = self._running if self._running and not self._running.response_complete else None
        if running is not None:
            if running.response_started:  # too late to say anything
                self.transport.abort()
                return
            running.disconnected = True
            running.message_event.set()
        elif self._running is not None and self._stage == BODY and self._running is self._latest:
            self.finish()  # it has its answer; the rest of its body is of no use
            return
        exchange = running.exchange if running else self._told()
        host, method, request_id = exchange.host, exchange.method, exchange.request_id
        self.house.counts.denied(slug)
        data = problem_bytes(slug, self.house.hsts, host=host, method=method, request_id=request_id)
        exchange.status, exchange.sent = int(data[9:12]), len(data)
        self._log(exchange)
        self._running = None
        self.transport.write(data)
        if slug in {"body-too-large", "headers-too-large"} and self._stage != NONE:
            self.flow.resume_reading()
            self._ending.linger()
        else:
            self.finish()

    def _told(self) -> Exchange:
        """What is known of a request that was none."""
        told = Exchange(self._began, self.peer)
        if self._stage != NONE:
            fields = dict(reversed(self.headers))
            told.method = self.parser.get_method().decode("latin-1") if self.url else ""
            told.path = self.url.partition(b"?")[0].decode("latin-1")
            told.host = fields.get(b"host", b"").decode("latin-1")
            told.agent = fields.get(b"user-agent", b"").decode("latin-1")
        return told

    def _log(self, exchange: Exchange) -> None:
        if not exchange.logged:
            exchange.logged = True
            now = self.loop.time()
            self.house.journal.add(exchange.line(time.time(), now).encode() + b"\n")
            self.house.counts.answered(exchange.status, int((now - exchange.began) * 1e9))

    # Time

    @property
    def _quiet(self) -> bool:
        """Nothing under way."""
        return self._stage == NONE and (self._running is None or self._running.response_complete)

    def _due(self) -> tuple[float, str]:
        stage = NONE if self.pipeline else self._stage  # nothing is read while a request waits for its turn
        return due(stage, self._running, self.house.settings, began=self._began, moved=self.moved)

    def _watch(self) -> None:
        if not self._over and not self.transport.is_closing():
            self._alarm.at(self._due()[0])

    def _ring(self) -> None:
        if self.transport.is_closing():
            return
        now, size = self.loop.time(), self.transport.get_write_buffer_size()
        if size != self._buffered:  # the peer takes what we have for it
            self._buffered, self.moved = size, now
        assert self._ending is not None  # noqa: S101 - there since the handshake
        if self._ending.begun:
            self._ending.ring(now, size, self.moved, self._sent)
            return
        end, slug = self._due()
        if now < end:
            self._alarm.at(end)
        elif slug:
            self._answer(slug)
        elif size:
            self.transport.abort()
        else:
            self._ending.close(self._sent)

    # The end of the process

    def drain(self) -> None:
        """End after the answer that is under way, if it does not tell the client otherwise already."""
        latest = self._latest
        if latest is not None and not latest.response_complete and not latest.response_started:
            latest.keep_alive = False

    def retire(self) -> None:
        """End now, if the moment for idle ones is over."""
        if self.house.closing and self._quiet and not self._held:
            self.finish()


def _nothing() -> None:
    """Was called already."""
