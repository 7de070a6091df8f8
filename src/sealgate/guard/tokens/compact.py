"""A JWT as it arrives: taken apart, strictly, before anything in it is believed (RFC 7515 §7.1, RFC 8725).

What two programs could read differently is refused: padding, other alphabets, left-over bits, a member there
twice, a header or claims that are no object. So are all kinds of token that nobody here asked for: encrypted
(RFC 7516), nested (RFC 7519 §5.2), with a payload that is not encoded (RFC 7797), and every ``crit``
(RFC 7515 §4.1.11), as none of its extensions is understood. Keys that a token brings or points to (``jwk``,
``jku``, ``x5c``, ``x5u``) are never looked at.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["LONGEST", "Compact", "Malformed", "take_apart"]

LONGEST = 8 * 1024
"""Characters of a token; longer ones are not looked at."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})  # RFC 7519 §5.1, RFC 9068 §2.1
_REFUSED = ("crit", "b64", "enc", "zip", "cty")


class Malformed(Exception):
    """It is no token that is asked for here; a stable word for the log."""


class Compact(NamedTuple):
    """The parts, none of them verified.

    Attributes:
        algorithm: ``alg``.
        key: ``kid``; empty where there is none.
        claims: the payload.
    """

    algorithm: str
    key: str
    claims: Mapping[str, Any]


def take_apart(text: str) -> Compact:
    """Read a token.

    Args:
        text: as it stood in the request.

    Raises:
        Malformed: with the reason.
    """
    if len(text) > LONGEST:
        raise Malformed("token-too-long")
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise Malformed("token-malformed")
    header = _object(_decoded(parts[1]))
    _decoded(parts[3])
    if any(name in header for name in _REFUSED):
        raise Malformed("token-kind")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise Malformed("token-type")
    algorithm, key = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or not isinstance(key, str):
        raise Malformed("token-header")
    return Compact(algorithm, key, _object(_decoded(parts[2])))


def _decoded(text: str) -> bytes:
    """Base64url without padding, in its one form: no bits are left over (RFC 4648 §3.5)."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error) as error:
        raise Malformed("token-encoding") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode("ascii"):
        raise Malformed("token-encoding")
    return data


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("token-json") from error
    if not isinstance(value, dict):
        raise Malformed("token-json")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7515 §4, RFC 7519 §4: a name there twice may be refused, and is."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member is there twice")
    return made


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
