"""Does a list that was fetched count? Bytes in, facts or a named refusal out (RFC 5280 §5, §6.3.3). Pure.

The rules, in this order; the first that is broken is named:

- DER or PEM, one list, to its end;
- the issuer's name, and nothing in its key identifier that contradicts the issuer (§5.2.1);
- no critical extension that is unknown; no delta list, no indirect one, none for some reasons, none for
  attribute certificates; made for the distribution point that it came from (§5.2.5, §6.3.3 (b));
- signed by the issuer's key, where that may sign lists, with a digest that nobody can forge;
- begun, not ended, and never older than the list before: neither its date nor its number;
- entries that each simply revoke one certificate of the issuer's.

Nothing is believed before the signature but what refuses; entries are read last, since they are most of it.
The caller knows that the issuer's certificates count: they are the policy's, or a chain that was verified.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.pki.lists.entries import Damaged, Frame, Serials, Strange, der_of, frame_of, serials_of
from sealgate.policy.points import Point

__all__ = ["Accepted", "Before", "Kind", "Reason", "Refused", "judge"]

SKEW = timedelta(minutes=5)
"""How far an authority's clock may be ahead of ours."""
_LONGEST_NUMBER = 160  # bits: RFC 5280 §5.2.3, 20 octets
_STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512, hashes.SHA3_256, hashes.SHA3_384, hashes.SHA3_512)
_KNOWN = {
    x509.AuthorityKeyIdentifier.oid,
    x509.CRLNumber.oid,
    x509.IssuerAlternativeName.oid,
    x509.FreshestCRL.oid,
    x509.AuthorityInformationAccess.oid,
    x509.IssuingDistributionPoint.oid,
}


_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class Kind(enum.Enum):
    """Whose revocation a list can tell."""

    LEAF = "leaf"
    AUTHORITY = "authority"


class Reason(enum.StrEnum):
    """Why a list does not count; stable words."""

    UNREADABLE = "unreadable"
    ISSUER = "wrong-issuer"
    KEY = "wrong-key"
    USAGE = "may-not-sign-lists"
    SIGNATURE = "bad-signature"
    WEAK = "weak-signature"
    CRITICAL = "unknown-critical"
    DELTA = "delta"
    INDIRECT = "indirect"
    REASONS = "some-reasons"
    ATTRIBUTES = "attribute-certificates"
    POINT = "other-point"
    ENDLESS = "no-next-update"
    EARLY = "not-begun"
    ENDED = "ended"
    OLDER = "older"
    REMOVED = "removed-entry"
    ENTRY = "unknown-critical-entry"
    SERIAL = "bad-serial"


