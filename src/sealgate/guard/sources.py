"""Where the facts about a request come from: fixed by the engine, never by the request.

A source returns None where the engine did not say what it promised; adapters then fail closed. Header fields
of these names are the engine's alone: it removes what comes from outside, whatever the spelling, and the
socket is private.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sealgate.guard.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping
    from typing import Any

__all__ = ["EnvoySource", "Origin", "Source"]

_ENDPOINT = re.compile(r"(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]{1,5})")
_MOST_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Origin:
    """The caller's end of a connection: who, and its TCP or UDP port."""

    client: Client
    port: int


class Source(Protocol):
    """Facts of one engine. Both return the origin and the raw target (as latin-1), or None: fail closed."""

    def from_environ(self, environ: MutableMapping[str, Any]) -> tuple[Origin, str] | None:
        """For WSGI; takes the engine's fields out of the environ."""

    def from_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[Origin, str] | None:
        """For ASGI; the adapter leaves the engine's fields out of what the app sees."""


class EnvoySource:
    """``sealgate-address`` and ``sealgate-path``, set by Envoy over the worker's private unix socket."""

    def __init__(self) -> None:
        # Connections are kept alive, so the same few texts come again and again. Bounded.
        self._origins: dict[str, Origin] = {}

    def from_environ(self, environ: MutableMapping[str, Any]) -> tuple[Origin, str] | None:
        """Facts from a WSGI environ; servers join duplicates with commas, which no address contains."""
        address = environ.pop("HTTP_SEALGATE_ADDRESS", None)
        target = environ.pop("HTTP_SEALGATE_PATH", None)
        if address is None or target is None:
            return None
        origin = self._origins.get(address) or self._origin(address)
        return (origin, target) if origin else None

    def from_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[Origin, str] | None:
        """Facts from an ASGI header list; each field exactly once."""
        address = target = ""
        count = 0
        for name, value in headers:
            if name == b"sealgate-address":
                address = value.decode("latin-1")
                count += 1
            elif name == b"sealgate-path":
                target = value.decode("latin-1")
                count += 16
        if count != 17:
            return None
        origin = self._origins.get(address) or self._origin(address)
        return (origin, target) if origin else None

    def _origin(self, text: str) -> Origin | None:
        origin = _parse(text)
        if origin is not None:
            if len(self._origins) >= _MOST_REMEMBERED:
                self._origins = {}
            self._origins[text] = origin
        return origin


def _parse(text: str) -> Origin | None:
    """``192.0.2.1:50000`` or ``[2001:db8::1]:50000``; an IPv4 address in IPv6 clothes is an IPv4 address."""
    match = _ENDPOINT.fullmatch(text)
    if not match:
        return None
    try:
        address = ipaddress.ip_address(match[1] or match[2])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    port = int(match[3])
    return Origin(Client(str(address)), port) if port <= 65535 else None
