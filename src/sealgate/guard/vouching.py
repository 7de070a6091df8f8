"""Which lists could say that a certificate is not revoked: those that are fetched are not always there.

Theory: who is revoked stands in the table of the revoked; that a list is in force stands there too, under a
key of its own. A certificate whose lists are fetched counts only while one of its keys stands there: what
nobody knows is never taken for "not revoked" (RFC 5280 §6.3.3: UNDETERMINED).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from sealgate.policy.identity import listed_key, status_key
from sealgate.policy.points import Point, points_of, responders_of

if TYPE_CHECKING:
    from sealgate.guard.compiled import Authority

__all__ = ["vouchers"]
_NO_REVOCATION = x509.ObjectIdentifier("2.5.29.56")  # RFC 9608 §2: id-ce-noRevAvail


def vouchers(
    certificate: x509.Certificate, authority: Authority, issuer_key: bytes
) -> tuple[bytes, ...] | None:
    """Keys of which one must be known; none: nothing could vouch for it; None: nothing need.

    Args:
        certificate: signed by that key.
        authority: whose key it is.
        issuer_key: SHA-256 of the issuer's SubjectPublicKeyInfo.
    """
    if not authority.fetched:
        return None
    if _is_authority(certificate):  # lists for clients say nothing of authorities (RFC 5280 §5.2.5)
        return ()
    if authority.fetched != "auto":
        return (listed_key(issuer_key, Point.at(authority.fetched).mark),)
    points = points_of(certificate)
    if points.usable or points.left_out:  # one with an odd point is judged by a list, or not at all
        return tuple(listed_key(issuer_key, point.mark) for point in points.usable)
    if _is_unrevocable(certificate):
        return None
    if authority.ocsp and responders_of(certificate):
        return (status_key(issuer_key, certificate.serial_number),)
    return ()


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _is_unrevocable(certificate: x509.Certificate) -> bool:
    """Does its authority say that it never revokes it: it lives so shortly (RFC 9608)?"""
    try:
        certificate.extensions.get_extension_for_oid(_NO_REVOCATION)
    except x509.ExtensionNotFound:
        return False
    return True
