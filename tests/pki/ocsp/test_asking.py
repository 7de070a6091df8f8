"""The question: what a responder reads in it, and by whom it is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sealgate.pki.ocsp.asking import NONCE, Digest, Question, Unaskable, question_of
from tests.pki.making import DAY, NOW, Made, make, openssl, write
from tests.pki.ocsp.answering import SHA1, SHA256, key_hash, oid, request_of, tlv

ROOT = make("root", ca=True, identified=True)
LEAF = make("leaf", ROOT)
OURS = bytes(range(NONCE))


def asked(digest: Digest = Digest.SHA1, leaf: Made = LEAF) -> Question:
    return question_of(leaf.certificate, ROOT.certificate, nonce=OURS, digest=digest)


@pytest.mark.parametrize(
    ("digest", "name", "text"), [(Digest.SHA1, "sha1", SHA1), (Digest.SHA256, "sha256", SHA256)]
)
def test_its_bytes(digest: Digest, name: str, text: str) -> None:
    """Put together by hand: CertID, one request, the nonce twice wrapped (RFC 9654 §2.1), nothing signed."""
    bits = ROOT.certificate.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    hashed = [hashlib.new(name, data).digest() for data in (ROOT.certificate.subject.public_bytes(), bits)]
    serial = LEAF.certificate.serial_number
    number = tlv(2, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
    certificate_id = tlv(0x30, tlv(0x30, oid(text), b"\x05\x00"), *(tlv(4, one) for one in hashed), number)
    nonce = tlv(0x30, oid("2b0601050507300102"), tlv(4, tlv(4, OURS)))
    inside = tlv(0x30, tlv(0x30, tlv(0x30, certificate_id)), tlv(0xA2, tlv(0x30, nonce)))
    question = asked(digest)
    assert question.der == tlv(0x30, inside)
    assert [question.name_hash, question.key_hash] == hashed
    assert question.serial == serial
    assert digest.other.other is digest is not digest.other


def test_as_others_read_it(tmp_path: Path) -> None:
    request = request_of(asked().der)
    assert request.serial_number == LEAF.certificate.serial_number
    assert request.issuer_key_hash == key_hash(ROOT.certificate)
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == OURS
    done = openssl("ocsp", "-reqin", write(tmp_path / "request", asked().der), "-req_text", "-noverify")
    assert done.returncode == 0, done.stderr
    assert b"OCSP Nonce" in done.stdout


def test_the_key_that_signed_is_meant_not_the_name() -> None:
    rolled = make("root", ca=True)
    other = question_of(LEAF.certificate, rolled.certificate, nonce=OURS)
    assert other.name_hash == asked().name_hash
    assert other.key_hash != asked().key_hash
    assert other.issuer_key != asked().issuer_key


@pytest.mark.parametrize("length", [0, 16, 31, 33, 128])
def test_a_nonce_of_another_length(length: int) -> None:
    with pytest.raises(ValueError, match="32 octets"):
        question_of(LEAF.certificate, ROOT.certificate, nonce=bytes(length))


def numbered(serial: int) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(ROOT.certificate.subject)
    builder = builder.public_key(LEAF.key.public_key()).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    return builder.serial_number(serial).sign(ROOT.key, hashes.SHA256())


@pytest.mark.filterwarnings("ignore:.*serial number which wasn't positive")
def test_numbers_that_cannot_be_asked_about() -> None:
    """The library makes no such certificate: the number's sign is turned in one that it made."""
    der = numbered(0x7F).public_bytes(Encoding.DER)
    negative = x509.load_der_x509_certificate(der.replace(b"\x02\x01\x7f", b"\x02\x01\x80", 1))
    with pytest.raises(Unaskable):
        question_of(negative, ROOT.certificate, nonce=OURS)
    assert question_of(numbered((1 << 159) - 1), ROOT.certificate, nonce=OURS).serial == (1 << 159) - 1
