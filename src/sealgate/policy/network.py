"""Who may come in, by address: networks, and sets of addresses in which one search finds an answer. Pure.

The rules: an empty ``allow`` is everyone; ``deny`` wins over ``allow``, however narrow the one and wide the
other; an IPv4 address in IPv6 clothes (``::ffff:192.0.2.1``, RFC 4291 §2.5.5.2) is the IPv4 address, in the
policy and in requests; what is no address at all is nobody's.

Theory: the addresses of a family are numbers. A set of them is kept as sorted bounds, at each of which
membership changes: a number is in it if an odd number of bounds is not above it. So a hundred thousand
networks cost one search in a sorted list, and union and difference are walks along the bounds.

Servers that keep networks in a trie go by the longest prefix that fits. :func:`decided` writes the same
decision for them: an allowed network within a denied one would win there, so it is left out.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "EVERYONE",
    "FAMILIES",
    "MAPPED",
    "Admitted",
    "Decided",
    "admitted",
    "decided",
    "network_of",
    "shut_out",
    "span",
]

FAMILIES = {4: 32, 6: 128}
"""Version of IP to the bits of its addresses."""

MAPPED = "::ffff:0:0/96"
"""Where IPv6 holds the whole of IPv4 (RFC 4291 §2.5.5.2)."""

_MAPPED_LENGTH = 96
_REMEMBERED = 2  # the policy in force, and the one that replaces it
_LENGTH = re.compile(r"[0-9]{1,3}", re.ASCII)
Bounds = tuple[int, ...]


def network_of(value: str) -> str:
    """A network in its shortest form, ``10.0.0.0/8``; a bare address is a network of one.

    Raises:
        ValueError: what is wrong, as a sentence part.
    """
    host, slash, digits = value.partition("/")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("not an IP address before the slash" if slash else "not an IP address") from None
    if "%" in host:
        raise ValueError("an address with a zone is not supported")
    width = address.max_prefixlen
    if slash and not (_LENGTH.fullmatch(digits) and int(digits) <= width):
        raise ValueError(f"no number from 0 to {width} after the slash")
    length = int(digits) if slash else width
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None and length >= _MAPPED_LENGTH:
        address, length, width = mapped, length - _MAPPED_LENGTH, 32
    own = int(address) & ((1 << (width - length)) - 1)
    if own:
        right = type(address)(int(address) - own)
        raise ValueError(f"bits after the first {length} are set; the network is {right}/{length}")
    return f"{address}/{length}"


def span(network: str) -> tuple[int, int, int]:
    """Version of IP, the first number and the one after the last, of what :func:`network_of` returned."""
    host, _, length = network.partition("/")
    version = 6 if ":" in host else 4
    first = int(ipaddress.IPv6Address(host)) if version == 6 else int(ipaddress.IPv4Address(host))
    return version, first, first + (1 << (FAMILIES[version] - int(length)))


@dataclass(frozen=True, slots=True)
class Admitted:
    """The addresses that may come in.

    Attributes:
        four: bounds among IPv4 addresses.
        six: bounds among IPv6 addresses; what is mapped there does not count.
    """

    four: Bounds
    six: Bounds

    def admits(self, address: str) -> bool:
        """May this address come in? A zone (``%eth0``) does not matter; no address may not."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is None:
                return _inside(self.six, int(found))
            found = found.ipv4_mapped
        return _inside(self.four, int(found))

    @property
    def everyone(self) -> bool:
        """Is nobody shut out?"""
        return self == EVERYONE

    @property
    def nobody(self) -> bool:
        """Is everyone shut out?"""
        return not self.four and not self.six


EVERYONE = Admitted((0, 1 << 32), (0, 1 << 128))


@lru_cache(maxsize=_REMEMBERED)
def admitted(allow: tuple[str, ...], deny: tuple[str, ...]) -> Admitted:
    """Who may come in, of networks as :func:`network_of` returns them."""
    wanted, refused = _sets(allow), _sets(deny)
    wanted = wanted if wanted[4] or wanted[6] else {4: EVERYONE.four, 6: EVERYONE.six}
    return Admitted(_without(wanted[4], refused[4]), _without(wanted[6], refused[6]))


def shut_out(networks: Iterable[str], deny: Iterable[str]) -> tuple[int, ...]:
    """The places of those networks of which denied ones leave nothing."""
    refused = _sets(deny)
    return tuple(place for place, network in enumerate(networks) if _covered(network, refused))


@dataclass(frozen=True, slots=True)
class Decided:
    """The same decision for whoever goes by the longest prefix that fits.

    Attributes:
        default: may others come in?
        allow, deny: networks, each once, none of ``allow`` within ``deny``.
    """

    default: bool
    allow: tuple[str, ...]
    deny: tuple[str, ...]


# A policy is rendered several times, and each time for several listeners.
@lru_cache(maxsize=_REMEMBERED)
def decided(allow: tuple[str, ...], deny: tuple[str, ...]) -> Decided:
    """For networks as :func:`network_of` returns them."""
    wanted, refused = tuple(dict.fromkeys(allow)), tuple(dict.fromkeys(deny))
    lost = set(shut_out(wanted, refused))
    return Decided(not wanted, tuple(n for place, n in enumerate(wanted) if place not in lost), refused)


def _sets(networks: Iterable[str]) -> dict[int, Bounds]:
    spans: dict[int, list[tuple[int, int]]] = {version: [] for version in FAMILIES}
    for network in networks:
        version, first, after = span(network)
        spans[version].append((first, after))
    return {version: _union(found) for version, found in spans.items()}


def _union(spans: list[tuple[int, int]]) -> Bounds:
    bounds: list[int] = []
    for first, after in sorted(spans):
        if bounds and first <= bounds[-1]:
            bounds[-1] = max(bounds[-1], after)
        else:
            bounds += (first, after)
    return tuple(bounds)


def _without(wanted: Bounds, refused: Bounds) -> Bounds:
    bounds: list[int] = []
    for bound in sorted({*wanted, *refused}):
        if (_inside(wanted, bound) and not _inside(refused, bound)) != bool(len(bounds) % 2):
            bounds.append(bound)
    return tuple(bounds)


def _inside(bounds: Bounds, number: int) -> bool:
    return bool(bisect_right(bounds, number) % 2)


def _covered(network: str, refused: dict[int, Bounds]) -> bool:
    version, first, after = span(network)
    bounds = refused[version]
    place = bisect_right(bounds, first)
    return bool(place % 2) and bounds[place] >= after
