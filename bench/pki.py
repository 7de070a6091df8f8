"""The certificate that peers serve: ECDSA P-256, a leaf under an intermediate under a root.

The same shape as Sealgate's own (leaf, issuing authority), so that everybody sends as many bytes.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Credentials", "make_credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files: the chain (leaf first), its key, and the root that clients trust."""

    chain: Path
    key: Path
    root: Path


def make_credentials(directory: Path, address: str) -> Credentials:
    """Write a fresh chain for ``localhost`` and ``address`` into ``directory``."""
    root_key, middle_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root = _sign("bench root", root_key, "bench root", root_key, authority=True)
    middle = _sign("bench servers", middle_key, "bench root", root_key, authority=True)
    leaf = _sign("localhost", leaf_key, "bench servers", middle_key, names=("localhost", address))
    made = Credentials(directory / "chain.pem", directory / "key.pem", directory / "root.pem")
    made.chain.write_bytes(_pem(leaf) + _pem(middle))
    made.root.write_bytes(_pem(root))
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _sign(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    names: tuple[str, ...] = (),
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
