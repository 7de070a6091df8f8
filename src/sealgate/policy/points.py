"""Where an authority publishes who is revoked: distribution points (RFC 5280 §4.2.1.13), responders. Pure.

The guard reads them in clients' certificates, to know which lists could vouch for them, and whoever fetches
lists, to know where they are. It stands here because both must mean the same.

Only http and https are asked. What is left out is named, so that "there is no list" can say why. A point for
some reasons only, or whose lists somebody else signs (cRLIssuer), leads to lists that are never read here.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

__all__ = ["LeftOut", "Point", "Points", "Why", "points_of", "responders_of"]

_MOST = 8
"""Points of a certificate, and addresses of a point: who is verified may still be odd."""
_LONGEST = 2048
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)  # RFC 3986 §2: what is anything else is no address


class Why(enum.StrEnum):
    """Why a point, or an address of one, is not asked; stable words."""

    REASONS = "some-reasons"
    INDIRECT = "indirect"
    RELATIVE = "relative-name"
    DIRECTORY = "directory-name"
    SCHEME = "scheme"
    LONG = "too-long"
    MANY = "too-many"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Point:
    """One list, to be had at each of its addresses.

    Attributes:
        urls: http and https, in the certificate's order; the next is for when one fails.
        names: everything that the point is called by, to find in a list's IssuingDistributionPoint.
    """

    urls: tuple[str, ...]
    names: tuple[x509.GeneralName, ...]

    @property
    def mark(self) -> bytes:
        """By what it is known: SHA-256 of its addresses, so that a list for one is never another's."""
        said = [one.encode(errors="surrogatepass") for one in self.addresses]
        return sha256(b"".join(len(one).to_bytes(4, "big") + one for one in said)).digest()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of its names those that are addresses, of whatever kind (ldap, too)."""
        return tuple(one.value for one in self.names if isinstance(one, x509.UniformResourceIdentifier))

    @classmethod
    def at(cls, *addresses: str) -> Point:
        """The one that is called by these addresses alone: as they are known, so are lists for it."""
        names = tuple(map(x509.UniformResourceIdentifier, addresses))
        return cls(_urls(names), names)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is not asked. ``what``: as the certificate has it, so hostile; for a whole point empty."""

    why: Why
    what: str


@dataclass(frozen=True, slots=True)
class Points:
    """Of one certificate."""

    usable: tuple[Point, ...]
    left_out: tuple[LeftOut, ...]


def points_of(certificate: x509.Certificate) -> Points:
    """The points in a certificate that was verified, in its order."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return Points((), ())
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return Points((), (LeftOut(Why.DAMAGED, ""),))
    usable, left_out = list[Point](), list[LeftOut]()
    for number, each in enumerate(value):
        if number == _MOST:
            left_out.append(LeftOut(Why.MANY, ""))
            break
        if why := _unusable(each):
            left_out.append(LeftOut(why, ""))
            continue
        names = tuple(each.full_name or ())
        if len(names) > 2 * _MOST:
            left_out.append(LeftOut(Why.MANY, ""))
            continue
        passed = list(_passed_over(names))
        left_out += passed
        if urls := _urls(names):
            usable.append(Point(urls, names))
    return Points(tuple(usable), tuple(left_out))


def responders_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Who answers for this one certificate (OCSP): http and https addresses (RFC 5280 §4.2.2.1)."""
    try:
        value = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ()
    names = (one.access_location for one in value if one.access_method == AuthorityInformationAccessOID.OCSP)
    return tuple(dict.fromkeys(one.value for one in names if _why_not(one) is None))[:_MOST]


def _unusable(point: x509.DistributionPoint) -> Why | None:
    if point.crl_issuer:
        return Why.INDIRECT
    if point.reasons is not None:
        return Why.REASONS
    return Why.RELATIVE if point.full_name is None else None


def _urls(names: tuple[x509.GeneralName, ...]) -> tuple[str, ...]:
    urls = [one.value for one in names if _why_not(one) is None]
    return tuple(dict.fromkeys(urls))[:_MOST]


def _passed_over(names: tuple[x509.GeneralName, ...]) -> Iterator[LeftOut]:
    for name in names[: 2 * _MOST]:
        if why := _why_not(name):
            yield LeftOut(why, str(name.value)[:_LONGEST])
    if sum(_why_not(name) is None for name in names) > _MOST or len(names) > 2 * _MOST:
        yield LeftOut(Why.MANY, "")


def _why_not(name: x509.GeneralName) -> Why | None:
    """None: it can be asked."""
    if not isinstance(name, x509.UniformResourceIdentifier):
        return Why.DIRECTORY
    if not name.value.lower().startswith(("http://", "https://")):  # RFC 3986 §3.1: in any case
        return Why.SCHEME
    if not _VISIBLE.fullmatch(name.value):
        return Why.DAMAGED
    return Why.LONG if len(name.value) > _LONGEST else None