@dataclass(frozen=True, slots=True)
class Before:
    """The list before, from the same distribution point by the same issuer."""

    this_update: datetime
    number: int | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A list that counts.

    Attributes:
        issuer: SHA-256 of the issuer's SubjectPublicKeyInfo; what this key signed is meant.
        number: its CRL number; None where it has none.
        this_update, next_update: aware, UTC.
        covers: of which kinds of certificates it tells; of others it says nothing, whoever is on it or not.
        serials: who is on it.
        der: the list.
    """

    issuer: bytes
    number: int | None
    this_update: datetime
    next_update: datetime
    covers: frozenset[Kind]
    serials: Serials
    der: bytes

    @property
    def before(self) -> Before:
        """What the next list is measured by."""
        return Before(self.this_update, self.number)


@dataclass(frozen=True, slots=True)
class Refused:
    """A list that does not count; ``said`` is a part of a sentence, ASCII, and may quote the list."""

    reason: Reason
    said: str


class _Refusal(Exception):
    def __init__(self, reason: Reason, said: str) -> None:
        super().__init__(said)
        self.refused = Refused(reason, said)


def judge(
    data: bytes,
    issuers: Sequence[x509.Certificate],
    *,
    point: Point | None,
    before: Before | None,
    now: datetime,
    grace: timedelta = timedelta(),
) -> Accepted | Refused:
    """Judge a list.

    Args:
        data: PEM or DER; the caller has bounded its length.
        issuers: certificates of whoever may have signed it; several of one name are a key rollover.
        point: where it came from; None: not from a distribution point, so none may be named in it.
        before: the list that counted last.
        now: the present, aware.
        grace: for how long a list still counts past its nextUpdate.
    """
    try:
        return _judged(data, issuers, point, before, now, grace)
    except _Refusal as refusal:
        return refusal.refused
    except Exception:  # noqa: BLE001 - hostile bytes; whatever the parser says of them, they are no list
        return Refused(Reason.UNREADABLE, "no revocation list")


def _judged(
    data: bytes,
    issuers: Sequence[x509.Certificate],
    point: Point | None,
    before: Before | None,
    now: datetime,
    grace: timedelta,
) -> Accepted:
    frame, crl = _read(data)
    extensions = _extensions(crl)
    named = _named(crl, issuers)
    meant = [one for one in named if _means(extensions, one)]
    if not meant:
        raise _Refusal(Reason.KEY, "its key identifier is of another key")
    covers = _covered(crl, extensions, point)
    issuer = _signer(frame, crl, meant)
    number = _number(extensions)
    until = _dated(crl, now, grace)
    _check_order(crl.last_update_utc, number, before)
    return Accepted(
        issuer=sha256(_spki(issuer)).digest(),
        number=number,
        this_update=crl.last_update_utc,
        next_update=until,
        covers=covers,
        serials=_serials(frame),
        der=frame.der,
    )


def _read(data: bytes) -> tuple[Frame, x509.CertificateRevocationList]:
    try:
        frame = frame_of(der_of(data))
        if frame.algorithm != frame.inner:  # RFC 5280 §5.1.1.2; the library would call it unreadable
            raise _Refusal(Reason.SIGNATURE, "it names two algorithms")
        return frame, x509.load_der_x509_crl(frame.der)
    except Damaged as error:
        raise _Refusal(Reason.UNREADABLE, str(error)) from None
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm):
        raise _Refusal(Reason.UNREADABLE, "no revocation list") from None


def _extensions(crl: x509.CertificateRevocationList) -> x509.Extensions:
    try:
        return crl.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise _Refusal(Reason.UNREADABLE, "its extensions are damaged") from None


def _named(
    crl: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    try:
        found = [one for one in issuers if one.subject == crl.issuer]
    except ValueError:
        raise _Refusal(Reason.UNREADABLE, "its issuer's name is damaged") from None
    if not found:
        raise _Refusal(Reason.ISSUER, "it is by somebody else")
    return found


def _means(extensions: x509.Extensions, issuer: x509.Certificate) -> bool:
    """Does nothing in the key identifier contradict the issuer?"""
    try:
        said = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return True
    known = _of(issuer, x509.SubjectKeyIdentifier)
    if said.key_identifier is not None and known is not None and said.key_identifier != known.digest:
        return False
    # The number alone would be of any authority: it goes with the name of who issued the issuer.
    if said.authority_cert_serial_number is not None:
        names = [one.value for one in said.authority_cert_issuer or () if isinstance(one, x509.DirectoryName)]
        return said.authority_cert_serial_number == issuer.serial_number and issuer.issuer in names
    return True


def _of(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _covered(
    crl: x509.CertificateRevocationList, extensions: x509.Extensions, point: Point | None
) -> frozenset[Kind]:
    for each in extensions:
        if isinstance(each.value, x509.DeltaCRLIndicator):
            raise _Refusal(Reason.DELTA, "it is a delta list")
    for each in extensions:
        if each.critical and each.oid not in _KNOWN:
            raise _Refusal(Reason.CRITICAL, f"it has the critical extension {each.oid.dotted_string}")
    try:
        said = extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return frozenset(Kind)
    if said.indirect_crl:
        raise _Refusal(Reason.INDIRECT, "it is an indirect list")
    if said.only_some_reasons is not None:
        raise _Refusal(Reason.REASONS, "it is for some reasons only")
    if said.only_contains_attribute_certs:
        raise _Refusal(Reason.ATTRIBUTES, "it is of attribute certificates")
    _check_point(crl, said, point)
    if said.only_contains_user_certs:
        return frozenset({Kind.LEAF})
    return frozenset({Kind.AUTHORITY}) if said.only_contains_ca_certs else frozenset(Kind)


def _check_point(
    crl: x509.CertificateRevocationList, said: x509.IssuingDistributionPoint, point: Point | None
) -> None:
    """§6.3.3 (b)(2)(i): a name in it, where it has some, is a name of the point.

    Else a list for one half of the certificates would count for the other half.
    """
    names: list[x509.GeneralName] = list(said.full_name or ())
    if said.relative_name is not None:
        names.append(x509.DirectoryName(x509.Name([*crl.issuer.rdns, said.relative_name])))
    if names and not (point and any(name in point.names for name in names)):
        raise _Refusal(Reason.POINT, "it is for another distribution point")


def _signer(
    frame: Frame, crl: x509.CertificateRevocationList, meant: Sequence[x509.Certificate]
) -> x509.Certificate:
    usages = [(one, _of(one, x509.KeyUsage)) for one in meant]
    able = [one for one, usage in usages if usage is None or usage.crl_sign]
    if not able:
        raise _Refusal(Reason.USAGE, "its issuer's key may not sign lists (cRLSign)")
    try:
        digest, parameters = crl.signature_hash_algorithm, crl.signature_algorithm_parameters
    except (UnsupportedAlgorithm, ValueError):
        raise _Refusal(Reason.SIGNATURE, "its signature's algorithm is unknown") from None
    if digest is not None and not isinstance(digest, _STRONG):
        raise _Refusal(Reason.WEAK, f"it is signed with {digest.name}")
    found = next((one for one in able if _signed_by(frame, one, digest, parameters)), None)
    if found is None:
        raise _Refusal(Reason.SIGNATURE, "it is not signed by its issuer's key")
    return found


def _signed_by(
    frame: Frame, issuer: x509.Certificate, digest: hashes.HashAlgorithm | None, parameters: object
) -> bool:
    data, signature = frame.to_be_signed, frame.signature
    try:
        key = issuer.public_key()
        match key, parameters:
            case rsa.RSAPublicKey(), padding.PKCS1v15() | padding.PSS() if digest is not None:
                key.verify(signature, data, parameters, digest)  # type: ignore[arg-type]  # any buffer will do
            case ec.EllipticCurvePublicKey(), ec.ECDSA():
                key.verify(signature, data, parameters)
            case ((ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()), None):
                key.verify(signature, data)
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _number(extensions: x509.Extensions) -> int | None:
    try:
        number = extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None
    if number < 0 or number.bit_length() > _LONGEST_NUMBER:
        raise _Refusal(Reason.UNREADABLE, "its number is none")
    return number


def _dated(crl: x509.CertificateRevocationList, now: datetime, grace: timedelta) -> datetime:
    begins, until = crl.last_update_utc, crl.next_update_utc
    if until is None:
        raise _Refusal(Reason.ENDLESS, "it does not say until when it counts")
    if begins > now + SKEW:
        raise _Refusal(Reason.EARLY, f"it begins on {begins:%Y-%m-%d %H:%M} UTC")
    if now - grace > until or until < begins:
        raise _Refusal(Reason.ENDED, f"it ended on {until:%Y-%m-%d %H:%M} UTC")
    return until


def _check_order(begins: datetime, number: int | None, before: Before | None) -> None:
    """An old list, signed and in date, would bring back who was revoked since.

    One without a number after one that had some cannot be told from an old one.
    """
    if before is None:
        return
    if begins < before.this_update:
        raise _Refusal(Reason.OLDER, "it is older than the list before")
    if before.number is not None and (number is None or number < before.number):
        raise _Refusal(Reason.OLDER, f"the list before has the number {before.number}, it {number}")


_STRANGE = {
    "indirect": Reason.INDIRECT,
    "removed": Reason.REMOVED,
    "critical": Reason.ENTRY,
    "serial": Reason.SERIAL,
}


def _serials(frame: Frame) -> Serials:
    try:
        return serials_of(frame)
    except Damaged as error:
        raise _Refusal(Reason.UNREADABLE, str(error)) from None
    except Strange as error:
        raise _Refusal(_STRANGE[error.kind], str(error)) from None


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
