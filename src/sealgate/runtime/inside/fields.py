"""One clear request, or none: what a header says is judged, and what goes on to the app is chosen. Pure."""

from __future__ import annotations

import os
import re

from sealgate.runtime.inside.cycle import Exchange, Fields

__all__ = ["Refused", "judge_fields", "judge_target", "judge_websocket"]

_ABSOLUTE = re.compile(rb"(?i)https?://([^/?#]*)(.*)", re.DOTALL)
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_HOPS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
) | {b"http2-settings", b"x-request-id"}
_NEVER_HOPS = frozenset((b"host", b"content-length", b"authorization", b"cookie"))


class Refused(Exception):
    """This is no request that could be passed on.

    Attributes:
        slug: of its problem.
    """

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug


def judge_target(method: bytes, url: bytes) -> tuple[bytes, bytes | None]:
    """A request's target.

    Returns:
        Path and query, or ``*``; and the host that counts instead of Host (RFC 9112 §3.2.2), if one is named.

    Raises:
        Refused: it has none of the forms that are served.
    """
    host = None
    if url[:1] == b"/" and method != b"CONNECT":
        pass
    elif absolute := _ABSOLUTE.fullmatch(url):
        host, rest = absolute[1], absolute[2]
        url = rest if rest.startswith(b"/") else b"/" + rest
    elif url != b"*" or method != b"OPTIONS":
        raise Refused("bad-request")
    if b"#" in url:
        raise Refused("path-not-canonical")
    return url, host


def judge_fields(fields: Fields, most_body: int, noted: Exchange) -> tuple[Fields, list[bytes]]:
    """A request's fields, names in lower case.

    Args:
        fields: as they came.
        most_body: bytes that may be announced.
        noted: learns host, user agent and a fresh request id.

    Returns:
        What goes on to the app (RFC 9110 §7.6.1), and the upgrades that were asked for.

    Raises:
        Refused: they could mean one thing to us and another to somebody else, or announce too much.
    """
    hosts, named = 0, b""
    upgrade: list[bytes] = []
    kept: Fields = []
    for pair in fields:
        name, value = pair
        if name == b"host":
            hosts += 1
            noted.host = value.decode("latin-1")
            kept.append(pair)
        elif name in _HOPS:
            if name == b"connection":
                named += b"," + value.lower()
            elif name == b"upgrade":
                upgrade.append(value.lower())
            elif name == b"transfer-encoding" and value.lower() != b"chunked":
                raise Refused("bad-request")
        elif b"_" in name:  # one name with "-" to some
            raise Refused("bad-request")
        else:
            if name == b"content-length" and int(value) > most_body:
                raise Refused("body-too-large")
            if name == b"user-agent":
                noted.agent = value.decode("latin-1")
            kept.append(pair)
    if hosts != 1:
        raise Refused("bad-request")
    if named and named != b",keep-alive":
        kept = _without(kept, {token.strip() for token in named.split(b",")})
    noted.request_id = _request_id()
    kept.append((b"x-request-id", noted.request_id.encode("ascii")))
    return kept, upgrade


def _without(fields: Fields, named: set[bytes]) -> Fields:
    if named & _NEVER_HOPS:
        raise Refused("bad-request")
    return [pair for pair in fields if pair[0] not in named]


def judge_websocket(method: bytes, fields: Fields) -> None:
    """An opening handshake (RFC 6455 §4.2.1); what fails in there would be answered without HSTS.

    Raises:
        Refused: it is none.
    """
    values = {name: value for name, value in fields if name.startswith(b"sec-websocket-")}
    version, key = values.get(b"sec-websocket-version"), values.get(b"sec-websocket-key", b"")
    if method != b"GET" or version != b"13" or not _KEY.fullmatch(key):
        raise Refused("bad-request")


def _request_id() -> str:
    """A random UUID (RFC 9562 §5.4)."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
