"""An OCSP answer taken apart (RFC 6960 §4.2.1), on the bytes that came.

pyca/cryptography reads these too, but does not show all that has to be judged: the signed bytes are as it
would write them, not as they came; of one response among several there are no extensions, of a signature no
PSS parameters; a nonce that is no OCTET STRING is shown as if it were. So its reader only has to agree that
this is an answer (:mod:`~sealgate.pki.ocsp.judging`), and what counts is read here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from sealgate.pki.ocsp.der import (
    BITS,
    ENUMERATED,
    INTEGER,
    MOMENT,
    NULL,
    OCTETS,
    OID,
    SEQUENCE,
    Damaged,
    Der,
    Extension,
    extensions_of,
    moment_of,
    number_of,
    only,
)

__all__ = ["Answer", "Basic", "CertificateId", "Single", "State", "answer_of"]

_BASIC = bytes.fromhex("2b0601050507300101")  # id-pkix-ocsp-basic
_FIRST, _SECOND, _THIRD = 0xA0, 0xA1, 0xA2  # [0], [1], [2] around something
_GOOD, _REVOKED, _UNKNOWN = 0x80, 0xA1, 0x82  # in the place of NULL, SEQUENCE, NULL


class State(enum.Enum):
    """CertStatus."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CertificateId:
    """CertID (§4.1.1). ``algorithm``: the hash's OID, as octets."""

    algorithm: bytes
    name_hash: bytes
    key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class Single:
    """SingleResponse: what is said of one certificate.

    Attributes:
        revoked_at, reason: where it is revoked; ``reason`` is a number (RFC 5280 §5.3.1) or is not said.
        this_update, next_update: aware, UTC.
        extensions: by OID.
    """

    about: CertificateId
    state: State
    revoked_at: datetime | None
    reason: int | None
    this_update: datetime
    next_update: datetime | None
    extensions: dict[bytes, Extension]


@dataclass(frozen=True, slots=True)
class Basic:
    """BasicOCSPResponse.

    Attributes:
        signed: the very bytes under the signature.
        algorithm: its AlgorithmIdentifier, whole.
        signature: its bits.
        certificates: that came with it, DER.
        by_name, by_key: of the responder; one of them: a Name in DER, or the SHA-1 of a key.
        version: 0 is v1.
        produced_at: aware, UTC.
        singles: at least one.
        extensions: of all together, by OID.
    """

    signed: bytes
    algorithm: bytes
    signature: bytes
    certificates: tuple[bytes, ...]
    by_name: bytes | None
    by_key: bytes | None
    version: int
    produced_at: datetime
    singles: tuple[Single, ...]
    extensions: dict[bytes, Extension]


@dataclass(frozen=True, slots=True)
class Answer:
    """OCSPResponse. ``basic``: None where ``status`` is not 0, or it is of another type."""

    status: int
    basic: Basic | None


def answer_of(data: bytes) -> Answer:
    """The one answer in these bytes, to their end. Raises :class:`Damaged`."""
    outer = Der(only(data, SEQUENCE))
    status, inside = number_of(outer.take(ENUMERATED)), outer.maybe(_FIRST)
    outer.end()
    if (status == 0) is not (inside is not None):  # §4.2.1: an error has no responseBytes
        raise Damaged("an answer without one, or an error with one")
    if inside is None:
        return Answer(status, None)
    parts = Der(only(inside, SEQUENCE))
    kind, body = parts.take(OID), parts.take(OCTETS)
    parts.end()
    return Answer(status, _basic(body) if kind == _BASIC else None)


def _basic(data: bytes) -> Basic:
    parts = Der(only(data, SEQUENCE))
    signed, algorithm = parts.whole(SEQUENCE), parts.whole(SEQUENCE)
    bits, explicit = parts.take(BITS), parts.maybe(_FIRST)
    parts.end()
    if len(bits) < 2 or bits[0]:  # no signature ends within an octet
        raise Damaged("no signature")
    inside = Der(only(signed, SEQUENCE))
    version = _version(inside.maybe(_FIRST))
    by_name = inside.maybe(_SECOND)
    by_key = only(inside.take(_THIRD), OCTETS) if by_name is None else None
    if by_name is not None:
        only(by_name, SEQUENCE)
    produced_at, responses = moment_of(inside.take(MOMENT)), inside.take(SEQUENCE)
    extensions = extensions_of(inside.maybe(_SECOND))
    inside.end()
    return Basic(
        signed=signed,
        algorithm=algorithm,
        signature=bits[1:],
        certificates=_certificates(explicit),
        by_name=by_name,
        by_key=by_key,
        version=version,
        produced_at=produced_at,
        singles=_singles(responses),
        extensions=extensions,
    )


def _version(explicit: bytes | None) -> int:
    if explicit is None:
        return 0
    version = number_of(only(explicit, INTEGER))
    if version == 0:  # X.690 §11.5: what is the default is not written
        raise Damaged("a default that is written out")
    return version


def _certificates(explicit: bytes | None) -> tuple[bytes, ...]:
    if explicit is None:
        return ()
    every, found = Der(only(explicit, SEQUENCE)), list[bytes]()
    while every.tag is not None:
        found.append(every.whole(SEQUENCE))
    return tuple(found)


def _singles(data: bytes) -> tuple[Single, ...]:
    every, found = Der(data), list[Single]()
    while every.tag is not None:
        found.append(_single(Der(every.take(SEQUENCE))))
    if not found:
        raise Damaged("an answer about nothing")
    return tuple(found)


def _single(parts: Der) -> Single:
    about = _about(Der(parts.take(SEQUENCE)))
    state, revoked_at, reason = _state(parts)
    this_update, after = moment_of(parts.take(MOMENT)), parts.maybe(_FIRST)
    extensions = extensions_of(parts.maybe(_SECOND))
    parts.end()
    next_update = None if after is None else moment_of(only(after, MOMENT))
    return Single(about, state, revoked_at, reason, this_update, next_update, extensions)


def _about(parts: Der) -> CertificateId:
    algorithm = Der(parts.take(SEQUENCE))
    kind = algorithm.take(OID)
    if algorithm.maybe(NULL):  # absent or NULL: both are seen for the same hash (RFC 4055 §2.1)
        raise Damaged("a NULL that is none")
    algorithm.end()
    found = CertificateId(kind, parts.take(OCTETS), parts.take(OCTETS), number_of(parts.take(INTEGER)))
    parts.end()
    return found


def _state(parts: Der) -> tuple[State, datetime | None, int | None]:
    if (revoked := parts.maybe(_REVOKED)) is not None:
        inside = Der(revoked)
        at, explicit = moment_of(inside.take(MOMENT)), inside.maybe(_FIRST)
        inside.end()
        return State.REVOKED, at, None if explicit is None else number_of(only(explicit, ENUMERATED))
    unknown = parts.tag == _UNKNOWN
    if parts.take(_UNKNOWN if unknown else _GOOD):
        raise Damaged("a NULL that is none")
    return (State.UNKNOWN if unknown else State.GOOD), None, None
