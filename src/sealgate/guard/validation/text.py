"""JSON that can be read in one way only (RFC 8259, I-JSON: RFC 7493). Pure.

Two parsers may differ about a key that is there twice, ``NaN``, half of a surrogate pair, a number that is no
double or no 64-bit integer, a byte order mark, and what is nested deeper than one of them goes: what the
guard saw would not be what the app sees. So all that is refused, and looked for only where the text has
something of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import NoReturn

from jsonschema_rs.canonical.json import to_string

from sealgate.policy.openapi import Json

__all__ = ["DEEPEST", "Ambiguous", "parse"]

DEEPEST = 64
"""Arrays and objects within each other."""

# A text without an end goes to the end, and no step is taken back: else each quote would look for one anew.
_NO_BRACKET = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|\Z)|[^\[\]{}"]++', re.DOTALL)
_PAIR = re.compile(r"\[\]|\{\}")
_ALIKE = bytes.maketrans(b"123456789E{", b"000000000e[")
_ODD_NUMBER = re.compile(r"(?:\A|[\s\[,:-])[0-9]+(?:(?<=[0-9]{19})|(?:\.[0-9]+)?[eE]\+?[0-9]{3})")
_SPACE = " \t\n\r"
_LONG = b"0" * 19
_LARGEST, _SMALLEST = (1 << 64) - 1, -(1 << 63)


class Ambiguous(ValueError):
    """No JSON, or none with one meaning; the text says which, and quotes nothing."""


def parse(content: bytes) -> Json:
    """The value.

    Raises:
        Ambiguous: see there.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise Ambiguous("is not UTF-8") from None
    seen = content.translate(_ALIKE)
    if seen.count(b"[") > DEEPEST:
        _check_depth(text)
    # Escapes, and numbers that are long or have a large exponent, are looked at piece by piece.
    if "\\" in text or ((_LONG in seen or b"0e" in seen) and _ODD_NUMBER.search(text)):
        value = _decoded(_CAREFUL, text)
        if "\\u" in text:
            _check_surrogates(value)
        return value
    value = _decoded(_USUAL, text)
    # A name that was there twice is gone. Colons end names or stand in texts, and nothing is escaped: of
    # both, all are there as often as they came.
    if to_string(value).count(":") != text.count(":"):
        value = _decoded(_CAREFUL, text)
    return value


def _decoded(scan: Callable[[str, int], tuple[Json, int]], text: str) -> Json:
    text = text.strip(_SPACE)
    try:
        value, end = scan(text, 0)
    except Ambiguous:
        raise
    except (ValueError, RecursionError, StopIteration):
        raise Ambiguous("is not JSON") from None
    if end != len(text):
        raise Ambiguous("is not JSON")
    return value


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Ambiguous("has an object with a name twice")
    return found


def _constant(_name: str) -> NoReturn:
    raise Ambiguous("has a number that JSON does not know")


def _float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise Ambiguous("has a number that is larger than any double")
    return value


def _int(text: str) -> int:
    if len(text) > len(str(_LARGEST)) + 1 or not _SMALLEST <= int(text) <= _LARGEST:
        raise Ambiguous("has an integer of more than 64 bits")
    return int(text)


def _scan(**hooks: Json) -> Callable[[str, int], tuple[Json, int]]:
    decoder: Json = json.JSONDecoder(**hooks)
    scan: Callable[[str, int], tuple[Json, int]] = decoder.scan_once
    return scan


_USUAL = _scan(parse_constant=_constant)
_CAREFUL = _scan(object_pairs_hook=_once, parse_constant=_constant, parse_float=_float, parse_int=_int)


def _check_depth(text: str) -> None:
    """By the brackets outside of texts: each round takes the innermost pairs away, one level."""
    brackets = _NO_BRACKET.sub("", text)
    for _ in range(DEEPEST):
        if not brackets:
            return
        before, brackets = len(brackets), _PAIR.sub("", brackets)
        if len(brackets) == before:
            raise Ambiguous("is not JSON")
    if brackets:
        raise Ambiguous(f"is nested deeper than {DEEPEST}")


def _check_surrogates(value: Json) -> None:
    """Escapes may say half of a pair, which no UTF-8 can."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Ambiguous("has half of a surrogate pair") from None
