"""Certificates that somebody else made: do key, chain, names, dates and uses fit together?

Everything here judges before anything is written: what does not fit is refused with what is wrong and what to
type, and never replaces what is live.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealgate._system.files import check_not_readable_by_others
from sealgate.errors import CertificateDates, CertificateError, CertificateMismatch
from sealgate.pki.constraints import covers
from sealgate.pki.inspect import Facts, facts, key_type_of, names_of, pem_of
from sealgate.pki.keys import parse_private, public_spki, spki
from sealgate.pki.live import parse_chain

__all__ = ["Pair", "check_dates", "check_pair", "foreign_anchors", "read_pair"]

_WEAK_DIGESTS = (hashes.MD5, hashes.SHA1)
_RSA_MINIMUM = 2048


@dataclass(frozen=True, slots=True)
class Pair:
    """A chain in its right order (without a root) and its key, both PEM, checked."""

    chain: tuple[x509.Certificate, ...]
    key_pem: bytes

    @property
    def chain_pem(self) -> bytes:
        """The chain as a file."""
        return b"".join(pem_of(certificate) for certificate in self.chain)

    @property
    def key_type(self) -> str:
        """Its key in the policy's words, ``rsa-2048`` too."""
        return key_type_of(self.chain[0].public_key())


def read_pair(chain: Path, key: Path) -> tuple[bytes, bytes]:
    """Read chain and key; the key file may be a link (certbot's are), its target must be private.

    Raises:
        CertificateError: ``certificate-unreadable``, ``key-unreadable``.
        StateInsecure: ``key-readable-by-others``.
    """
    try:
        chain_pem = chain.read_bytes()
    except OSError as error:
        raise CertificateError(
            "certificate-unreadable",
            f"the certificate file {chain} cannot be read ({error.strerror})",
            "put it there, or name the right file in certificate.files.chain",
            path=str(chain),
        ) from error
    try:
        real = key.resolve(strict=True)
        check_not_readable_by_others(real, code="key-readable-by-others")
        return chain_pem, real.read_bytes()
    except OSError as error:
        raise CertificateError(
            "key-unreadable",
            f"the key file {key} cannot be read ({error.strerror})",
            "put it there, readable by this user alone, or name the right file in certificate.files.key",
            path=str(key),
        ) from error


def check_pair(
    chain_pem: bytes,
    key_pem: bytes,
    names: Sequence[str],
    *,
    now: datetime,
    origin: str,
    key_origin: str = "",
) -> Pair:
    """Everything that can be wrong with a certificate from elsewhere, before it is used.

    Args:
        chain_pem: the certificates, in any order; a root among them is left out.
        key_pem: the leaf's key.
        names: the site's names, canonical; the leaf must cover all.
        now: the present.
        origin: where they are from, for messages.
        key_origin: where the key is from, if not from there too.

    Raises:
        CertificateError: ``certificate-unreadable``, ``certificate-is-authority``, ``certificate-weak``,
            ``certificate-not-for-servers``, ``key-unreadable``, ``key-encrypted``, ``key-unsupported``,
            ``key-weak``.
        CertificateMismatch: ``key-mismatch``, ``chain-broken``, ``certificate-names``.
        CertificateDates: ``certificate-expired``, ``certificate-not-yet-valid``.
    """
    key = parse_private(key_pem, key_origin or origin)
    chain = _ordered(parse_chain(chain_pem, origin), spki(key), origin)
    _check_use(chain[0], origin)
    for certificate in chain:
        _check_strength(certificate, origin)
        check_dates(facts(certificate), origin, now=now)
    covered = names_of(chain[0])
    missing = [name for name in names if not covers(covered, name)]
    if missing:
        raise CertificateMismatch(
            "certificate-names",
            f"the certificate in {origin} does not cover {', '.join(missing)}",
            "get one for all of site.names, or take the names out of site.names",
            origin=origin,
            missing=missing,
            names=covered,
        )
    return Pair(chain, key_pem)


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except Exception:  # noqa: BLE001 - bad signature, other name, strange algorithm: not its issuer
        return False
    return True


