"""Revocation lists that somebody else publishes, read from a file (RFC 5280 §5).

A list is judged before anything is written: engines accept garbage in silence and then refuse everyone, or
take a list that is no longer kept up as if it were. What is not sound never replaces a good list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.errors import CertificateDates, CertificateError
from sealgate.pki.inspect import issuer_key_hash
from sealgate.policy.identity import revocation_key

__all__ = ["foreign_lists", "lists_of", "pem_of_lists", "revocation_keys", "until_of"]

_LARGEST = 64 * 1024 * 1024
_DAMAGED = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What reading extensions may raise."""
_PEM = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\s*", re.DOTALL)
_HANDLED = {
    x509.AuthorityKeyIdentifier.oid,
    x509.CRLNumber.oid,
    x509.IssuerAlternativeName.oid,
    x509.FreshestCRL.oid,
    x509.AuthorityInformationAccess.oid,
}


def foreign_lists(
    path: Path, anchors: Sequence[x509.Certificate], *, now: datetime, grace: float = 0.0
) -> tuple[x509.CertificateRevocationList, ...]:
    """The lists in a PEM or DER file: one in date for each of the authorities, signed by it.

    An authority is a name with a key: two of the same name are two (a key rollover, or chance), and two
    certificates for one name and key are one. Of several lists by one authority the newest counts.
    Engines check every certificate of a chain, so a missing list would lock everyone out.

    Args:
        path: the file.
        anchors: the authority's certificates.
        now: the present.
        grace: seconds for which a list still counts past its nextUpdate.

    Raises:
        CertificateError: ``crl-unreadable``, ``crl-not-ours``, ``crl-unsupported``, ``crl-missing``.
        CertificateDates: ``crl-expired``.
    """
    newest: dict[_Authority, x509.CertificateRevocationList] = {}
    for crl in _read(path):
        by = [_authority(anchor) for anchor in anchors if _is_by(crl, anchor)]
        if not by:
            raise CertificateError(
                "crl-not-ours",
                f"a list in {path} is not by an authority in its clients.authorities.file",
                "give the lists of exactly these authorities",
                path=str(path),
            )
        _check_kind(crl, path)
        _check_dates(crl, path, now=now, grace=grace)
        _check_names_a_key(crl, anchors, path)
        before = newest.get(by[0])
        if before is None or before.last_update_utc < crl.last_update_utc:
            newest[by[0]] = crl
    lacking = [anchor.subject for anchor in anchors if _authority(anchor) not in newest]
    if lacking:
        raise CertificateError(
            "crl-missing",
            f"{path} has no list by {min(name.rfc4514_string() for name in lacking)!a}"
            + (" with each of its keys" if any(crl.issuer in lacking for crl in newest.values()) else ""),
            "put the lists of all authorities of the file into one",
            path=str(path),
        )
    return tuple(newest.values())


def pem_of_lists(lists: Sequence[x509.CertificateRevocationList]) -> bytes:
    """One file for all engines."""
    return b"".join(crl.public_bytes(Encoding.PEM) for crl in lists)


