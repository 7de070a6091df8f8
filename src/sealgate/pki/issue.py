"""Leaf certificates from the private authority: servers and clients.

Pure: an issuer, a public key, names and the time come in, a certificate comes out. Profiles follow RFC 5280
and the CA/Browser Forum's TLS Baseline Requirements where they make sense for a private authority.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealgate.errors import CertificateDates, UsageError
from sealgate.pki.authority import BACKDATE, Issuer, authority_key_identifier, key_usage
from sealgate.pki.keys import PublicKey, signature_hash
from sealgate.policy.quoting import shown

__all__ = [
    "CLIENT_LIFETIME",
    "SERVER_LIFETIME",
    "alternative_names",
    "check_common_name",
    "issue_client",
    "issue_server",
    "subject_for",
]

SERVER_LIFETIME = timedelta(days=47)
CLIENT_LIFETIME = timedelta(days=90)
_SHORTEST = timedelta(hours=1)
_COMMON_NAME_MAX = 64
"""RFC 5280, appendix A: ub-common-name."""

_NO_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)
_SIGNS, _ENCIPHERS = key_usage(signature=True), key_usage(signature=True, encipherment=True)
# What OpenSSL takes for a host name in a subject and then holds against name constraints.
_LIKE_A_HOST = re.compile(r"\w(?:[\w-]*\w)?(?:\.\w(?:[\w-]*\w)?)+", re.ASCII)


def alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    """DNS names and IP addresses, in the order given."""
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(general)


def subject_for(names: Sequence[str]) -> x509.Name:
    """The first DNS name that fits into a CommonName, else an empty subject.

    Never an address: where there is no DNS name, OpenSSL holds the CommonName against the DNS constraints.
    """
    addresses = {str(name.value) for name in alternative_names(names) if isinstance(name, x509.IPAddress)}
    for name in names:
        if len(name) <= _COMMON_NAME_MAX and name not in addresses:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.Name([])


def _dates(issuer: Issuer, now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
    """NotBefore and notAfter, never outside the issuer's own.

    Raises:
        CertificateDates: ``clock-before-authority``, ``authority-expired``.
    """
    now = now.replace(microsecond=0)
    first, last = issuer.certificate.not_valid_before_utc, issuer.certificate.not_valid_after_utc
    if now < first:
        raise CertificateDates(
            "clock-before-authority",
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, and the private authority was made after that",
            "set the machine's clock, then try again",
            now=now.isoformat(),
            not_before=first.isoformat(),
        )
    if now > last - _SHORTEST:
        raise CertificateDates(
            "authority-expired",
            f"the private authority ended on {last:%Y-%m-%d}",
            "make a new one with: sealgate cert renew --new-root, and let clients trust the new root",
            not_after=last.isoformat(),
        )
    # The lifetime counts from now, but the last second is inclusive (RFC 5280 §4.1.2.5).
    start = max(now - BACKDATE, first)
    return start, min(start + lifetime - timedelta(seconds=1), last)


def _leaf(
    issuer: Issuer,
    public: PublicKey,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    dates: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    encipherment = isinstance(public, rsa.RSAPublicKey) and usage == ExtendedKeyUsageOID.SERVER_AUTH
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (_NO_AUTHORITY, True),
        (_ENCIPHERS if encipherment else _SIGNS, True),
        (x509.ExtendedKeyUsage([usage]), False),
        (authority_key_identifier(issuer.certificate), False),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
    ]
    # At once: each call of the builder copies all that it has, and tables have many rows.
    builder = x509.CertificateBuilder(
        issuer_name=issuer.certificate.subject,
        subject_name=subject,
        public_key=public,
        serial_number=x509.random_serial_number(),
        extensions=[x509.Extension(value.oid, critical, value) for value, critical in extensions],
    )
    return builder.not_valid_before(dates[0]).not_valid_after(dates[1])


def issue_server(
    issuer: Issuer,
    public: PublicKey,
    names: Sequence[str],
    *,
    now: datetime,
    lifetime: timedelta = SERVER_LIFETIME,
) -> x509.Certificate:
    """A server's certificate.

    Args:
        issuer: the servers authority.
        public: the server's key.
        names: canonical DNS names (wildcards too) and IP addresses; at least one.
        now: the present.
        lifetime: of the certificate; cut where the issuer's ends.

    Raises:
        CertificateDates: ``clock-before-authority``, ``authority-expired``.
    """
    subject = subject_for(names)
    builder = _leaf(issuer, public, subject, ExtendedKeyUsageOID.SERVER_AUTH, _dates(issuer, now, lifetime))
    # RFC 5280 §4.2.1.6: critical where, and only where, the subject is empty.
    builder = builder.add_extension(alternative_names(names), critical=not subject.rdns)
    return builder.sign(issuer.key, signature_hash(issuer.key))


def issue_client(  # noqa: PLR0913 - what a certificate says, each by its name
    issuer: Issuer,
    public: PublicKey,
    name: str,
    *,
    now: datetime,
    dns: Sequence[str] = (),
    uris: Sequence[str] = (),
    emails: Sequence[str] = (),
    lifetime: timedelta = CLIENT_LIFETIME,
    revoked_at: str = "",
) -> x509.Certificate:
    """A client's certificate.

    Args:
        issuer: the clients authority.
        public: the client's key.
        name: its CommonName, 1 to 64 bytes of UTF-8.
        now: the present.
        dns: DNS names in the alternative names. Only verifiers that trust the clients' anchor take such a
            certificate (``authority.build_anchor``): under the root the authority may certify no host.
        uris: URIs (``spiffe://...``) in the alternative names.
        emails: mail addresses in the alternative names.
        lifetime: of the certificate; cut where the issuer's ends.
        revoked_at: the address of the issuer's list of the revoked; empty: it is not known.

    Raises:
        UsageError: ``client-name``: empty, too long, control characters, or like a host's name,
            which the clients authority must not certify (OpenSSL would refuse it).
        CertificateDates: ``clock-before-authority``, ``authority-expired``.
    """
    check_common_name(name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _leaf(issuer, public, subject, ExtendedKeyUsageOID.CLIENT_AUTH, _dates(issuer, now, lifetime))
    general: list[x509.GeneralName] = [x509.DNSName(one) for one in dns]
    general += [x509.UniformResourceIdentifier(uri) for uri in uris]
    general += [x509.RFC822Name(email) for email in emails]
    # BoringSSL (Envoy) takes a CommonName such as "alice" for a host's name, which the authority's
    # constraints exclude, unless there are alternative names: so there always are, if only the subject.
    names = x509.SubjectAlternativeName(general or [x509.DirectoryName(subject)])
    builder = builder.add_extension(names, critical=False)
    if revoked_at:
        builder = builder.add_extension(_point(revoked_at), critical=False)
    return builder.sign(issuer.key, signature_hash(issuer.key))


def _point(url: str) -> x509.CRLDistributionPoints:
    """One whole list, by the certificate's issuer: neither reasons nor cRLIssuer (RFC 5280 §4.2.1.13)."""
    where = x509.UniformResourceIdentifier(url)
    return x509.CRLDistributionPoints([x509.DistributionPoint([where], None, None, None)])


def check_common_name(name: str) -> None:
    """May a client's certificate have this CommonName?

    Raises:
        UsageError: ``client-name``.
    """
    wrong = ""
    # Bytes and not characters, as OpenSSL-based tools count: the stricter reading.
    length = len(name.encode(errors="surrogatepass"))
    if not 1 <= length <= _COMMON_NAME_MAX:
        wrong = f"is {length} bytes long"
    elif not name.isprintable() or name != name.strip():
        wrong = "has control characters or blanks around it"
    elif _LIKE_A_HOST.fullmatch(name):
        wrong = "looks like the name of a host"
    if wrong:
        raise UsageError(
            "client-name",
            f"the client's name {shown(name)} {wrong}",
            "use 1 to 64 bytes without dots between words, such as worker-1 or worker-1@example.org",
            name=name,
        )
