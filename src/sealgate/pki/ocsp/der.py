"""DER, read strictly (X.690 §10, §11): every value has one form, so two readers cannot see two things.

A length that could be shorter or has no end, a number with idle octets, a truth that is not 0xFF, a default
that is written out, a date that is not YYYYMMDDHHMMSSZ: all of these are :class:`Damaged`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["Damaged", "Der", "Extension", "extensions_of", "moment_of", "number_of", "only"]

SEQUENCE, INTEGER, BITS, OCTETS, NULL, OID = 0x30, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, BOOLEAN, MOMENT = 0x0A, 0x01, 0x18
_LONG = 0x80
_MOMENT = re.compile(rb"[0-9]{14}Z")
_PARTS = (slice(0, 4), slice(4, 6), slice(6, 8), slice(8, 10), slice(10, 12), slice(12, 14))


class Damaged(ValueError):
    """No DER, or not what belongs there; the text is a part of a sentence, ASCII."""


@dataclass(slots=True)
class Der:
    """What stands one after the other in some bytes; each is taken once, in order."""

    data: bytes
    at: int = 0

    def take(self, tag: int) -> bytes:
        """The content of what comes next, which must have this tag."""
        begin, end = self._bounds(tag)
        self.at = end
        return self.data[begin:end]

    def whole(self, tag: int) -> bytes:
        """The same with its head: the very bytes."""
        begin, (_, end) = self.at, self._bounds(tag)
        self.at = end
        return self.data[begin:end]

    def maybe(self, tag: int) -> bytes | None:
        """The content, if what comes next has this tag."""
        return self.take(tag) if self.tag == tag else None

    @property
    def tag(self) -> int | None:
        """Of what comes next; None: nothing."""
        return self.data[self.at] if self.at < len(self.data) else None

    def end(self) -> None:
        """Nothing follows."""
        if self.at != len(self.data):
            raise Damaged("something follows where nothing may")

    def _bounds(self, tag: int) -> tuple[int, int]:
        data, at = self.data, self.at
        if self.tag != tag or at + 1 >= len(data):
            raise Damaged("not what belongs there")
        length, begin = data[at + 1], at + 2
        if length >= _LONG:
            size = length - _LONG
            length = int.from_bytes(data[begin : begin + size], "big")
            if not 0 < size <= 4 or length < _LONG or length < 1 << 8 * (size - 1):
                raise Damaged("a length that is none in DER")
            begin += size
        if begin + length > len(data):
            raise Damaged("cut off")
        return begin, begin + length


def only(data: bytes, tag: int) -> bytes:
    """The content of the one thing that stands there."""
    inside = Der(data)
    content = inside.take(tag)
    inside.end()
    return content


def number_of(content: bytes) -> int:
    """An INTEGER's or ENUMERATED's (X.690 §8.3.2)."""
    if not content or (len(content) > 1 and content[0] in (0, 0xFF) and (content[0] ^ content[1]) < _LONG):
        raise Damaged("a number that is none in DER")
    return int.from_bytes(content, "big", signed=True)


def moment_of(content: bytes) -> datetime:
    """A GeneralizedTime's (RFC 5280 §4.1.2.5.2: no fractions, no zone but Z)."""
    if not _MOMENT.fullmatch(content):
        raise Damaged("a date that is none in DER")
    year, month, day, hour, minute, second = (int(content[part]) for part in _PARTS)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise Damaged("a date that is none") from None


@dataclass(frozen=True, slots=True)
class Extension:
    """``value``: the content of extnValue."""

    critical: bool
    value: bytes


def extensions_of(explicit: bytes | None) -> dict[bytes, Extension]:
    """By their OID's octets.

    Args:
        explicit: content of the tag around Extensions; None: there are none.
    """
    found = dict[bytes, Extension]()
    if explicit is None:
        return found
    every = Der(only(explicit, SEQUENCE))
    while every.tag is not None:
        one = Der(every.take(SEQUENCE))
        kind, truth = one.take(OID), one.maybe(BOOLEAN)
        if truth not in (None, b"\xff"):  # FALSE is the default, which DER leaves out
            raise Damaged("a truth that is none in DER")
        value = one.take(OCTETS)
        one.end()
        if kind in found:
            raise Damaged("one extension twice")
        found[kind] = Extension(truth is not None, value)
    if not found:  # RFC 5280 §4.1: SIZE (1..MAX)
        raise Damaged("no extension where one belongs")
    return found
