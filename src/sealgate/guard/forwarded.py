"""Whom a trusted proxy forwards a request for: ``Forwarded`` (RFC 7239) and ``X-Forwarded-For``. Pure.

Each proxy writes at the right whom it was called by. So from the right: what a proxy of ours wrote is true,
and the first address there that is none of ours is the client; what stands left of it he wrote himself, and
nobody reads it. Where all are ours the leftmost is. What cannot be read where it must be is no address, and
never a guess; nor is a client whom two fields name differently.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealgate.policy.network import Admitted

__all__ = ["MOST_HOPS", "Garbled", "client_of"]

MOST_HOPS = 32
"""Proxies of ours in a row; nobody has more."""

_V4 = re.compile(r"([0-9.]{7,15})(?::[0-9]{1,5})?", re.ASCII)
_V6 = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?", re.ASCII)
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
_PAIR = rf"{_WORD}=(?:{_WORD}|{_QUOTED})"
_ELEMENT = rf"(?:{_PAIR})?(?:;(?:{_PAIR})?)*"
_ELEMENTS = re.compile(rf"[ \t]*({_ELEMENT})[ \t]*(?:,|\Z)", re.ASCII)
_FOR = re.compile(rf"(?i:for)=({_WORD}|{_QUOTED})", re.ASCII)
_PAIRS = re.compile(_PAIR, re.ASCII)
_LONGEST = 16 * 1024


class Garbled(Exception):
    """Whom it is for cannot be read; a stable word for the log."""


def client_of(peer: str, trusted: Admitted, forwarded: Sequence[str], x_forwarded_for: Sequence[str]) -> str:
    """The client's address, in its shortest form.

    Args:
        peer: who connected, as :func:`ipaddress.ip_address` writes it.
        trusted: proxies whose word counts.
        forwarded: all ``Forwarded`` fields, in their order.
        x_forwarded_for: all ``X-Forwarded-For`` fields.

    Raises:
        Garbled: a trusted proxy says nothing that could be read.
    """
    if not trusted.admits(peer):
        return peer
    said = ((_elements, forwarded), (_addresses, x_forwarded_for))
    found = {_first_stranger(read(fields), trusted) for read, fields in said if fields}
    if len(found) > 1:
        raise Garbled("forwarded-twice")
    return found.pop() if found else peer


def _first_stranger(hops: list[str], trusted: Admitted) -> str:
    if not hops:
        raise Garbled("forwarded-empty")
    address = ""
    for number, hop in enumerate(reversed(hops)):
        if number >= MOST_HOPS:
            raise Garbled("forwarded-too-often")
        address = _address(hop)
        if not trusted.admits(address):
            return address
    return address


def _addresses(fields: Sequence[str]) -> list[str]:
    return [one.strip(" \t") for one in ",".join(fields)[-_LONGEST:].split(",")]


def _elements(fields: Sequence[str]) -> list[str]:
    """What stands behind ``for`` in each; all is read, as a quote left open would swallow what follows."""
    text = ",".join(fields)
    if len(text) > _LONGEST:
        raise Garbled("forwarded-too-long")
    return list(_read(text))


def _read(text: str) -> Iterator[str]:
    at = 0
    while at <= len(text):
        found = _ELEMENTS.match(text, at)
        if found is None:
            raise Garbled("forwarded-malformed")
        names = [pair for pair in _PAIRS.findall(found[1]) if _FOR.fullmatch(pair)]
        if len(names) > 1:
            raise Garbled("forwarded-malformed")
        if found[1]:
            yield _unquoted(names[0][4:]) if names else ""
        if found.end() == len(text) and not found[0].endswith(","):
            return
        at = found.end()


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _address(hop: str) -> str:
    """With or without a port, in brackets or not; ``unknown`` and ``_names`` are none."""
    found = _V4.fullmatch(hop) or _V6.fullmatch(hop)
    try:
        address = ipaddress.ip_address(found[1] if found else hop)
    except ValueError:
        raise Garbled("forwarded-address") from None
    if "%" in hop:
        raise Garbled("forwarded-address")
    mapped = getattr(address, "ipv4_mapped", None)  # RFC 4291 §2.5.5.2
    return str(mapped or address)