def lists_of(data: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """The lists in a PEM or DER text. Raises ValueError."""
    if parts := _PEM.findall(data):
        return tuple(x509.load_pem_x509_crl(part) for part in parts)
    return (x509.load_der_x509_crl(data),)


def revocation_keys(
    lists: Iterable[x509.CertificateRevocationList], anchors: Sequence[x509.Certificate]
) -> list[bytes]:
    """By what the guard knows everyone on these lists, which were judged before."""
    found: dict[bytes, None] = {}
    for crl in lists:
        for anchor in anchors:
            if _is_by(crl, anchor):
                key = bytes.fromhex(issuer_key_hash(anchor))
                found.update((revocation_key(key, one.serial_number), None) for one in crl)
    return list(found)


def until_of(
    lists: Iterable[x509.CertificateRevocationList], anchors: Sequence[x509.Certificate]
) -> datetime | None:
    """To when there is a list by each of the authorities; None: of one of them there is none.

    Args:
        lists: judged before.
        anchors: the authorities.
    """
    ends: dict[_Authority, datetime] = {}
    for crl in lists:
        for who in {_authority(anchor) for anchor in anchors if _is_by(crl, anchor)}:
            if crl.next_update_utc is not None:
                ends[who] = max(crl.next_update_utc, ends.get(who, crl.next_update_utc))
    return min(ends.values()) if {_authority(anchor) for anchor in anchors} == ends.keys() else None


def age_of(crl: x509.CertificateRevocationList) -> tuple[int, datetime]:
    """Number and date (RFC 5280 §5.2.3): of two lists the one with more of it is newer. No number is 0."""
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = 0
    return number, crl.last_update_utc


def same_key(
    one: x509.CertificateRevocationList,
    other: x509.CertificateRevocationList,
    anchors: Sequence[x509.Certificate],
) -> bool:
    """Are both by one of these authorities?"""
    return any(_is_by(one, anchor) and _is_by(other, anchor) for anchor in anchors)


def _read(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)[:_LARGEST]  # one that is larger ends in the middle
        return lists_of(data)
    except (OSError, ValueError) as error:
        raise CertificateError(
            "crl-unreadable",
            f"there is no revocation list in {path} that can be read",
            "give a PEM or DER file in clients.authorities.crl",
            path=str(path),
        ) from error


_Authority = tuple[x509.Name, bytes]


def _authority(anchor: x509.Certificate) -> _Authority:
    """What a list is by: a name with a key (RFC 5280 §5.2.1: one name may have several keys)."""
    key = anchor.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return anchor.subject, key


def _is_by(crl: x509.CertificateRevocationList, anchor: x509.Certificate) -> bool:
    """By name, by what the list says of the key, and by signature: engines look at all three."""
    return crl.issuer == anchor.subject and _means(crl, anchor) and _signed_by(crl, anchor)


def _means(crl: x509.CertificateRevocationList, anchor: x509.Certificate) -> bool:
    """Does nothing in the list's authority key identifier contradict the authority (RFC 5280 §5.2.1)?"""
    said, known = _key_identifier(crl), _subject_key_identifier(anchor)
    if said is None:
        return True
    if said.key_identifier is not None and known is not None and said.key_identifier != known:
        return False
    return said.authority_cert_serial_number in {None, anchor.serial_number}


def _key_identifier(crl: x509.CertificateRevocationList) -> x509.AuthorityKeyIdentifier | None:
    try:
        return crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, *_DAMAGED):  # damaged ones are refused by `_check_kind`
        return None


def _subject_key_identifier(anchor: x509.Certificate) -> bytes | None:
    try:
        return anchor.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, *_DAMAGED):
        return None


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # others raise TypeError
    except (TypeError, ValueError):
        return False


def _check_names_a_key(
    crl: x509.CertificateRevocationList, anchors: Sequence[x509.Certificate], path: Path
) -> None:
    """Where two authorities share a name, engines find a list by its key identifier alone, and by luck."""
    keys = {_authority(anchor): anchor for anchor in anchors if anchor.subject == crl.issuer}
    told = _key_identifier(crl)
    if len(keys) > 1 and (
        told is None
        or told.key_identifier is None
        or None in {_subject_key_identifier(anchor) for anchor in keys.values()}
    ):
        raise CertificateError(
            "crl-unsupported",
            f"the list in {path} does not say by which key it is, and two authorities have its name",
            "ask for lists and authorities with key identifiers, or give one of the two authorities only",
            path=str(path),
        )


def _check_kind(crl: x509.CertificateRevocationList, path: Path) -> None:
    """Delta and indirect lists, and whatever is critical and unknown, are refused by name, never misread."""
    kinds = {x509.DeltaCRLIndicator.oid: "a delta list", x509.IssuingDistributionPoint.oid: "a partial list"}
    try:
        extensions = tuple(crl.extensions)
    except _DAMAGED:
        extensions, kind = (), "damaged"
    else:
        named = [kinds[each.oid] for each in extensions if each.oid in kinds]
        unknown = [
            each.oid.dotted_string for each in extensions if each.critical and each.oid not in _HANDLED
        ]
        kind = (named or [f"one with the critical extension {oid}" for oid in unknown] or [""])[0]
    if kind:
        raise CertificateError(
            "crl-unsupported",
            f"the list in {path} is {kind}",
            "give a complete list",
            path=str(path),
        )


def _check_dates(crl: x509.CertificateRevocationList, path: Path, *, now: datetime, grace: float) -> None:
    until = crl.next_update_utc
    if until is None or not crl.last_update_utc <= now <= until + timedelta(seconds=grace):
        said = f"counts from {crl.last_update_utc:%Y-%m-%d %H:%M} to " + (
            f"{until:%Y-%m-%d %H:%M} UTC" if until else "no date at all"
        )
        raise CertificateDates(
            "crl-expired",
            f"the list in {path} {said}",
            "fetch the newest one from the authority, and check this machine's clock",
            path=str(path),
        )
