"""Request bodies of unknown length, for WSGI.

PEP 3333 apps read as much as CONTENT_LENGTH says, and many read nothing where it is missing. A chunked
upload (over HTTP/2: any without content-length) has none, so it is taken in first, to a limit.
"""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ClosingBody", "TooLarge", "discard", "spool", "taken_in"]

_IN_MEMORY = 1024 * 1024
_PIECE = 64 * 1024
_MOST_DISCARDED = 1024 * 1024
_LONGEST_NUMBER = 18


class Readable(Protocol):
    """What the server calls ``wsgi.input``."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


class TooLarge(Exception):
    """The body is larger than the policy's ``limits.body``."""


def spool(
    stream: Readable, *, limit: int, directory: str | None = None
) -> tuple[tempfile.SpooledTemporaryFile[bytes], int]:
    """Take a whole body in; returns the file, rewound, and its size in bytes. The caller closes it.

    Up to 1 MiB stays in memory, the rest is an unnamed file in ``directory`` (default: the system's).

    Raises:
        TooLarge: more than ``limit`` bytes came; the rest is not read.
        OSError: the directory cannot be written or is full.
    """
    file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=directory)  # noqa: SIM115 - the caller closes
    try:
        size = _copy(stream, file, limit)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file, size


def _copy(stream: Readable, file: tempfile.SpooledTemporaryFile[bytes], limit: int) -> int:
    size = 0
    while piece := stream.read(min(_PIECE, limit + 1 - size)):
        size += len(piece)
        if size > limit:
            raise TooLarge
        file.write(piece)
    return size


def taken_in(stream: Readable, size: int) -> bytes:
    """As much as there is, at most so many bytes, in memory: what is validated is looked at as a whole."""
    pieces, left = [], size
    while left and (piece := stream.read(min(_PIECE, left))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def discard(stream: Readable, length: str, *, limit: int) -> None:
    """Take in a body that is refused for its length, for nothing, where it is a little too large only.

    An engine that is still sending to a worker that has closed finds an error where the answer would be
    (Apache: 503). It hands over no more than 1 MiB beyond the limit; who announces more is not listened to.

    Args:
        stream: ``wsgi.input``.
        length: CONTENT_LENGTH as it came.
        limit: the policy's ``limits.body``.
    """
    if len(length) > _LONGEST_NUMBER or not (length.isascii() and length.isdigit()):
        return
    left = int(length)
    if left > limit + _MOST_DISCARDED:
        return
    with contextlib.suppress(OSError):  # whoever has gone needs no answer
        while left > 0 and (piece := stream.read(min(_PIECE, left))):
            left -= len(piece)


class ClosingBody:
    """An app's response that closes the spooled request body when the server is done with it."""

    def __init__(self, inner: Iterable[bytes], file: tempfile.SpooledTemporaryFile[bytes]) -> None:
        self._inner = inner
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._inner)

    def close(self) -> None:
        """Close the app's response, then the file, whatever the first does (PEP 3333)."""
        try:
            close: Callable[[], None] | None = getattr(self._inner, "close", None)
            if close is not None:
                close()
        finally:
            self._file.close()
