"""Who is on a list: its bytes taken apart once, a million entries in a few seconds and a few megabytes.

pyca/cryptography judges a list's frame. Its entries are read here: an object of the library for each would
take ten times as long, and to check a signature it puts the list together again, which costs a copy. What is
read here are the very bytes that were signed. DER only (X.690 §10.1): a length that could be written shorter,
or that has no end, is no list.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sealgate.policy.identity import revocation_key

__all__ = ["Damaged", "Frame", "Serials", "Strange", "der_of", "frame_of", "serials_of"]

_BEGIN, _END = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
_SPACE = re.compile(rb"[ \t\r\n]+")
_SEQUENCE, _INTEGER, _OCTETS, _BITS, _BOOLEAN, _OID = 0x30, 0x02, 0x04, 0x03, 0x01, 0x06
_TIMES = (0x17, 0x18)  # UTCTime, GeneralizedTime
_EXTENSIONS = 0xA0
_LONG = 0x80
_LONGEST_SERIAL = 0x7F  # octets; RFC 5280 §5.2.3 and §4.1.2.2 want 20, some authorities have more
_REMEMBERED = 1024

_REASON = bytes.fromhex("551d15")
_INVALIDITY = bytes.fromhex("551d18")
_CERTIFICATE_ISSUER = bytes.fromhex("551d1d")
_REMOVE = bytes.fromhex("0a0108")  # removeFromCRL (RFC 5280 §5.3.1)


class Damaged(ValueError):
    """No list in DER, or not to its end."""


class Strange(ValueError):
    """An entry that means something else than "revoked" by this issuer.

    Attributes:
        kind: ``indirect``, ``removed``, ``critical`` or ``serial``.
    """

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the parts of a list are in its bytes.

    Attributes:
        der: the whole of it.
        signed: begin and end of TBSCertList, with its head.
        algorithm: AlgorithmIdentifier that is not signed.
        inner: the one that is (RFC 5280 §5.1.1.2: they must be the same).
        signature: the bits.
        entries: begin and end of the content of revokedCertificates; equal where there is none.
    """

    der: bytes
    signed: tuple[int, int]
    algorithm: bytes
    inner: bytes
    signature: bytes
    entries: tuple[int, int]

    @property
    def to_be_signed(self) -> memoryview:
        """What the issuer signed, not copied."""
        return memoryview(self.der)[slice(*self.signed)]


@dataclass(frozen=True, slots=True)
class Serials:
    """Serial numbers, packed: of each its length in one byte and its octets (big-endian, positive)."""

    packed: bytes
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        packed, at = self.packed, 0
        while at < len(packed):
            end = at + 1 + packed[at]
            yield int.from_bytes(packed[at + 1 : end], "big")
            at = end

    def keys(self, issuer: bytes) -> Iterator[bytes]:
        """By what the guard knows them.

        Args:
            issuer: SHA-256 of the issuer's SubjectPublicKeyInfo.
        """
        return (revocation_key(issuer, serial) for serial in self)


def der_of(data: bytes) -> bytes:
    """The one list in a PEM or DER text; DER itself is not copied. Raises :class:`Damaged`.

    Text around the PEM is passed over (RFC 7468 §2), a second list is not: which of them would count?
    """
    if data[:1] == b"\x30":
        return data
    first = data.find(_BEGIN)
    last = data.find(_END, first)
    if first < 0 or last < 0:
        raise Damaged("neither DER nor PEM")
    if data.find(_BEGIN, first + 1) >= 0:
        raise Damaged("several lists in one")
    try:
        text = _SPACE.sub(b"", data[first + len(_BEGIN) : last])
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise Damaged("no base64 between the lines of PEM") from None


def frame_of(der: bytes) -> Frame:
    """The parts of CertificateList (RFC 5280 §5.1). Raises :class:`Damaged`."""
    try:
        return _frame(der)
    except IndexError:
        raise Damaged("cut off") from None


def _frame(der: bytes) -> Frame:
    at, end = _within(der, 0, len(der), _SEQUENCE)
    if end != len(der):
        raise Damaged("something follows the list")
    inside, after = _within(der, at, end, _SEQUENCE)
    _, algorithm_end = _within(der, after, end, _SEQUENCE)
    bits, bits_end = _within(der, algorithm_end, end, _BITS)
    if bits_end != end or bits == end:
        raise Damaged("no signature at its end")
    if der[inside] == _INTEGER:  # the version; without it the first one
        inside = _within(der, inside, after, _INTEGER)[1]
    _, name = _within(der, inside, after, _SEQUENCE)
    return Frame(
        der,
        (at, after),
        der[after:algorithm_end],
        der[inside:name],
        der[bits + 1 : end] if der[bits] == 0 else b"",  # no signature ends within an octet
        _entries(der, name, after),
    )


