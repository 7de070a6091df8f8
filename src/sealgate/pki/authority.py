"""The certificates of the private authority: a root, and under it one for servers and one for clients.

Pure builders: keys and times come in, certificates come out (RFC 5280 §4.2.1). Root and issuing
certificates end together, after ten years: the root's key is destroyed once the two are signed, so an
issuing certificate that ended sooner could not be renewed and would only end everything sooner.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealgate.pki.constraints import clients_constraints, servers_constraints
from sealgate.pki.keys import PrivateKey, PublicKey, signature_hash

__all__ = [
    "BACKDATE",
    "LIFETIME",
    "Issuer",
    "Purpose",
    "authority_key_identifier",
    "build_anchor",
    "build_issuing",
    "build_root",
    "key_usage",
]

LIFETIME = timedelta(days=3650)
"""Of the root and both issuing authorities."""

BACKDATE = timedelta(hours=1)
"""How long before its making a certificate is valid: clocks of clients are not all right."""

Purpose = Literal["servers", "clients"]


@dataclass(frozen=True, slots=True)
class Issuer:
    """A certificate and its key, which can sign."""

    certificate: x509.Certificate
    key: PrivateKey


def key_usage(
    *, signature: bool = False, encipherment: bool = False, authority: bool = False
) -> x509.KeyUsage:
    """A KeyUsage with these bits and no others."""
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(what: str, tag: str) -> x509.Name:
    # The tag tells roots of different deployments apart in a trust store's list.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sealgate"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Sealgate {what} {tag}"),
        ]
    )


def _authority(
    subject: x509.Name,
    public: PublicKey,
    issuer: x509.Name,
    not_before: datetime,
    not_after: datetime,
    depth: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def build_root(key: PrivateKey, *, now: datetime) -> x509.Certificate:
    """A self-signed root that may certify issuing authorities only (path length 1)."""
    public = key.public_key()
    name = _name("root", x509.SubjectKeyIdentifier.from_public_key(public).digest[:4].hex())
    not_before = now.replace(microsecond=0) - BACKDATE
    builder = _authority(name, public, name, not_before, not_before + LIFETIME, 1)
    return builder.sign(key, signature_hash(key))


def build_issuing(
    root: Issuer, purpose: Purpose, public: PublicKey, *, names: tuple[str, ...] = ()
) -> x509.Certificate:
    """An issuing authority (path length 0) that can only make servers, or only clients.

    Args:
        root: who signs.
        purpose: ``servers`` (EKU serverAuth, names constrained) or ``clients`` (EKU clientAuth, no hosts).
        public: the new authority's key.
        names: the site's names, for the constraints of ``servers``.
    """
    above = root.certificate
    usage, constraints = (
        (ExtendedKeyUsageOID.SERVER_AUTH, servers_constraints(names))
        if purpose == "servers"
        else (ExtendedKeyUsageOID.CLIENT_AUTH, clients_constraints())
    )
    tag = x509.SubjectKeyIdentifier.from_public_key(public).digest[:4].hex()
    builder = (
        _authority(
            _name(purpose, tag),
            public,
            above.subject,
            above.not_valid_before_utc,
            above.not_valid_after_utc,
            0,
        )
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(constraints, critical=True)
        .add_extension(authority_key_identifier(above), critical=False)
    )
    return builder.sign(root.key, signature_hash(root.key))


def build_anchor(clients: Issuer) -> x509.Certificate:
    """The clients authority signed by its own key: what our engines verify client certificates against.

    Under the root it may certify no host, because machines trust the root as one of servers. Nobody but our
    engines trusts this one, so it needs no constraint. And it is its own root: the authority's list of
    revoked certificates covers the whole chain, where the root, whose key is gone, could sign none.
    """
    above = clients.certificate
    builder = _authority(
        above.subject,
        clients.key.public_key(),
        above.subject,
        above.not_valid_before_utc,
        above.not_valid_after_utc,
        0,
    ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return builder.sign(clients.key, signature_hash(clients.key))


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The AKI of what ``issuer`` signs: its SKI (RFC 5280 §4.2.1.1)."""
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
