"""Answers of responders, sound and odd, put together by hand: the library's builder makes only sound ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealgate.pki.ocsp.asking import Question
from tests.pki.making import DAY, NOW, Made

NONCE = "2b0601050507300102"
EXTENDED_REVOKE = "2b0601050507300109"
SHA1, SHA256 = "2b0e03021a", "608648016503040201"


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 + len(octets))) + octets + content


def oid(text: str) -> bytes:
    return tlv(6, bytes.fromhex(text))


def number(value: int, tag: int = 2) -> bytes:
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def moment(at: datetime) -> bytes:
    return tlv(0x18, at.strftime("%Y%m%d%H%M%SZ").encode())


def extension(kind: str, value: bytes, *, critical: bool = False) -> bytes:
    return tlv(0x30, oid(kind), tlv(1, b"\xff") if critical else b"", tlv(4, value))


def extensions(tag: int, every: Sequence[bytes]) -> bytes:
    return tlv(tag, tlv(0x30, *every)) if every else b""


GOOD, UNKNOWN = tlv(0x80), tlv(0x82)


def revoked(at: datetime = NOW - DAY, reason: int | None = None) -> bytes:
    return tlv(0xA1, moment(at), b"" if reason is None else tlv(0xA0, number(reason, 0x0A)))


def about(question: Question, *, digest: str = SHA1, null: bytes = b"\x05\x00", **other: Any) -> bytes:
    """CertID; ``other``: ``name_hash``, ``key_hash``, ``serial`` that are not those of the question."""
    facts = {one: getattr(question, one) for one in ("name_hash", "key_hash", "serial")} | other
    hashed = (tlv(4, facts["name_hash"]), tlv(4, facts["key_hash"]), number(facts["serial"]))
    return tlv(0x30, tlv(0x30, oid(digest), null), *hashed)


def single(
    certificate_id: bytes,
    state: bytes = GOOD,
    *,
    begins: datetime = NOW - DAY,
    until: datetime | None = NOW + DAY,
    with_extensions: Sequence[bytes] = (),
) -> bytes:
    after = b"" if until is None else tlv(0xA0, moment(until))
    return tlv(0x30, certificate_id, state, moment(begins), after, extensions(0xA1, with_extensions))


def key_hash(certificate: x509.Certificate) -> bytes:
    """By the library: SHA-1 of the key's bits."""
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


RSA_SHA256, RSA_SHA1 = (tlv(0x30, oid("2a864886f70d0101" + last), b"\x05\x00") for last in ("0b", "05"))
EC_SHA256, EC_SHA1 = (tlv(0x30, oid(text)) for text in ("2a8648ce3d040302", "2a8648ce3d0401"))


def signature(key: Any, data: bytes, *, digest: Any = None, pss: Any = None) -> bytes:
    digest = digest or hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, pss or padding.PKCS1v15(), digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(digest))
    return key.sign(data)


@dataclass(frozen=True)
class Draft:
    """An answer before it is signed; every part can be another one than it should be.

    Attributes:
        by: who signs; ``named``: who is named as the responder (None: who signs).
        certificates: that go with it.
        nonce: octets that are echoed; None: none.
    """

    question: Question
    by: Made
    named: x509.Certificate | None = None
    by_name: bool = False
    certificates: tuple[x509.Certificate, ...] = ()
    singles: tuple[bytes, ...] = ()
    nonce: bytes | None = None
    version: bytes = b""
    produced: datetime = NOW
    with_extensions: tuple[bytes, ...] = ()
    algorithm: bytes = b""
    kind: str = "2b0601050507300101"
    status: int = 0
    unused: int = 0
    digest: Any = None
    pss: Any = None

    def but(self, **other: Any) -> Draft:
        return replace(self, **other)

    def signed(self) -> bytes:
        """ResponseData."""
        named = self.named or self.by.certificate
        responder = (
            tlv(0xA1, named.subject.public_bytes()) if self.by_name else tlv(0xA2, tlv(4, key_hash(named)))
        )
        singles = self.singles or (single(about(self.question)),)
        every = list(self.with_extensions)
        if self.nonce is not None:
            every.append(extension(NONCE, tlv(4, self.nonce)))
        return tlv(
            0x30,
            self.version,
            responder,
            moment(self.produced),
            tlv(0x30, *singles),
            extensions(0xA1, every),
        )

    def der(self) -> bytes:
        data = self.signed()
        usual = RSA_SHA256 if isinstance(self.by.key, rsa.RSAPrivateKey) else EC_SHA256
        bits = signature(self.by.key, data, digest=self.digest, pss=self.pss)
        certificates = tlv(0x30, *(one.public_bytes(Encoding.DER) for one in self.certificates))
        basic = tlv(
            0x30,
            data,
            self.algorithm or usual,
            tlv(3, bytes((self.unused,)), bits),
            tlv(0xA0, certificates) if self.certificates else b"",
        )
        inside = tlv(0xA0, tlv(0x30, oid(self.kind), tlv(4, basic)))
        return tlv(0x30, number(self.status, 0x0A), inside)


def trouble(status: int) -> bytes:
    """An answer that has only a status."""
    return tlv(0x30, number(status, 0x0A))


NO_CHECK: tuple[tuple[x509.ExtensionType, bool], ...] = ((x509.OCSPNoCheck(), False),)


def delegated(
    issuer: Made,
    name: str = "responder",
    *,
    purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    extra: Sequence[tuple[x509.ExtensionType, bool]] = NO_CHECK,
    ca: bool | None = False,
    signs: bool | None = True,
    first: datetime = NOW - DAY,
    last: datetime = NOW + DAY,
    serial: int | None = None,
    digest: Any = None,
    key: Any = None,
) -> Made:
    """A responder's certificate."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if signs is not None:
        usage: Mapping[str, bool] = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "key_cert_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        flags = x509.KeyUsage(digital_signature=signs, crl_sign=not signs, **usage)
        builder = builder.add_extension(flags, critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    for value, critical in extra:
        builder = builder.add_extension(value, critical=critical)
    return Made(builder.sign(issuer.key, digest or hashes.SHA256()), key)


def request_of(data: bytes) -> ocsp.OCSPRequest:
    return ocsp.load_der_ocsp_request(data)
