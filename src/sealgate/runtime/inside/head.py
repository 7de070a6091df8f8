"""Where a request's header ends, followed as it comes: each byte is looked at once, however it was cut.

Nothing is judged here and nothing is decoded: that is for who reads the header once it is there.
"""

from __future__ import annotations

__all__ = ["Head"]

_END = b"\r\n\r\n"


class Head:
    """One header on its way.

    Attributes:
        start: where its first line begins: after one empty line (RFC 9112 §2.2).
        line: where its first line ends; -1: not yet.
        end: where the empty line after it begins; -1: not there yet.
        bare: a line feed without its carriage return was seen: no header ends in CRLF alone any more.
    """

    __slots__ = ("_seen", "bare", "end", "line", "start")

    def __init__(self) -> None:
        self.start = self._seen = 0
        self.line = self.end = -1
        self.bare = False

    def look(self, data: bytes | bytearray) -> None:
        """All that came so far, from its first byte on; only what is new is searched."""
        if self.end >= 0:
            return
        if not self.start and data[:2] == b"\r\n":
            self.start = 2
        seen, size = self._seen, len(data)
        if self.line < 0:
            self.line = data.find(b"\r\n", max(self.start, seen - 1))
        self.end = data.find(_END, max(self.start, seen - 3))
        limit = size if self.end < 0 else self.end
        # A line feed at `seen` may have its carriage return before.
        feeds = data.count(b"\n", seen, limit)
        self.bare = self.bare or feeds != data.count(b"\r\n", max(seen - 1, 0), limit)
        self._seen = size

    def size(self, data: bytes | bytearray) -> int:
        """Bytes of it so far, without the empty lines around it."""
        return (self.end if self.end >= 0 else len(data)) - self.start
