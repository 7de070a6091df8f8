"""Where a request's body ends, as far as one must know to wait for it. No I/O; nothing is judged here.

Whether what came is valid HTTP, and where its parts are, is Gunicorn's parser's to say: it reads the same
bytes once they are there. Where this module stops waiting too early, the parser finds too little and refuses
the request; where it waits for too much, time runs out. Neither makes one request out of two.
"""

from __future__ import annotations

import re

__all__ = ["Chunks"]

_HEX = re.compile(rb"[0-9a-fA-F]{1,16}")
_LONGEST_LINE = 8190


class Chunks:
    """Follows a chunked body (RFC 9112 §7.1) to its end.

    Attributes:
        size: bytes of the body, as announced so far.
        ended: nothing more is to be waited for.
    """

    __slots__ = ("_line", "_skip", "_trailer", "_trailer_most", "_trailer_size", "ended", "size")

    def __init__(self, trailer_most: int) -> None:
        self.size = 0
        self.ended = False
        self._line = b""
        self._skip = 0
        self._trailer = False
        self._trailer_size = 0
        self._trailer_most = trailer_most

    def feed(self, data: bytes | bytearray) -> None:
        """The next bytes."""
        at = 0
        while at < len(data) and not self.ended:
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            end = data.find(b"\n", at)
            piece = bytes(data[at : end + 1] if end >= 0 else data[at:])
            self._line += piece
            at += len(piece)
            if len(self._line) > _LONGEST_LINE:
                self.ended = True
            elif end >= 0:
                line, self._line = self._line.rstrip(b"\r\n"), b""
                self._take(line)

    def _take(self, line: bytes) -> None:
        if self._trailer:
            self._trailer_size += len(line)
            self.ended = not line or self._trailer_size > self._trailer_most
            return
        size = line.partition(b";")[0].strip(b" \t")
        if not _HEX.fullmatch(size):
            self.ended = True
            return
        number = int(size, 16)
        self.size += number
        self._trailer = not number
        self._skip = number + 2 if number else 0