def _entries(der: bytes, name: int, after: int) -> tuple[int, int]:
    _, at = _within(der, name, after, _SEQUENCE)
    _, at = _within(der, at, after, *_TIMES)
    if at < after and der[at] in _TIMES:
        _, at = _within(der, at, after, *_TIMES)
    found = (at, at)
    if at < after and der[at] == _SEQUENCE:
        found = _within(der, at, after, _SEQUENCE)
        at = found[1]
    if at < after:
        _, at = _within(der, at, after, _EXTENSIONS)
    if at != after:
        raise Damaged("something unknown stands in it")
    return found


def serials_of(frame: Frame) -> Serials:
    """All who are on the list.

    Raises:
        Damaged: an entry is none.
        Strange: an entry is not simply a revocation by the list's issuer.
    """
    try:
        return _serials(frame)
    except IndexError:
        raise Damaged("cut off") from None


def _serials(frame: Frame) -> Serials:
    der, (at, end) = frame.der, frame.entries
    packed, count, known = bytearray(), 0, set[bytes]()
    while at < end:
        begin, after = _within(der, at, end, _SEQUENCE)
        # Written out: a function for each of these would double the time.
        octets = der[begin + 1]
        date = begin + 2 + octets
        if der[begin] != _INTEGER or not 0 < octets <= _LONGEST_SERIAL or date >= after:
            raise Damaged("an entry without a serial number")
        if der[begin + 2] >= _LONG:  # RFC 5280 §4.1.2.2: positive; the guard has no key for others
            raise Strange("serial", "an entry with a negative serial number")
        further = date + 2 + der[date + 1]
        if der[date] not in _TIMES or der[date + 1] >= _LONG or further > after:
            raise Damaged("an entry without a date")
        if further < after and (extensions := der[further:after]) not in known:
            _check_extensions(extensions)
            if len(known) < _REMEMBERED:  # few lists have more than a dozen kinds
                known.add(extensions)
        packed += der[begin + 1 : date]
        count += 1
        at = after
    return Serials(bytes(packed), count)


def _check_extensions(der: bytes) -> None:
    """RFC 5280 §5.3: whoever cannot process a critical one must not use the list."""
    at, end = _within(der, 0, len(der), _SEQUENCE)
    if end != len(der):
        raise Damaged("an entry with something unknown")
    seen = set[bytes]()
    while at < end:
        begin, after = _within(der, at, end, _SEQUENCE)
        kind, critical, value = _extension(der, begin, after)
        if kind in seen:
            raise Damaged("an entry with one extension twice")
        seen.add(kind)
        if kind == _CERTIFICATE_ISSUER:
            raise Strange("indirect", "an entry for another authority's certificate")
        if kind == _REASON and value == _REMOVE:
            raise Strange("removed", "an entry that takes another one back")
        if critical and kind not in {_REASON, _INVALIDITY}:
            raise Strange("critical", f"an entry with the unknown critical extension {kind.hex()}")
        at = after


def _extension(der: bytes, at: int, end: int) -> tuple[bytes, bool, bytes]:
    """Its OID's octets, whether it is critical, its value."""
    begin, at = _within(der, at, end, _OID)
    kind, critical = der[begin:at], False
    if at < end and der[at] == _BOOLEAN:
        begin, at = _within(der, at, end, _BOOLEAN)
        critical = der[begin:at] != b"\0"
    begin, at = _within(der, at, end, _OCTETS)
    if at != end:
        raise Damaged("an extension with something unknown")
    return kind, critical, der[begin:at]


def _within(der: bytes, at: int, limit: int, *tags: int) -> tuple[int, int]:
    """Where the content of what begins here begins and ends. Raises Damaged, IndexError."""
    if at >= limit or der[at] not in tags:
        raise Damaged("not what belongs there")
    length, begin = der[at + 1], at + 2
    if length >= _LONG:
        size = length - _LONG
        length = int.from_bytes(der[begin : begin + size], "big")
        if not 0 < size <= 4 or length < _LONG or length < 1 << 8 * (size - 1):
            raise Damaged("a length that is none in DER")
        begin += size
    if begin + length > limit:
        raise Damaged("cut off")
    return begin, begin + length
