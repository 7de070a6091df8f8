"""Where an outgoing request may go whose address a stranger chose. Pure.

The rules: http and https, a host, no credentials; and by address, after the name was resolved and for each
redirect again, only the whole internet: never ourselves, this link, a private network, a carrier's, a cloud's
metadata, multicast; nor any of these in IPv6 clothes. What is not named as public is not: of IPv6 only
2000::/3 is given out (RFC 4291 §2.4), and what there leads elsewhere by itself (6to4, Teredo) is left out.
Networks that the operator lists are exempt. An address of a network's own translator prefix (RFC 6052 §2.2)
cannot be told from others.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

__all__ = [
    "Address",
    "Destination",
    "Network",
    "NotAllowed",
    "destination_of",
    "is_public",
    "led_to",
    "may_go",
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST = 2048
_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_.])?", re.ASCII)
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1: of the whole internet's IPv4
_ELSEWHERE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # RFC 6890: protocol assignments
        "168.63.129.16/32",  # Azure's own services, at an address of the whole internet
        "192.88.99.0/24",  # RFC 7526: relays of 6to4
        "2001::/23",  # RFC 2928: Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # RFC 3056: 6to4, an IPv4 address inside
        "3fff::/20",  # RFC 9637: documentation
    )
)


class NotAllowed(ValueError):
    """An address that is not asked; the text is a part of a sentence."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to, by name.

    Attributes:
        secure: https.
        host: lower case, without brackets.
        target: path and query, as they are sent.
    """

    secure: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """For the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole."""
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.target}"


def destination_of(url: str) -> Destination:
    """What an absolute address means. Raises :class:`NotAllowed`.

    ASCII only, as certificates and Location fields have them (RFC 3986): what needs an interpretation first
    may be interpreted in two ways.
    """
    if len(url) > _LONGEST or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise NotAllowed("an address that is none")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise NotAllowed("an address that is none") from None
    if parts.scheme not in _PORTS:
        raise NotAllowed("an address that is neither http nor https")
    if "@" in parts.netloc:
        raise NotAllowed("an address with credentials")
    if port == 0:
        raise NotAllowed("an address without a port")
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):  # RFC 3986 §3.2.2: of a future version
        raise NotAllowed("an address with a host that is none")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme == "https", _host(parts.hostname), port or _PORTS[parts.scheme], target)


def _host(host: str | None) -> str:
    if host and ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise NotAllowed("an address with a host that is none") from None
        if address.scope_id is not None:
            raise NotAllowed("an address of one link only")
        return str(address)
    if not host or not _HOST.fullmatch(host) or ".." in host:
        raise NotAllowed("an address with a host that is none")
    return host


def led_to(before: Destination, location: str) -> Destination:
    """Where a redirect leads (RFC 9110 §10.2.2). Raises :class:`NotAllowed`."""
    if not _VISIBLE.fullmatch(location):
        raise NotAllowed("a redirect to an address that is none")
    try:
        after = destination_of(urljoin(before.url, location))
    except NotAllowed as error:
        raise NotAllowed(f"a redirect to {error}") from None
    except ValueError:
        raise NotAllowed("a redirect to an address that is none") from None
    if before.secure and not after.secure:
        raise NotAllowed("a redirect from https to http")
    return after


def may_go(text: str, allowed: Sequence[Network] = ()) -> Address | None:
    """The address to connect to; None: not there.

    Args:
        text: as the resolver gave it.
        allowed: networks that are exempt. One of IPv4 also counts for its addresses in IPv6 clothes.
    """
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return None
        found = found.ipv4_mapped or found  # to the kernel the two are one (RFC 4291 §2.5.5.2)
    inner = _inner(found)
    exempt = any(one in network for network in allowed for one in {found, inner})
    return found if exempt or is_public(found) else None


def is_public(address: Address) -> bool:
    """Is this an address of the whole internet? Of one in IPv6 clothes the inner one counts."""
    inner = _inner(address)
    if inner.is_multicast or inner.is_reserved or not inner.is_global:
        return False
    if any(inner in network for network in _ELSEWHERE):
        return False
    return isinstance(inner, ipaddress.IPv4Address) or inner in _GIVEN_OUT


def _inner(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address
