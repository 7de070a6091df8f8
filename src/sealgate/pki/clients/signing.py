"""Keys that somebody else has: what a signing request (PKCS#10, RFC 2986) may ask for. Pure.

A request is a stranger's text with a signature under it. The signature proves that the key is there, and
nothing else: no name in it is taken because it stands there. What it asks for beyond a client certificate is
refused, not dropped: whoever asked for an authority must not believe that he got one.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealgate.errors import CertificateError
from sealgate.pki.keys import PublicKey, describe
from sealgate.policy.quoting import printable

__all__ = ["LARGEST", "Requested", "public_key", "read_request"]

LARGEST = 64 * 1024
_RSA_LEAST, _RSA_MOST = 2048, 8192  # bits; larger ones only cost whoever verifies
_MADE_BY_US = frozenset({x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid})


@dataclass(frozen=True, slots=True)
class Requested:
    """A request whose signature holds.

    Attributes:
        spki: DER of the public key.
        names: what it calls its holder, escaped for people: not one of them is taken.
    """

    spki: bytes
    names: tuple[str, ...]


def public_key(spki: bytes, origin: str) -> PublicKey:
    """A key that a client may have.

    Raises:
        CertificateError: ``key-unreadable``, ``key-weak``, ``key-unsupported``.
    """
    try:
        key = serialization.load_der_public_key(spki)
    except Exception as error:
        raise CertificateError(
            "key-unreadable",
            f"the public key in {origin} cannot be read",
            "make another key and request",
        ) from error
    return _strong(key, origin)


def _strong(key: object, origin: str) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1"}:
        return key
    if not isinstance(key, rsa.RSAPublicKey):
        raise CertificateError(
            "key-unsupported",
            f"the key in {origin} is {describe(key)}",
            "use ECDSA P-256, ECDSA P-384, or RSA of 2048 to 8192 bits",
        )
    if not _RSA_LEAST <= key.key_size <= _RSA_MOST or key.public_numbers().e < 65537:
        raise CertificateError(
            "key-weak",
            f"the key in {origin} is RSA of {key.key_size} bits, or has a small exponent",
            "use ECDSA P-256, or RSA of 2048 to 8192 bits with exponent 65537",
        )
    return key


def _unreadable(origin: str) -> CertificateError:
    return CertificateError(
        "csr-unreadable",
        f"there is no signing request in {origin} that can be read",
        "give a PEM or DER file made by: openssl req -new -key KEY -subj /CN=NAME -out REQUEST",
    )


def _refused(origin: str, why: str) -> CertificateError:
    return CertificateError(
        "csr-refused",
        f"the request in {origin} {why}",
        "make one that asks for a client's certificate and nothing more",
    )


def read_request(data: bytes, origin: str) -> Requested:
    """A request for a client's certificate, PEM or DER.

    Args:
        data: the bytes of the file.
        origin: where they are from, for messages.

    Raises:
        CertificateError: ``csr-unreadable``; ``csr-signature``; ``csr-refused``: it asks for what a client
            must not have; ``key-weak``, ``key-unsupported``.
    """
    if len(data) > LARGEST:
        raise _unreadable(origin)
    try:
        pem = b"-----BEGIN" in data
        request = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        extensions, names = tuple(request.extensions), _names(request)
        key = request.public_key()
    except Exception as error:
        raise _unreadable(origin) from error
    strong = _strong(key, origin)
    if not _signed(request):
        raise CertificateError(
            "csr-signature",
            f"the request in {origin} was not signed with its own key, or with a digest that is broken",
            "ask its owner for another one",
        )
    for extension in extensions:
        _check(extension, origin)
    der = strong.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Requested(der, names)


def _signed(request: x509.CertificateSigningRequest) -> bool:
    with contextlib.suppress(Exception):  # an algorithm that nobody knows proves nothing
        digest = request.signature_hash_algorithm
        return digest is not None and digest.digest_size >= 32 and request.is_signature_valid
    return False


def _names(request: x509.CertificateSigningRequest) -> tuple[str, ...]:
    common = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    found = [f"cn={one.value!s}" for one in common]
    try:
        others = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        others = x509.SubjectAlternativeName([])
    kinds = {x509.DNSName: "dns", x509.UniformResourceIdentifier: "uri", x509.RFC822Name: "email"}
    found += [f"{kinds.get(type(one), 'other')}={one.value!s}" for one in others]
    return tuple(printable(one[:80]) for one in found[:16])


def _check(extension: x509.Extension[x509.ExtensionType], origin: str) -> None:
    """Raises CertificateError, code ``csr-refused``."""
    value = extension.value
    if isinstance(value, x509.BasicConstraints):
        if value.ca:
            raise _refused(origin, "asks for an authority (CA)")
    elif isinstance(value, x509.KeyUsage):
        if value.key_cert_sign or value.crl_sign:
            raise _refused(origin, "asks to sign certificates or lists")
    elif isinstance(value, x509.ExtendedKeyUsage):
        others = [usage.dotted_string for usage in value if usage != ExtendedKeyUsageOID.CLIENT_AUTH]
        if others:
            raise _refused(origin, f"asks for other uses than a client's ({', '.join(others[:4])})")
    elif not isinstance(value, x509.SubjectAlternativeName) and extension.oid not in _MADE_BY_US:
        raise _refused(origin, f"asks for the extension {extension.oid.dotted_string}")
