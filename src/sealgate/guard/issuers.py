"""Which key signed a client's certificate: found out by its signature, never by a name in it.

The engine has verified the chain; it does not say which of several keys with one name it was. Revocation is a
matter of that key and the serial number (RFC 5280 §5.2.1), so it is found out here, once per certificate.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.guard.twins import orders
from sealgate.guard.vouching import vouchers
from sealgate.policy.identity import lapsed_key, revocation_key

if TYPE_CHECKING:
    from sealgate.guard.compiled import Authority

__all__ = ["Issuers", "Known"]


class Known(NamedTuple):
    """By whom a certificate counts.

    Attributes:
        authority: how the policy calls it; empty: which one cannot be told.
        revocation_key: by what its revocation is known; empty: its issuer is not one of the policy's.
        lapsed_key: by what it is known that its authority's lists count no more; empty: it has none that may.
        own: by the private authority, which revokes, and blocks nobody.
        orders: of its issuer's curve (:func:`~sealgate.guard.twins.orders`); None: its issuer is unknown.
        vouchers: keys of which one must be known, or the certificate does not count: of lists that tell who
            is revoked; None: it counts without.
        issuer_keys: by what it is known that its issuer's own certificate is revoked.
    """

    authority: str
    revocation_key: bytes
    lapsed_key: bytes
    own: bool = False
    orders: tuple[int, ...] | None = None
    vouchers: tuple[bytes, ...] | None = None
    issuer_keys: tuple[bytes, ...] = ()


class _Issuer(NamedTuple):
    certificate: x509.Certificate
    key_hash: bytes
    authority: str
    lapsed_key: bytes
    own: bool
    orders: tuple[int, ...]
    by: Authority
    revocation_keys: tuple[bytes, ...]


class Issuers:
    """The authorities that sign clients' certificates themselves.

    Args:
        authorities: those that count.
        former: certificates of those that did once, base64 of DER: of a connection older than the policy.

    Raises:
        ValueError: one of them has something that is no certificate.
    """

    __slots__ = ("_closed", "_former", "_known", "_sole")

    def __init__(self, authorities: Sequence[Authority] = (), former: Iterable[str] = ()) -> None:
        self._known = tuple(_issuers(authorities))
        self._former = _loaded(former)
        # By lists, or between several, nobody can judge whose issuer he does not know.
        self._closed = len(authorities) > 1 or any(
            one.own or one.listed or one.fetched for one in authorities
        )
        self._sole = authorities[0].name if authorities else ""

    def of(self, certificate: x509.Certificate) -> Known | None:
        """By whom a certificate counts; None: by nobody.

        Of a leaf of somebody in between, only the engine knows the authority, and only when its connection
        began: where there is one alone, without lists, it is that one's; and where another one counted
        before, it may be that one's.

        Args:
            certificate: verified by the engine, when its connection began.
        """
        for issuer in self._known:
            if _signed(certificate, issuer.certificate):
                key = revocation_key(issuer.key_hash, certificate.serial_number)
                return Known(
                    issuer.authority,
                    key,
                    issuer.lapsed_key,
                    issuer.own,
                    issuer.orders,
                    vouchers(certificate, issuer.by, issuer.key_hash),
                    issuer.revocation_keys,
                )
        if self._closed or any(_signed(certificate, issuer) for issuer in self._former):
            return None
        return Known("" if self._former else self._sole, b"", b"")


def _issuers(authorities: Iterable[Authority]) -> Iterable[_Issuer]:
    for authority in authorities:
        lapsed = lapsed_key(authority.name) if authority.listed else b""
        certificates = _loaded(authority.issuers)
        for one in certificates:
            above = (other for other in certificates if other is not one and _signed(one, other))
            keys = tuple(revocation_key(_key_hash(other), one.serial_number) for other in above)
            yield _Issuer(
                one, _key_hash(one), authority.name, lapsed, authority.own, orders(one), authority, keys
            )


def _loaded(certificates: Iterable[str]) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_der_x509_certificate(base64.b64decode(text)) for text in certificates)


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _key_hash(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(key).digest()
