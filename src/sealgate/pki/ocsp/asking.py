"""What is asked of a responder: one certificate, by its issuer's hashes and its number (RFC 6960 §4.1). Pure.

One certificate for each question (RFC 5019 §2.1.1), not signed, sent by POST: a GET's address is an answer's
name in caches on the way, which a nonce would make useless.

SHA-1 is asked first: many responders know no other, and no security hangs on it. The hashes only say which
issuer is meant; whether the answer is by that issuer's very key is told by the signature. A responder that
says `unauthorized` or `malformedRequest` may be one that knows SHA-256 alone: the *next* try asks that, so
that nobody sends two questions in the place of one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from sealgate.pki.keys import public_spki

__all__ = ["CONTENT_TYPE", "NONCE", "Digest", "Question", "Unaskable", "question_of"]

CONTENT_TYPE = "application/ocsp-request"
"""RFC 6960 §A.1."""
NONCE = 32
"""Octets. RFC 9654 §2.1: no fewer than 32; more, and responders that know RFC 8954 alone refuse."""
_LONGEST_SERIAL = 0x7F  # octets, as in pki/lists


class Digest(enum.Enum):
    """By which hash the issuer is named."""

    SHA1 = "sha1"
    SHA256 = "sha256"

    @property
    def other(self) -> Digest:
        """What to try when this one was not understood."""
        return Digest.SHA256 if self is Digest.SHA1 else Digest.SHA1


class Unaskable(ValueError):
    """A certificate that nobody can be asked about; the text is a part of a sentence, ASCII."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, and what an answer is measured by.

    Attributes:
        issuer: whose key signed the certificate.
        serial: of the certificate.
        digest, name_hash, key_hash: with ``serial`` the CertID (RFC 6960 §4.1.1).
        nonce: ours.
        der: the request's body.
    """

    issuer: x509.Certificate
    serial: int
    digest: Digest
    name_hash: bytes
    key_hash: bytes
    nonce: bytes
    der: bytes

    @property
    def issuer_key(self) -> bytes:
        """SHA-256 of the issuer's SubjectPublicKeyInfo, as everything about revocation knows it."""
        return sha256(public_spki(self.issuer)).digest()


def question_of(
    certificate: x509.Certificate, issuer: x509.Certificate, *, nonce: bytes, digest: Digest = Digest.SHA1
) -> Question:
    """The question about a certificate.

    Args:
        certificate: verified.
        issuer: found by the signature, never by a name: several keys may have one name.
        nonce: :data:`NONCE` octets that nobody can foretell (``secrets.token_bytes``), for this question.
        digest: by which hash the issuer is named.

    Raises:
        Unaskable: no responder can name it.
    """
    if len(nonce) != NONCE:
        raise ValueError(f"a nonce has {NONCE} octets")
    if certificate.serial_number < 0 or certificate.serial_number.bit_length() > 8 * _LONGEST_SERIAL - 1:
        raise Unaskable("its serial number is none")
    algorithm = hashes.SHA1() if digest is Digest.SHA1 else hashes.SHA256()  # noqa: S303 - names, does not prove
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm)
    request = builder.add_extension(x509.OCSPNonce(nonce), critical=False).build()
    return Question(
        issuer=issuer,
        serial=certificate.serial_number,
        digest=digest,
        name_hash=request.issuer_name_hash,
        key_hash=request.issuer_key_hash,
        nonce=nonce,
        der=request.public_bytes(Encoding.DER),
    )
