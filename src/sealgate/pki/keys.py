"""Private keys: making, writing, reading.

A key is written 0600 by ``write_atomic`` and nowhere else; it is never logged, passed as an argument to a
program or put into the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealgate._system.files import check_not_readable_by_others
from sealgate.errors import CertificateError

__all__ = [
    "KeyType",
    "PrivateKey",
    "PublicKey",
    "describe",
    "generate",
    "load_private",
    "parse_private",
    "public_spki",
    "signature_hash",
    "spki",
    "to_pem",
]

KeyType = Literal["ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_CURVES: dict[str, ec.EllipticCurve] = {"ecdsa-p256": ec.SECP256R1(), "ecdsa-p384": ec.SECP384R1()}
_RSA_BITS = {"rsa-3072": 3072, "rsa-4096": 4096}
_RSA_MINIMUM = 2048


def generate(key_type: KeyType) -> PrivateKey:
    """A fresh key of the type a policy names."""
    if key_type in _CURVES:
        return ec.generate_private_key(_CURVES[key_type])
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS[key_type])


def signature_hash(key: PrivateKey | PublicKey) -> hashes.SHA256 | hashes.SHA384:
    """The digest to sign with: as strong as the curve (RFC 5480 §4), SHA-256 for RSA."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) and key.curve.key_size > 256:
        return hashes.SHA384()
    return hashes.SHA256()


def to_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """PKCS#8 PEM (RFC 5208), encrypted where a passphrase is given."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def spki(key: PrivateKey | PublicKey) -> bytes:
    """The DER of the SubjectPublicKeyInfo: equal exactly where the keys are."""
    public = key if isinstance(key, PublicKey) else key.public_key()
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_spki(certificate: x509.Certificate) -> bytes:
    """The DER of a certificate's SubjectPublicKeyInfo."""
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def describe(key: object) -> str:
    """A key's kind for people: ``ECDSA P-256``, ``RSA 3072``."""
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        return f"ECDSA {names.get(key.curve.name, key.curve.name)}"
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.lstrip("_").removesuffix("PublicKey").removesuffix("PrivateKey")


def parse_private(pem: bytes, origin: str) -> PrivateKey:
    """An unencrypted PEM key of a kind that TLS servers use.

    Args:
        pem: the bytes; the first key in them counts.
        origin: where they are from, for messages.

    Raises:
        CertificateError: ``key-encrypted``, ``key-unreadable``, ``key-unsupported``, ``key-weak``.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateError(
            "key-encrypted",
            f"the private key in {origin} is encrypted",
            "decrypt it into a file of mode 0600: openssl pkey -in KEY -out NEW",
            origin=origin,
        ) from None
    except Exception as error:
        raise CertificateError(
            "key-unreadable",
            f"there is no PEM private key in {origin} that can be read",
            "give the PEM file that begins with -----BEGIN PRIVATE KEY-----",
            origin=origin,
        ) from error
    return _usable(key, origin)


def _usable(key: object, origin: str) -> PrivateKey:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _RSA_MINIMUM:
            raise CertificateError(
                "key-weak",
                f"the key in {origin} has {key.key_size} bits of RSA",
                "make a new one: sealgate cert request",
                origin=origin,
            )
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return key
    raise CertificateError(
        "key-unsupported",
        f"the key in {origin} is {describe(key)}",
        "use ECDSA P-256, ECDSA P-384 or RSA: sealgate cert request makes one",
        origin=origin,
    )


def load_private(path: Path) -> PrivateKey:
    """Read a key file that nobody else can read.

    Raises:
        StateInsecure: ``key-readable-by-others``.
        CertificateError: ``key-unreadable`` and as :func:`parse_private`.
    """
    try:
        check_not_readable_by_others(path, code="key-readable-by-others")
        pem = path.read_bytes()
    except OSError as error:
        raise CertificateError(
            "key-unreadable",
            f"the key file {path} cannot be read ({error.strerror})",
            "put it there, readable by this user alone",
            path=str(path),
        ) from error
    return parse_private(pem, str(path))
