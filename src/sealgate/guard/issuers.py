"""Which key signed a client's certificate: found out by its signature, never by a name in it.

The engine has verified the chain; it does not say which of several keys with one name it was. Revocation is a
matter of that key and the serial number (RFC 5280 §5.2.1), so it is found out here, once per certificate.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.policy.identity import revocation_key

__all__ = ["Issuers"]


class Issuers:
    """The authorities that sign clients' certificates themselves.

    Args:
        certificates: theirs, base64 of DER.
        name: how the policy calls their authority.
        only: nobody else does: a certificate of somebody else's is none that counts.
        former: those who did once, base64 of DER: of a connection that is older than the policy.

    Raises:
        ValueError: one of them is no certificate.
    """

    __slots__ = ("_former", "_known", "name", "only")

    def __init__(
        self,
        certificates: Iterable[str] = (),
        name: str = "",
        *,
        only: bool = False,
        former: Iterable[str] = (),
    ) -> None:
        self._known = tuple((one, _key_hash(one)) for one in _loaded(certificates))
        self._former = _loaded(former)
        self.name, self.only = name, only

    def key(self, certificate: x509.Certificate) -> bytes:
        """By what its revocation is known; empty: another key signed it."""
        for issuer, key_hash in self._known:
            if _signed(certificate, issuer):
                return revocation_key(key_hash, certificate.serial_number)
        return b""

    def authority(self, key: bytes) -> str:
        """By which authority it counts; empty: that cannot be told.

        Of a leaf of somebody in between only the engine knows, and only when its connection began: where
        another authority counted before, it may be that one's.

        Args:
            key: of :meth:`key`.
        """
        return self.name if key or not self._former else ""

    def counts(self, certificate: x509.Certificate, key: bytes) -> bool:
        """Is it by somebody who signs clients' certificates today?

        Args:
            certificate: verified by the engine, when its connection began.
            key: of :meth:`key`.
        """
        if key:
            return True
        return not self.only and not any(_signed(certificate, issuer) for issuer in self._former)


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
