"""Is a request target canonical, and what is its once-decoded path?

Guard and app must see the same path, so whatever two programs could read differently is refused, not mended.
The rules stand in ``policy/path.py``, as one expression for engines; here they are judged one by one, so that
a refusal has a reason. Path parameters (``;``) stay in the path as they are: WSGI and ASGI apps see them, so
the guard does too. What is encoded twice is decoded once, for both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

__all__ = ["NotCanonical", "Target", "judge_target"]

# The usual case in one match: nothing encoded, no segment that starts with a dot or a semicolon.
_USUAL = re.compile(r"((?:/[a-zA-Z0-9_~!$&'()*+,=:@-][a-zA-Z0-9._~!$&'()*+,;=:@-]*)*/?)(?:\?([!$-;=?-~]*))?")
_PATH = re.compile(r"[a-zA-Z0-9._~!$&'()*+,;=:@/%-]*")
_QUERY = re.compile(r"[!$-;=?-~]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_ENCODED_SEPARATOR = re.compile(r"%(?:2[eEfF]|5[cC])")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Target:
    """A canonical target: the once-decoded ``path`` and the raw ``query`` (without ``?``)."""

    path: str
    query: str


@dataclass(frozen=True, slots=True)
class NotCanonical:
    """Why a target is refused: a stable word for the log."""

    reason: str


def judge_target(method: str, raw: str) -> Target | NotCanonical:
    """Judge a raw target as received (``:path``; path and query).

    Args:
        method: the request's method; ``*`` is for OPTIONS only (RFC 9110 §9.3.7).
        raw: the bytes of the target as latin-1.
    """
    usual = _USUAL.fullmatch(raw)
    if usual and raw[:1] == "/":
        path, query = usual.groups("")
        return Target(path, query)
    if raw == "*":
        return Target("*", "") if method == "OPTIONS" else NotCanonical("asterisk")
    path, _, query = raw.partition("?")
    reason = _fault_in_raw(path) or ("query" if not _QUERY.fullmatch(query) else "")
    if reason:
        return NotCanonical(reason)
    return _judge_decoded(path, query)


def _fault_in_raw(path: str) -> str:
    """The first fault that shows before decoding, or an empty text."""
    if not path.startswith("/"):
        return "no-leading-slash"
    if not _PATH.fullmatch(path):
        return "raw-character"
    if _BAD_ESCAPE.search(path):
        return "bad-percent-encoding"
    if _ENCODED_SEPARATOR.search(path):
        return "encoded-separator"
    return ""


def _judge_decoded(path: str, query: str) -> Target | NotCanonical:
    try:
        decoded = unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return NotCanonical("bad-utf8")
    if _CONTROL.search(decoded):
        return NotCanonical("control-character")
    if decoded == "/":
        return Target(decoded, query)
    # No slash can come out of decoding (%2F is refused above), so the segments are those of the raw path.
    for segment in decoded.removesuffix("/")[1:].split("/"):
        # A server that cuts parameters off at ";" would read "..;x" as "..", and ";x" as an empty segment.
        name = segment.partition(";")[0]
        if name in {"", ".", ".."}:
            return NotCanonical("dot-segment" if name else "empty-segment")
    return Target(decoded, query)
