"""Lists as somebody else may publish them, sound and odd."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki.making import DAY, NOW, Made

Extension = tuple[x509.ExtensionType, bool]


def entry(serial: int, *extensions: Extension) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
    for extension in extensions:
        builder = builder.add_extension(*extension)
    return builder.build()


def published(
    by: Made,
    *entries: x509.RevokedCertificate | int,
    signer: Made | None = None,
    last: datetime = NOW - DAY,
    until: datetime | None = NOW + DAY,
    number: int | None = 7,
    identified: bool = True,
    extensions: Sequence[Extension] = (),
    padding: Any = None,
) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject).last_update(last)
    builder = builder.next_update(until or NOW + DAY)
    for one in entries:
        builder = builder.add_revoked_certificate(entry(one) if isinstance(one, int) else one)
    if identified:
        key = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(key, critical=False)
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    signed = builder.sign((signer or by).key, hashes.SHA256(), rsa_padding=padding)
    return signed.public_bytes(Encoding.DER)


def scope(
    *,
    name: str = "",
    users: bool = False,
    authorities: bool = False,
    attributes: bool = False,
    indirect: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> Extension:
    """An IssuingDistributionPoint."""
    value = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(name)] if name else None,
        relative_name=None,
        only_contains_user_certs=users,
        only_contains_ca_certs=authorities,
        only_some_reasons=reasons,
        indirect_crl=indirect,
        only_contains_attribute_certs=attributes,
    )
    return value, True