def _ordered(given: Sequence[x509.Certificate], key: bytes, origin: str) -> tuple[x509.Certificate, ...]:
    """The leaf that belongs to the key, then each one's issuer; a self-signed root is left out."""
    pool = list(dict.fromkeys(given))
    leaves = [certificate for certificate in pool if public_spki(certificate) == key]
    if not leaves:
        raise CertificateMismatch(
            "key-mismatch",
            f"the private key does not belong to any certificate of {origin}",
            "give the key that the certificate was requested with",
            origin=origin,
        )
    chain = [leaves[0]]
    pool.remove(leaves[0])
    roots = [certificate for certificate in pool if _issued(certificate, certificate)]
    pool = [certificate for certificate in pool if certificate not in roots]
    while above := next((upper for upper in pool if _issued(chain[-1], upper)), None):
        chain.append(above)
        pool.remove(above)
    # What is left may be another path to another root (cross-signing); anything else does not belong here.
    strange = [one for one in (*pool, *roots) if not any(_issued(member, one) for member in chain)]
    if strange:
        raise CertificateMismatch(
            "chain-broken",
            f"{strange[0].subject.rfc4514_string()!a} in {origin} did not sign any certificate of the chain",
            "put the server's certificate and the issuers above it into the file, and nothing else",
            origin=origin,
        )
    return tuple(chain)


def _check_use(leaf: x509.Certificate, origin: str) -> None:
    if facts(leaf).authority:
        raise CertificateError(
            "certificate-is-authority",
            f"{leaf.subject.rfc4514_string()!a} in {origin} is an authority's certificate, not a server's",
            "give the certificate that was issued for the site's names",
            origin=origin,
        )
    extensions = leaf.extensions
    try:
        usages = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        usages = {ExtendedKeyUsageOID.SERVER_AUTH}
    try:
        signs = extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = True
    if not signs or not usages & {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }:
        raise CertificateError(
            "certificate-not-for-servers",
            f"{leaf.subject.rfc4514_string()!a} in {origin} may not be used by a TLS server",
            "get a certificate with the extended key usage serverAuth and the key usage digitalSignature",
            origin=origin,
        )


def _check_strength(certificate: x509.Certificate, origin: str) -> None:
    key, wrong = certificate.public_key(), ""
    if isinstance(certificate.signature_hash_algorithm, _WEAK_DIGESTS):
        wrong = f"is signed with {certificate.signature_hash_algorithm.name.upper()}"
    elif isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_MINIMUM:
        wrong = f"has a key of {key.key_size} bits of RSA"
    if wrong:
        raise CertificateError(
            "certificate-weak",
            f"{certificate.subject.rfc4514_string()!a} in {origin} {wrong}",
            "get a new certificate, signed with SHA-256 or better; no client of today accepts this one",
            origin=origin,
        )


def check_dates(certificate: Facts, origin: str, *, now: datetime) -> None:
    """Refuse a certificate that is not valid now.

    Raises:
        CertificateDates: ``certificate-expired``, ``certificate-not-yet-valid``.
    """
    if now > certificate.not_after:
        raise CertificateDates(
            "certificate-expired",
            f"{certificate.subject!a} in {origin} ended on {certificate.not_after:%Y-%m-%d %H:%M} UTC",
            "renew it where it comes from and put the new one there",
            origin=origin,
            not_after=certificate.not_after.isoformat(),
        )
    if now < certificate.not_before:
        raise CertificateDates(
            "certificate-not-yet-valid",
            f"{certificate.subject!a} in {origin} begins on {certificate.not_before:%Y-%m-%d %H:%M} UTC"
            f" and the clock says {now:%Y-%m-%d %H:%M}",
            "set the machine's clock if it is wrong, else wait",
            origin=origin,
            not_before=certificate.not_before.isoformat(),
        )


def foreign_anchors(path: Path, *, now: datetime) -> tuple[x509.Certificate, ...]:
    """The certificates of a foreign authority's PEM file: authorities all of them, and in date.

    Raises:
        CertificateError: ``trust-unreadable``, ``trust-not-authority``, ``certificate-weak``.
        CertificateDates: ``certificate-expired``, ``certificate-not-yet-valid``.
    """
    try:
        anchors = parse_chain(path.read_bytes(), str(path))
    except (OSError, CertificateError) as error:
        raise CertificateError(
            "trust-unreadable",
            f"there is no PEM certificate in {path} that can be read",
            "give the PEM file of the authority in clients.authorities.file",
            path=str(path),
        ) from error
    for anchor in anchors:
        seen = facts(anchor)
        if not seen.authority or not _may_sign(anchor):
            raise CertificateError(
                "trust-not-authority",
                f"{seen.subject!a} in {path} is not an authority",
                "give the certificate of the authority that signs the clients, not one of a client or server",
                path=str(path),
            )
        if not _issued(anchor, anchor):
            # A root's own signature proves nothing and may be as old as it likes.
            _check_strength(anchor, str(path))
        check_dates(seen, str(path), now=now)
    return anchors


def _may_sign(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True
