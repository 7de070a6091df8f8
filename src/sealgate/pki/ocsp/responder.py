"""Who may answer for an issuer, and did he sign this? (RFC 6960 §4.2.2.2). Pure.

The issuer itself, by its key; or whoever holds a certificate that came with the answer, if

- the issuer's *key* signed it, with a digest that nobody can forge (a name may be anybody's);
- it says id-kp-OCSPSigning (anyExtendedKeyUsage does not), is of no authority, and its key usage, if it has
  one, has digitalSignature. An authority with that purpose, as some intermediates were once issued by
  mistake, could call every certificate beside its own good;
- it says id-pkix-ocsp-nocheck. Without, somebody else would have to say that it is not revoked, and where
  OCSP is asked there is no list that could: a stolen key would go on answering for as long as it likes;
- it is in date, has no critical extension that is unknown, and is not the very certificate asked about.

The answer names the responder by name or by key. That selects; what proves is the signature. Algorithms are
known by their whole identifier, parameters too, so that none is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha1
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealgate.pki.keys import public_spki
from sealgate.pki.ocsp.asking import Question
from sealgate.pki.ocsp.der import BITS, OID, SEQUENCE, Der, only
from sealgate.pki.ocsp.reading import Basic
from sealgate.pki.ocsp.words import Reason, Refusal

__all__ = ["check_signer"]

_MOST = 8
"""Certificates of an answer that are looked at: who answers may be odd."""
_STRONG = (hashes.SHA256, hashes.SHA384, hashes.SHA512, hashes.SHA3_256, hashes.SHA3_384, hashes.SHA3_512)
_KNOWN = {
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.BasicConstraints.oid,
    x509.OCSPNoCheck.oid,
    x509.SubjectAlternativeName.oid,
    x509.SubjectKeyIdentifier.oid,
    x509.AuthorityKeyIdentifier.oid,
    x509.CertificatePolicies.oid,
    x509.CRLDistributionPoints.oid,
    x509.AuthorityInformationAccess.oid,
}

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class _Algorithm:
    """``kind``: of key. ``padding``: of RSA."""

    kind: type
    digest: hashes.HashAlgorithm | None = None
    padding: padding.AsymmetricPadding | None = None


def _pss() -> Iterator[tuple[bytes, _Algorithm]]:
    """RFC 4055 §3.1: one hash for everything, salt as long as it; a hash's NULL is there or not."""
    sizes = (("01", hashes.SHA256()), ("02", hashes.SHA384()), ("03", hashes.SHA512()))
    for (last, digest), null in ((size, null) for size in sizes for null in ("0500", "")):
        one = _tlv("30", f"06096086480165030402{last}{null}")
        mask = _tlv("30", f"06092a864886f70d010108{one}")
        salt = f"0201{digest.digest_size:02x}"
        parameters = _tlv("30", _tlv("a0", one) + _tlv("a1", mask) + _tlv("a2", salt))
        whole = _tlv("30", f"06092a864886f70d01010a{parameters}")
        scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
        yield bytes.fromhex(whole), _Algorithm(rsa.RSAPublicKey, digest, scheme)


def _tlv(tag: str, content: str) -> str:
    return f"{tag}{len(content) // 2:02x}{content}"


_ALGORITHMS = {
    bytes.fromhex("300d06092a864886f70d01010b0500"): _Algorithm(
        rsa.RSAPublicKey, hashes.SHA256(), padding.PKCS1v15()
    ),
    bytes.fromhex("300d06092a864886f70d01010c0500"): _Algorithm(
        rsa.RSAPublicKey, hashes.SHA384(), padding.PKCS1v15()
    ),
    bytes.fromhex("300d06092a864886f70d01010d0500"): _Algorithm(
        rsa.RSAPublicKey, hashes.SHA512(), padding.PKCS1v15()
    ),
    bytes.fromhex("300a06082a8648ce3d040302"): _Algorithm(ec.EllipticCurvePublicKey, hashes.SHA256()),
    bytes.fromhex("300a06082a8648ce3d040303"): _Algorithm(ec.EllipticCurvePublicKey, hashes.SHA384()),
    bytes.fromhex("300a06082a8648ce3d040304"): _Algorithm(ec.EllipticCurvePublicKey, hashes.SHA512()),
    bytes.fromhex("300506032b6570"): _Algorithm(ed25519.Ed25519PublicKey),
    bytes.fromhex("300506032b6571"): _Algorithm(ed448.Ed448PublicKey),
    **dict(_pss()),
}
_WEAK = {
    bytes.fromhex("2a864886f70d010102"): "RSA and MD2",
    bytes.fromhex("2a864886f70d010104"): "RSA and MD5",
    bytes.fromhex("2a864886f70d010105"): "RSA and SHA-1",
    bytes.fromhex("2b0e03021d"): "RSA and SHA-1",
    bytes.fromhex("2a864886f70d01010e"): "RSA and SHA-224",
    bytes.fromhex("2a8648ce3d0401"): "ECDSA and SHA-1",
    bytes.fromhex("2a8648ce3d040301"): "ECDSA and SHA-224",
    bytes.fromhex("2a8648ce380403"): "DSA and SHA-1",
}


