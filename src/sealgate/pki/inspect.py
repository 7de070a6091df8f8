"""What a certificate says, for people, JSON and comparisons."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealgate.pki.keys import describe, public_spki

__all__ = [
    "Facts",
    "facts",
    "fingerprint",
    "issuer_key_hash",
    "key_type_of",
    "names_of",
    "number_text",
    "pem_of",
    "serial_text",
]


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, lower-case hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def issuer_key_hash(issuer: x509.Certificate) -> str:
    """SHA-256 of the issuer's SubjectPublicKeyInfo: with the serial, how revocation names a certificate."""
    return hashlib.sha256(public_spki(issuer)).hexdigest()


def pem_of(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_type_of(key: object) -> str:
    """A public key's type in the policy's words (``ecdsa-p256``, ``rsa-3072``); empty where it has none."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384"}.get(key.curve.name, "")
    return f"rsa-{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else ""


def serial_text(certificate: x509.Certificate) -> str:
    """The serial as upper-case hex of whole bytes, as openssl shows it."""
    return number_text(certificate.serial_number)


def number_text(serial: int) -> str:
    """The same of a serial number on a list."""
    text = f"{serial:X}"
    return text.zfill(len(text) + len(text) % 2)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """DNS names and IP addresses of the subject alternative name, in order; the subject does not count."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress))


@dataclass(frozen=True, slots=True)
class Facts:
    """A certificate at a glance. Texts are as the certificate has them: escape them for where they go."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    serial: str
    not_before: datetime
    not_after: datetime
    fingerprint: str
    key: str
    signature: str
    authority: bool

    def as_json(self) -> dict[str, object]:
        """Plain data; dates as RFC 3339."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "names": list(self.names),
            "serial": self.serial,
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "fingerprint_sha256": self.fingerprint,
            "key": self.key,
            "signature": self.signature,
            "authority": self.authority,
        }


def facts(certificate: x509.Certificate) -> Facts:
    """What the certificate says of itself (nothing is verified here)."""
    try:
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    digest = certificate.signature_hash_algorithm
    return Facts(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=names_of(certificate),
        serial=serial_text(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=fingerprint(certificate),
        key=describe(certificate.public_key()),
        signature=digest.name if digest else certificate.signature_algorithm_oid.dotted_string,
        authority=authority,
    )
