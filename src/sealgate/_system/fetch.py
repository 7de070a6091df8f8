"""One GET or POST of a stranger's address: bounded in time, size, speed, never into our own network.

The name is resolved once, here; the connection goes to an address that was checked, and TLS is verified
against the name. So a name that means something else a moment later changes nothing (DNS rebinding). Nothing
of the environment counts: no proxy, no netrc; no cookie is kept, nothing is decoded.

h11 reads the answer: it has no I/O, so nothing but what stands here opens a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import h11

from sealgate._system.conditional import Tag, conditions_of, retry_after
from sealgate._system.destination import (
    Address,
    Destination,
    Network,
    NotAllowed,
    destination_of,
    led_to,
    may_go,
)

__all__ = ["Bounds", "Failed", "Fetched", "Posted", "Tag", "Unchanged", "Why", "fetch", "verifying"]

_ADDRESSES = 4
_PIECE = 65536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FRAME = 1 << 20
_LONGEST_SAID = 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a fetch may cost.

    Attributes:
        size: bytes of the answer's content.
        head: bytes of its head, and of whatever else frames it.
        seconds: for everything together.
        connect: seconds for each address, handshake included.
        window, least: within so many seconds at least so many bytes come.
        redirects: followed.
    """

    size: int = 64 * 1024 * 1024
    head: int = 16 * 1024
    seconds: float = 60.0
    connect: float = 10.0
    window: float = 20.0
    least: int = 20 * 1024
    redirects: int = 3


@dataclass(frozen=True, slots=True)
class Posted:
    """What is sent; ``kind``: its Content-Type, a word of ours."""

    body: bytes
    kind: str


class Why(enum.StrEnum):
    """What went wrong; stable words."""

    ADDRESS = "address"
    PLACE = "private-address"
    NAME = "name"
    CONNECTION = "connection"
    TLS = "tls"
    TIME = "timeout"
    SLOW = "too-slow"
    LARGE = "too-large"
    ANSWER = "no-http-answer"
    STATUS = "status"
    ENCODED = "encoded"
    REDIRECTS = "redirects"
    UNASKED = "unasked-304"


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer, whole; ``tag`` goes with the next request."""

    body: bytes
    tag: Tag


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The server says that what we have is what it has."""


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer.

    Attributes:
        said: a part of a sentence, ASCII.
        retry_after: the server's word.
    """

    why: Why
    said: str
    retry_after: timedelta | None = None


class _Failure(Exception):
    def __init__(self, why: Why, said: str, retry_after: timedelta | None = None) -> None:
        super().__init__(said)
        self.failed = Failed(why, said, retry_after)


async def fetch(
    url: str,
    *,
    tag: Tag | None = None,
    allowed: Sequence[Network] = (),
    context: ssl.SSLContext | None = None,
    bounds: Bounds | None = None,
    post: Posted | None = None,
) -> Fetched | Unchanged | Failed:
    """Ask once, redirects included.

    Args:
        url: absolute; as a certificate has it.
        tag: of the answer that we have, if we still have it.
        allowed: networks that may be asked though they are not of the whole internet.
        context: for https; None: the system's roots, TLS 1.2 at least.
        bounds: what it may cost.
        post: sent by POST; no redirect is followed then: whoever is asked was chosen, and nobody else.
    """
    bounds = bounds or Bounds()
    try:
        async with asyncio.timeout(bounds.seconds):
            return await _led(url, post or tag or Tag(), allowed, context, bounds)
    except _Failure as failure:
        return failure.failed
    except NotAllowed as error:
        return Failed(Why.ADDRESS, str(error))
    except TimeoutError:
        return Failed(Why.TIME, f"no whole answer within {bounds.seconds:g} s")
    except ssl.SSLError as error:  # in the middle of an answer
        return Failed(Why.TLS, _plain(error))
    except OSError as error:
        return Failed(Why.CONNECTION, _plain(error))


async def _led(
    url: str, what: Tag | Posted, allowed: Sequence[Network], context: ssl.SSLContext | None, bounds: Bounds
) -> Fetched | Unchanged:
    place = destination_of(url)
    for _ in range(bounds.redirects + 1):
        answer = await _asked(place, what, allowed, context, bounds)
        if not isinstance(answer, Destination):
            return answer
        if isinstance(what, Posted):
            raise _Failure(Why.REDIRECTS, "it leads elsewhere, where nothing is posted")
        place = answer
    raise _Failure(Why.REDIRECTS, f"more than {bounds.redirects} redirects")


async def _asked(
    place: Destination,
    what: Tag | Posted,
    allowed: Sequence[Network],
    context: ssl.SSLContext | None,
    bounds: Bounds,
) -> Fetched | Unchanged | Destination:
    if place.secure and context is None:
        context = verifying()
    addresses = await _resolved(place, allowed)
    reader, writer = await _connected(place, addresses, context if place.secure else None, bounds)
    try:
        exchange = _Exchange(reader, bounds)
        writer.write(exchange.request(place, what))
        return await _answer(exchange, place, Tag() if isinstance(what, Posted) else what)
    finally:
        # Nothing more is of interest, and nobody is waited for: a peer that reads nothing would hold us.
        with contextlib.suppress(OSError):
            writer.transport.abort()


def verifying(roots: str = "") -> ssl.SSLContext:
    """TLS 1.2 at least, by these certificates in PEM alone; by the system's, if there are none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks chain and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if roots:
        context.load_verify_locations(cadata=roots)
    else:
        context.load_default_certs()
    return context