def check_signer(basic: Basic, named: x509.Name | None, question: Question, *, now: datetime) -> None:
    """Signed by whom it says, who may answer for the question's issuer. Raises :class:`Refusal`.

    Args:
        basic: the answer.
        named: the responder's name, where it is not named by its key.
        question: what was asked.
        now: the present.
    """
    algorithm = _algorithm(basic.algorithm)
    if _is_meant(question.issuer, basic, named) and _signed_by(basic, question.issuer, algorithm):
        return
    meant = [one for one in _that_came(basic) if _is_meant(one, basic, named)]
    delegates = [one for one in meant if public_spki(one) != public_spki(question.issuer)]
    if not delegates:
        if _is_meant(question.issuer, basic, named):
            raise Refusal(Reason.SIGNATURE, "it is not signed by the issuer's key")
        raise Refusal(Reason.RESPONDER, "it is by somebody whose certificate is not with it")
    refusals = []
    for each in delegates:
        try:
            _check_delegate(each, question, now)
            _check_signature(basic, each, algorithm)
        except Refusal as refusal:
            refusals.append(refusal)
        else:
            return
    raise refusals[0]


def _algorithm(identifier: bytes) -> _Algorithm:
    if found := _ALGORITHMS.get(identifier):
        return found
    kind = Der(only(identifier, SEQUENCE)).take(OID)
    if weak := _WEAK.get(kind):
        raise Refusal(Reason.WEAK, f"it is signed with {weak}")
    raise Refusal(Reason.ALGORITHM, "its signature's algorithm is unknown")


def _is_meant(certificate: x509.Certificate, basic: Basic, named: x509.Name | None) -> bool:
    if basic.by_key is not None:
        return basic.by_key == _key_hash(certificate)
    return named is not None and certificate.subject == named


def _key_hash(certificate: x509.Certificate) -> bytes:
    """§4.2.1: SHA-1 of the key's bits, without tag, length and unused bits. It names, it proves nothing."""
    parts = Der(only(public_spki(certificate), SEQUENCE))
    parts.take(SEQUENCE)
    return sha1(parts.take(BITS)[1:], usedforsecurity=False).digest()


def _that_came(basic: Basic) -> Iterator[x509.Certificate]:
    """Those that are certificates; others are as if they had not come."""
    for der in dict.fromkeys(basic.certificates[:_MOST]):
        try:
            certificate = x509.load_der_x509_certificate(der)
            _ = public_spki(certificate), certificate.subject
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            continue
        yield certificate


def _check_delegate(one: x509.Certificate, question: Question, now: datetime) -> None:
    if not _issued_by(one, question.issuer):
        raise Refusal(Reason.RESPONDER, "its responder's certificate is not signed by the issuer's key")
    if one.serial_number == question.serial:
        raise Refusal(Reason.USAGE, "its responder answers for itself")
    purposes = _of(one, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        raise Refusal(Reason.USAGE, "its responder's certificate is not for that (id-kp-OCSPSigning)")
    usage, constraints = _of(one, x509.KeyUsage), _of(one, x509.BasicConstraints)
    if usage is not None and not usage.digital_signature:
        raise Refusal(Reason.USAGE, "its responder's key may not sign (digitalSignature)")
    if constraints is not None and constraints.ca:
        raise Refusal(Reason.USAGE, "its responder is an authority")
    if any(each.critical and each.oid not in _KNOWN for each in one.extensions):
        raise Refusal(Reason.CRITICAL, "its responder's certificate has a critical extension that is unknown")
    if _of(one, x509.OCSPNoCheck) is None:
        raise Refusal(Reason.UNCHECKED, "its responder's certificate is without id-pkix-ocsp-nocheck")
    if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
        raise Refusal(Reason.LIFE, "its responder's certificate is not in date")


def _issued_by(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        digest = one.signature_hash_algorithm
        if digest is not None and not isinstance(digest, _STRONG):
            return False
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _of(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise Refusal(Reason.UNREADABLE, "its responder's certificate is damaged") from None


def _check_signature(basic: Basic, signer: x509.Certificate, algorithm: _Algorithm) -> None:
    if not _signed_by(basic, signer, algorithm):
        raise Refusal(Reason.SIGNATURE, "it is not signed by its responder's key")


def _signed_by(basic: Basic, signer: x509.Certificate, algorithm: _Algorithm) -> bool:
    try:
        key = signer.public_key()
        if not isinstance(key, algorithm.kind):
            return False
        match key, algorithm:
            case rsa.RSAPublicKey(), _Algorithm(digest=hashes.HashAlgorithm() as digest) if algorithm.padding:
                key.verify(basic.signature, basic.signed, algorithm.padding, digest)
            case ec.EllipticCurvePublicKey(), _Algorithm(digest=hashes.HashAlgorithm() as digest):
                key.verify(basic.signature, basic.signed, ec.ECDSA(digest))
            case ((ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey()), _):
                key.verify(basic.signature, basic.signed)
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
