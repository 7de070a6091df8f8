"""Revocation lists of our own authorities (RFC 5280 §5): number, AKI, and nextUpdate after a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from sealgate.pki.authority import BACKDATE, Issuer, authority_key_identifier
from sealgate.pki.keys import signature_hash

__all__ = ["LIFETIME", "Revoked", "build_crl", "crl_is_due", "number_of"]

LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Revoked:
    """One entry. ``reason`` None leaves the extension out, as RFC 5280 §5.3.1 wants for *unspecified*."""

    serial: int
    at: datetime
    reason: x509.ReasonFlags | None = None


def number_of(crl: x509.CertificateRevocationList) -> int:
    """The list's CRL number; 0 where it has none."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def crl_is_due(crl: x509.CertificateRevocationList, *, now: datetime) -> bool:
    """Should the list be made anew: half of its life is over, or the clock is before it?"""
    if crl.next_update_utc is None:
        return True
    middle = crl.next_update_utc - LIFETIME / 2
    return not crl.last_update_utc <= now < middle


def build_crl(
    issuer: Issuer,
    revoked: Iterable[Revoked],
    *,
    now: datetime,
    after: x509.CertificateRevocationList | None = None,
) -> x509.CertificateRevocationList:
    """A signed list.

    Args:
        issuer: the authority.
        revoked: every certificate of it that is revoked.
        now: the present.
        after: the list before; the new number is higher. Numbers follow the clock, so that they also
            rise where the list before was lost.
    """
    now = now.replace(microsecond=0)
    number = max(int(now.timestamp()), number_of(after) + 1 if after is not None else 0)
    begins = max(now - BACKDATE, issuer.certificate.not_valid_before_utc)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(begins)
        .next_update(now + LIFETIME)
        .add_extension(authority_key_identifier(issuer.certificate), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.at)
        if entry.reason is not None:
            one = one.add_extension(x509.CRLReason(entry.reason), critical=False)
        builder = builder.add_revoked_certificate(one.build())
    return builder.sign(issuer.key, signature_hash(issuer.key))