async def _resolved(place: Destination, allowed: Sequence[Network]) -> tuple[Address, ...]:
    """The addresses that may be asked, in the resolver's order."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _Failure(Why.NAME, f"{place.host} has no address ({_plain(error)})") from error
    texts = dict.fromkeys(str(one[4][0]) for one in found)
    addresses = [address for text in texts if (address := may_go(text, allowed)) is not None]
    if not addresses:
        raise _Failure(Why.PLACE, f"{place.host} is at no address of the whole internet")
    return tuple(addresses[:_ADDRESSES])


async def _connected(
    place: Destination, addresses: Sequence[Address], context: ssl.SSLContext | None, bounds: Bounds
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first that takes a connection. The address is a number: nobody is asked for it again."""
    failure = _Failure(Why.CONNECTION, f"{place.host} cannot be reached")
    for address in addresses:
        try:
            async with asyncio.timeout(bounds.connect):
                return await asyncio.open_connection(
                    str(address),
                    place.port,
                    ssl=context,
                    server_hostname=place.host.rstrip(".") if context else None,
                    limit=_PIECE,
                )
        except ssl.SSLError as error:
            failure = _Failure(
                Why.TLS, f"the HTTPS certificate of {place.host} does not do ({_plain(error)})"
            )
        except TimeoutError:
            failure = _Failure(Why.CONNECTION, f"{place.host} takes no connection")
        except OSError as error:
            failure = _Failure(Why.CONNECTION, f"{place.host} cannot be reached ({_plain(error)})")
    raise failure


@dataclass(slots=True)
class _Exchange:
    """One request, and what comes back, counted.

    Attributes:
        began, count: of the window: when, and how many bytes since.
        came, content: bytes in all, and those that are content.
    """

    reader: asyncio.StreamReader
    bounds: Bounds
    began: float = field(default_factory=time.monotonic)
    count: int = 0
    came: int = 0
    content: int = 0
    protocol: h11.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=self.bounds.head)

    def request(self, place: Destination, what: Tag | Posted) -> bytes:
        """What is sent."""
        body = what.body if isinstance(what, Posted) else b""
        fields = {
            "Host": place.authority,
            "User-Agent": "sealgate",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if isinstance(what, Posted):
            fields |= {"Content-Type": what.kind, "Content-Length": str(len(body))}
        else:
            fields |= conditions_of(what)
        method = "POST" if isinstance(what, Posted) else "GET"
        request = h11.Request(method=method, target=place.target, headers=list(fields.items()))
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        return b"".join(self.protocol.send(event) or b"" for event in events)

    async def head(self) -> h11.Response:
        """The answer's, after whatever is said before it."""
        while not isinstance(event := await self._event(), h11.Response):
            pass  # hints are frame: `_piece` ends them
        return event

    async def body(self) -> bytes:
        """Its content, whole."""
        body = bytearray()
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                body += event.data
                self.content = len(body)
                if self.content > self.bounds.size:
                    raise _large(self.bounds)
        return bytes(body)

    async def _event(self) -> h11.Event:
        while True:
            try:
                event = self.protocol.next_event()
                if event is h11.NEED_DATA:
                    self.protocol.receive_data(await self._piece())
                    continue
            except h11.RemoteProtocolError as error:
                raise _Failure(Why.ANSWER, f"no sound HTTP answer ({_plain(error)})") from error
            if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
                raise _Failure(Why.ANSWER, "no HTTP answer")
            return event

    async def _piece(self) -> bytes:
        """What comes next; empty at the end."""
        while True:
            if (left := self.began + self.bounds.window - time.monotonic()) <= 0:
                if self.count < self.bounds.least:
                    raise _Failure(
                        Why.SLOW, f"less than {self.bounds.least} bytes in {self.bounds.window:g} s"
                    )
                self.began, self.count = time.monotonic(), 0
                continue
            with contextlib.suppress(_Pause):
                data = await self._read(left)
                break
        self.count += len(data)
        self.came += len(data)
        if self.came - self.content > _FRAME + _PIECE:  # pieces of a byte each cost more than they bring
            raise _Failure(Why.ANSWER, "more frame than content")
        return data

    async def _read(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(_PIECE)
        except TimeoutError as error:
            if error.errno is not None:  # the connection's own
                raise
            raise _Pause from None


class _Pause(Exception):
    """Nothing came until the window's end."""


async def _answer(exchange: _Exchange, place: Destination, tag: Tag) -> Fetched | Unchanged | Destination:
    head = await exchange.head()
    fields = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    if head.status_code == 304:
        if not conditions_of(tag):
            raise _Failure(Why.UNASKED, "it says that nothing changed, and was not asked that")
        return Unchanged()
    if head.status_code in _REDIRECTS:
        return led_to(place, fields.get("location", ""))
    if head.status_code != 200:
        wait = retry_after(fields, datetime.now(UTC))
        raise _Failure(Why.STATUS, f"it answered {head.status_code}", wait)
    if fields.get("content-encoding", "identity").strip().lower() not in {"identity", ""}:
        raise _Failure(Why.ENCODED, "its answer is compressed, and was not asked to be")
    length = fields.get("content-length", "0")
    if int(length) > exchange.bounds.size:  # digits alone, or h11 had refused it
        raise _large(exchange.bounds)
    body = await exchange.body()
    return Fetched(body, Tag(fields.get("etag", ""), fields.get("last-modified", "")))


def _large(bounds: Bounds) -> _Failure:
    return _Failure(Why.LARGE, f"its answer has more than {bounds.size} bytes")


def _plain(error: BaseException) -> str:
    """Its words, which may quote the peer."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ascii(text)[1:-1][:_LONGEST_SAID]
