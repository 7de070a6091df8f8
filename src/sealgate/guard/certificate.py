"""The client's certificate as data: what it says, read once, with no decision in it.

The engine has verified it in the handshake (RFC 5280 §6); nothing here makes a certificate count. Its texts
were chosen by whoever asked an authority to sign them, so none may do more than be a text: what cannot be
read completely is :class:`Unreadable`, which refuses the request, and is never taken for no certificate.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.x509.oid import NameOID

from sealgate.guard.issuers import Issuers, Known
from sealgate.guard.twins import fingerprints
from sealgate.policy.identity import blocked_key

__all__ = ["LARGEST", "Certificate", "Certificates", "Unreadable", "read_certificate"]

LARGEST = 64 * 1024
"""Bytes of the largest certificate (DER) that is read."""

# Percent-encoding makes at most three of one; PEM makes four of three, and line ends.
_LONGEST_TEXT = 5 * LARGEST
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")
_PERCENT = re.compile(r"-----BEGIN(?:[ A-Za-z0-9+/=\n\r.~_-]|%[0-9a-fA-F]{2})+")
_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 8 * 1024


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client's certificate, verified by the engine.

    Compare `fingerprint`, or names together with the authority that may give them out; a name alone is what
    somebody asked for.

    Attributes:
        subject: the distinguished name, RFC 4514.
        common_name: its CN; empty where there is none, or more than one.
        dns_names: of the subject alternative name, as all of the next.
        uris: such as SPIFFE identities.
        emails: addresses.
        ip_addresses: in their shortest form.
        serial: the serial number.
        issuer: the issuer's distinguished name, RFC 4514.
        fingerprint: SHA-256 of the whole, 64 lower-case hex digits.
        not_before: UTC.
        not_after: UTC.
        authority: how the policy calls the authority that it counts by; empty: which one cannot be told,
            since there was another before (a leaf of an intermediate, until the keeper is started anew).
        revocation_key: by what its revocation is known; empty: its issuer is not one of the policy's.
        lapsed_key: by what it is known that its authority's lists count no more; empty: it has none.
        issuer_keys: by what it is known that its issuer's own certificate is revoked.
        refused_by: all keys by which it may be refused, at any moment: all of these, and those of its
            fingerprint and of its twin's (of our own, too: a store from a backup may not know it).
        vouchers: keys of which one must be known, or it does not count (:mod:`~sealgate.guard.vouching`);
            None: it counts without.
        der: the certificate: whoever looks for lists is shown it, and other backends (RFC 9440).
    """

    subject: str
    common_name: str
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    emails: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    serial: int
    issuer: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    authority: str = ""
    revocation_key: bytes = field(default=b"", repr=False)
    lapsed_key: bytes = field(default=b"", repr=False)
    issuer_keys: tuple[bytes, ...] = field(default=(), repr=False)
    refused_by: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    vouchers: tuple[bytes, ...] | None = field(default=None, repr=False, compare=False)
    der: bytes = field(default=b"", repr=False, compare=False)

    @property
    def watched(self) -> bool:
        """May it be refused at any moment?"""
        return bool(self.refused_by) or self.vouchers is not None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a certificate was not read: a stable word for the log."""

    reason: str


_UNKNOWN = Known("", b"", b"")
_NOBODY = Issuers()


def read_certificate(data: bytes | str, issuers: Issuers = _NOBODY) -> Certificate | Unreadable:
    """What a certificate says.

    Args:
        data: bytes: DER or PEM. Text: how an engine puts it in a header field: PEM, percent-encoded as a
            whole or not, or the base64 of it. One certificate, and nothing beside it.
        issuers: those who sign clients' certificates.
    """
    if len(data) > (LARGEST if isinstance(data, bytes) and data[:1] == b"\x30" else _LONGEST_TEXT):
        return Unreadable("certificate-size")
    raw = data if isinstance(data, bytes) else _undressed(data)
    if raw is not None and raw[:1] != b"\x30":
        raw = _unarmoured(raw)
    if raw is None:
        return Unreadable("certificate-encoding")
    if len(raw) > LARGEST:
        return Unreadable("certificate-size")
    try:
        certificate = x509.load_der_x509_certificate(raw)
        known = issuers.of(certificate)
        facts = _facts(certificate, raw, known or _UNKNOWN)
    except Exception:  # noqa: BLE001 - hostile bytes; whatever the parser says of them, the answer is the same
        return Unreadable("certificate-content")
    return facts if known else Unreadable("certificate-issuer")


def _undressed(text: str) -> bytes | None:
    """The PEM in a header field."""
    if not text.isascii():
        return None
    if text.startswith("-----BEGIN"):
        return unquote_to_bytes(text) if _PERCENT.fullmatch(text) else None
    return _decoded(text.encode("ascii"))


def _unarmoured(pem: bytes) -> bytes | None:
    """The DER in one PEM block (RFC 7468 §5.1)."""
    match = _PEM.fullmatch(pem)
    return _decoded(b"".join(match[1].split())) if match else None


def _decoded(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _facts(certificate: x509.Certificate, der: bytes, known: Known) -> Certificate:
    names = _alternative_names(certificate)
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        common_name=str(common[0].value) if len(common) == 1 else "",
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        emails=tuple(names.get_values_for_type(x509.RFC822Name)),
        ip_addresses=tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        serial=certificate.serial_number,
        issuer=certificate.issuer.rfc4514_string(),
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        authority=known.authority,
        revocation_key=known.revocation_key,
        lapsed_key=known.lapsed_key,
        issuer_keys=known.issuer_keys,
        refused_by=tuple(_refused_by(certificate, der, known)),
        vouchers=known.vouchers,
        der=der,
    )


def _refused_by(certificate: x509.Certificate, der: bytes, known: Known) -> Iterator[bytes]:
    yield from filter(None, (known.revocation_key, known.lapsed_key, *known.issuer_keys))
    yield from map(blocked_key, fingerprints(certificate, der, known.orders))


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


class Certificates:
    """Reads each certificate once: connections come again and again with the same few.

    Clients choose among those that an authority signed, so both their number and their length are bounded.

    Args:
        issuers: those who sign clients' certificates.
    """

    __slots__ = ("_issuers", "_known")

    def __init__(self, issuers: Issuers = _NOBODY) -> None:
        self._issuers = issuers
        self._known: dict[bytes | str, Certificate | Unreadable] = {}

    def __call__(self, data: bytes | str) -> Certificate | Unreadable:
        """:func:`read_certificate`, remembered."""
        known = self._known.get(data)
        if known is not None:
            return known
        read = read_certificate(data, self._issuers)
        if len(data) <= _LONGEST_REMEMBERED:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known = {}
            self._known[data] = read
        return read
