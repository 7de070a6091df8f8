"""Is a request whole, as far as its connection has it? Gunicorn's parser reads the header once it is there.

No I/O: what came lies in the connection's inbox. Bounds are judged as early as they can be.
"""

from __future__ import annotations

from sealgate.engines.servers.gunicorn.orders import Orders
from sealgate.runtime.inside.gunicorn.answer import slug_of
from sealgate.runtime.inside.gunicorn.connection import Connection, Phase
from sealgate.runtime.inside.gunicorn.framing import Chunks
from sealgate.runtime.inside.head import Head

__all__ = ["LONGEST_LINE", "Unfit", "is_whole", "room"]

LONGEST_LINE = 8190
"""Bytes of a request line."""

_PIECE = 16 * 1024
# What chunks may take beside their content: small ones have little, extensions mean nothing to anybody.
_CHUNKING, _CHUNKING_ANYWAY = 8, 256 * 1024


class Unfit(Exception):
    """This request goes no further.

    Attributes:
        slug: of its problem.
    """

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug


def room(connection: Connection) -> int:
    """How many bytes to take next: nothing beyond a body of known length."""
    if connection.phase is Phase.BODY and connection.chunks is None:
        return connection.length - len(connection.inbox)
    return _PIECE


def is_whole(connection: Connection, orders: Orders) -> bool:
    """Is all of it here? Goes on from header to body by itself.

    Raises:
        Unfit: it is none, or too large.
    """
    if connection.phase is Phase.HEAD and not (len(connection.inbox) and _header(connection, orders)):
        return False
    chunks = connection.chunks
    size = connection.length if chunks is None else chunks.size
    if size > orders.body:
        raise Unfit("body-too-large")
    if len(connection.inbox) > _CHUNKING * orders.body + _CHUNKING_ANYWAY:
        raise Unfit("bad-request")
    return len(connection.inbox) >= connection.length if chunks is None else chunks.ended


def _header(connection: Connection, orders: Orders) -> bool:
    """Is the header here? If so it is parsed."""
    head, data = connection.head, connection.inbox.head
    head.look(data)
    if _oversized(head, data, orders.headers):
        raise Unfit("headers-too-large")
    # Where no valid header can come any more, the parser says so.
    if head.end < 0 and not head.bare and head.line != head.start:
        return False
    try:
        request = next(connection.parser)
    except Exception as error:
        raise Unfit(slug_of(error) or "bad-request") from error
    connection.request = request
    if request.version != (1, 1):
        raise Unfit("http-version-unsupported")
    fields = dict(request.headers)
    options = fields.get("CONNECTION", "").lower().split(",")
    connection.last = request.should_close() or "close" in [option.strip() for option in options]
    connection.length = int(fields.get("CONTENT-LENGTH", 0))
    if "TRANSFER-ENCODING" in fields:
        connection.chunks = Chunks(orders.headers)
        connection.chunks.feed(connection.inbox.head)
    connection.enter(Phase.BODY)
    return True


def _oversized(head: Head, data: bytearray, most: int) -> bool:
    """Is it too large, so far?"""
    size = head.size(data)
    line = size if head.line < 0 else head.line - head.start
    return line > LONGEST_LINE or size - line > most + 2
