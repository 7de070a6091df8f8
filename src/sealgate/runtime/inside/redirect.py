"""Plain HTTP beside Gunicorn and uvicorn: redirects, refusals, ACME challenges, the list of the revoked.

Started as ``python -P -m sealgate.runtime.inside.redirect``; its orders are JSON on standard input
(``engines/redirect.py``, which also says how to start it). It keeps no state, reads no body, knows no key.
Answers to challenges, and the list, are files that it opens when asked: so all processes of a site give the
same ones.

Theory: one request, one answer, one connection. A header is read to its empty line within bounds of size and
time, judged by a pure function (``plain.py``), answered, and the connection half closed. What the client
still sends (a body) is thrown away for a moment: closing over unread bytes would reset the connection, and
the answer with it. Whoever has the answer goes on over HTTPS, so nothing is lost by not keeping connections.
A list is sent in pieces (``sending.py``); a reader who takes none of them for a while is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from sealgate._system.clock import system_clock
from sealgate._system.process import die_with_parent, limit_capabilities
from sealgate.engines.published import FILE
from sealgate.engines.redirect import Redirect
from sealgate.guard.compiled import Compiled
from sealgate.runtime.inside.budget import Budget
from sealgate.runtime.inside.head import Head
from sealgate.runtime.inside.journal import Journal
from sealgate.runtime.inside.plain import (
    Answer,
    Challenge,
    Published,
    judge,
    no_challenge,
    nothing_published,
    refused,
    site_of,
)
from sealgate.runtime.inside.sending import Sending, opened

__all__ = ["Plain", "kept_in", "main", "published_in"]

_AFTERWARDS = 2.0
_MOST_AFTERWARDS = 256 * 1024
_LONGEST_ANSWER = 4096  # a token, a dot and a thumbprint are less than 200


def kept_in(folder: str) -> Challenge:
    """Answers that are files in a folder, named by their tokens, as they are at the moment; empty: none."""

    def answer(token: str) -> bytes | None:
        try:
            opened = os.open(Path(folder, token), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            regular = stat.S_ISREG(os.fstat(opened).st_mode)
            content = os.read(opened, _LONGEST_ANSWER + 1) if regular else b""
        finally:
            os.close(opened)
        return content if 0 < len(content) <= _LONGEST_ANSWER else None

    return answer if folder else no_challenge


def published_in(state: str) -> Published:
    """The list of revoked clients that is in force in a state directory; empty: there is none."""
    return (lambda: opened(f"{state}/{FILE}")) if state else nothing_published


class Plain(asyncio.Protocol):
    """One connection.

    Args:
        orders: what to answer.
        site: its names.
        budget: where it is counted.
        journal: the access log.
        challenge: asked about http-01 challenges.
        active: all open ones, this among them.
        published: asked for the list of revoked clients.
    """

    def __init__(
        self,
        orders: Redirect,
        site: Compiled,
        budget: Budget,
        journal: Journal,
        active: set[Plain],
        challenge: Challenge = no_challenge,
        published: Published = nothing_published,
    ) -> None:
        self._orders, self._site, self._challenge, self._published = orders, site, challenge, published
        self._budget, self._journal, self._active = budget, journal, active
        self._transport: asyncio.Transport | None = None
        self._head, self._seen = bytearray(), Head()
        self._after = 0
        self._answered = False
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._sending: Sending | None = None
        self._said: Answer | None = None
        self._sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, or end it at once: the house is full."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a TCP connection's
        if not self._budget.take():
            transport.abort()
            return
        self._active.add(self)
        self._transport = transport
        self._wait(self._orders.idle_seconds, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place back."""
        del exc
        self._ended()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport = None
            self._budget.give()
            self._active.discard(self)

    def data_received(self, data: bytes) -> None:
        """Collect the header; after the answer count what is thrown away."""
        if self._transport is None:
            return
        if self._answered:
            self._after += len(data)
            if self._after > _MOST_AFTERWARDS:
                self._transport.abort()
            return
        if not self._began:
            self._began = time.monotonic()
            self._wait(self._orders.header_seconds, lambda: self._say(refused("request-timeout")))
        self._head += data
        self._look()

    def _look(self) -> None:
        data, seen = self._head, self._seen
        seen.look(data)
        first = data[seen.start : seen.start + 1]
        if seen.size(data) > self._orders.header_bytes:
            self._say(refused("headers-too-large"))
        elif seen.bare or (first.strip() and not first.isalpha()) or seen.line == seen.start:
            self._say(refused("bad-request"))
        elif seen.end >= 0:
            whole = bytes(data[seen.start : seen.end])
            asked = (self._challenge, self._published)
            self._say(judge(whole, self._orders, self._site, *asked, admitted=self._admitted()))

    def _admitted(self) -> bool:
        """May this address be redirected? One that is not known may not."""
        admitted = self._orders.admitted
        if admitted is None or self._transport is None:
            return admitted is None
        peer = self._transport.get_extra_info("peername") or ("",)
        return admitted.admits(str(peer[0]))

    def eof_received(self) -> bool:
        """The client sends no more: half a header gets no answer."""
        return False

    def stop(self) -> None:
        """No more requests: what has not begun is ended."""
        if self._transport is not None and not self._began:
            self._transport.close()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _say(self, said: Answer) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            if said.file is not None:
                os.close(said.file.descriptor)
            return
        data = said.to_bytes(formatdate(usegmt=True))
        self._answered, self._said, self._sent = True, said, len(data)
        if said.file is not None and said.method == "HEAD":
            os.close(said.file.descriptor)
        elif said.file is not None:
            self._sending = Sending(said.file, transport, self._moved)
        transport.write(data)
        if self._sending is None:
            self._finish()
        else:
            self._moved(0, began=True)
            self._sending.begin()

    def _moved(self, count: int, *, began: bool = False) -> None:
        """A piece of a list was handed over; nothing more: all of it has left."""
        self._sent += count
        if not (count or began):
            self._finish()
        elif self._transport is not None:
            self._wait(self._orders.idle_seconds, self._transport.abort)

    def _finish(self) -> None:
        """The answer is complete."""
        transport = self._transport
        self._ended()
        if transport is not None and not transport.is_closing():
            with contextlib.suppress(OSError):
                transport.write_eof()
            self._wait(_AFTERWARDS, transport.abort)

    def _ended(self) -> None:
        """Of an answer, complete or not, there is no more: say so once."""
        if self._sending is not None:
            self._sending.close()
        said, self._said = self._said, None
        if said is not None and self._transport is not None:
            self._log(said, self._transport, self._sent)
            self._head = bytearray()

    def pause_writing(self) -> None:
        """The client takes it more slowly than we give it."""
        if self._sending is not None:
            self._sending.pause()

    def resume_writing(self) -> None:
        """It took all."""
        if self._sending is not None:
            self._sending.resume()

    def _log(self, said: Answer, transport: asyncio.Transport, sent: int) -> None:
        peer = transport.get_extra_info("peername") or ("",)
        self._journal.write(
            {
                "time": system_clock().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "address": peer[0],
                "method": said.method,
                "host": said.host,
                "path": said.path,
                "protocol": said.protocol,
                "status": said.status,
                "milliseconds": round((time.monotonic() - self._began) * 1000),
                "received": len(self._head),
                "sent": sent,
                "user_agent": said.user_agent,
                **({"exposed_key": said.exposed_key} if said.exposed_key else {}),
            }
        )


async def _serve(orders: Redirect, journal: Journal) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    active: set[Plain] = set()
    site, challenge = site_of(orders), kept_in(orders.answers)
    published = published_in(orders.state)
    budget = Budget(orders.connections, fd=orders.budget, place=orders.place)
    servers = [
        await loop.create_server(
            lambda: Plain(orders, site, budget, journal, active, challenge, published),
            sock=socket.socket(fileno=fd),
            backlog=1024,
        )
        for fd in orders.listeners
    ]
    await stopped.wait()
    for server in servers:
        server.close()
    for connection in tuple(active):
        connection.stop()
    end = loop.time() + orders.drain_seconds
    while active and loop.time() < end:  # noqa: ASYNC110 - once, at the end
        await asyncio.sleep(0.02)


def main() -> int:
    """Serve until SIGTERM; then finish what is under way and end."""
    orders = Redirect.from_json(sys.stdin.read())
    limit_capabilities(frozenset())
    if orders.parent:
        die_with_parent(orders.parent)
    journal = Journal()
    try:
        asyncio.run(_serve(orders, journal))
    finally:
        journal.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
