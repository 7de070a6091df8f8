"""Certificates of other people, sound and odd, for tests."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealgate.pki.inspect import pem_of
from sealgate.pki.issue import alternative_names
from sealgate.pki.keys import to_pem

NOW = datetime(2030, 3, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return pem_of(self.certificate)

    @property
    def key_pem(self) -> bytes:
        return to_pem(self.key)


def make(
    name: str,
    issuer: Made | None = None,
    *,
    names: Sequence[str] = (),
    ca: bool = False,
    key: Any = None,
    first: datetime = NOW - 10 * DAY,
    last: datetime = NOW + 80 * DAY,
    usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.SERVER_AUTH,),
    digest: Any = None,
    signs: bool = True,
    identified: bool = False,
    further: Sequence[x509.ExtensionType] = (),
) -> Made:
    """A certificate; self-signed without an issuer. ``identified``: it says by which keys it is."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=signs and not ca,
                content_commitment=False,
                key_encipherment=not signs and not ca,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=ca,
                crl_sign=ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if names:
        builder = builder.add_extension(alternative_names(names), critical=False)
    if identified:
        by = (issuer.key if issuer else key).public_key()
        for one in (
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by),
        ):
            builder = builder.add_extension(one, critical=False)
    for each in further:
        builder = builder.add_extension(each, critical=False)
    if usages and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Made(builder.sign(issuer.key if issuer else key, digest or hashes.SHA256()), key)


def openssl(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The openssl command: a second opinion."""
    words = ["openssl", *map(str, arguments)]
    return subprocess.run(words, input=stdin, capture_output=True, timeout=30, check=False)


def write(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path
