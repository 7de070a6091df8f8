"""Signing requests of strangers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealgate.errors import CertificateError
from sealgate.pki.authority import key_usage
from sealgate.pki.clients.signing import LARGEST, public_key, read_request
from tests.pki.making import openssl

KEY = ec.generate_private_key(ec.SECP256R1())
Build = Callable[[x509.CertificateSigningRequestBuilder], x509.CertificateSigningRequestBuilder]


def request(change: Build = lambda builder: builder, key: object = KEY, digest: object = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice\x1b[31m")])
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    made = change(builder).sign(key, algorithm)  # type: ignore[arg-type]
    return made.public_bytes(serialization.Encoding.PEM)


def adding(extension: x509.ExtensionType, *, critical: bool = False) -> bytes:
    return request(lambda builder: builder.add_extension(extension, critical))


def test_a_request() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("a.test"), x509.RFC822Name("a@b.test")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])

    def full(builder: x509.CertificateSigningRequestBuilder) -> x509.CertificateSigningRequestBuilder:
        extended = builder.add_extension(names, critical=False).add_extension(usage, critical=False)
        basic = x509.BasicConstraints(ca=False, path_length=None)
        return extended.add_extension(basic, critical=True).add_extension(key_usage(signature=True), True)

    pem = request(full)
    read = read_request(pem, "alice.csr")
    assert read.names == ("cn=alice\\u001b[31m", "dns=a.test", "email=a@b.test")
    assert public_key(read.spki, "it") == KEY.public_key()
    der = x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)
    assert read_request(der, "alice.csr") == read


def test_one_that_openssl_made(tmp_path: Path) -> None:
    words = ["-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bob", "-keyout", tmp_path / "k"]
    made = openssl("req", *words)
    assert read_request(made.stdout, "it").names == ("cn=bob",)


@pytest.mark.parametrize(
    ("extension", "why"),
    [
        (x509.BasicConstraints(ca=True, path_length=None), "authority"),
        (key_usage(authority=True), "sign certificates"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), "other uses"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "other uses"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]), "uses"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), "1.2.3.4"),
        (x509.NameConstraints([x509.DNSName("")], None), "2.5.29.30"),
        (x509.InhibitAnyPolicy(0), "extension"),
    ],
)
def test_what_no_client_may_have(extension: x509.ExtensionType, why: str) -> None:
    with pytest.raises(CertificateError, match=why) as caught:
        read_request(adding(extension), "alice.csr")
    assert caught.value.code == "csr-refused"


def test_another_ones_key() -> None:
    """The signature is by another key than the one that is asked for."""
    der = bytearray(x509.load_pem_x509_csr(request()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    with pytest.raises(CertificateError) as caught:
        read_request(bytes(der), "alice.csr")
    assert caught.value.code == "csr-signature"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "key-weak"),
        (rsa.generate_private_key(public_exponent=3, key_size=2048), "key-weak"),
        (ed25519.Ed25519PrivateKey.generate(), "key-unsupported"),
        (ec.generate_private_key(ec.SECP521R1()), "key-unsupported"),
    ],
)
def test_weak_and_odd_keys(key: object, code: str) -> None:
    with pytest.raises(CertificateError) as caught:
        read_request(request(key=key), "alice.csr")
    assert caught.value.code == code


def test_garbage_and_halves() -> None:
    pem = request()
    der = x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)
    cases = [b"", b"\x00", b"x" * (LARGEST + 1), pem[:-40], pem.replace(b"REQUEST", b"CERTIFICATE")]
    for data in (*cases, *(der[:n] for n in range(len(der)))):
        with pytest.raises(CertificateError) as caught:
            read_request(data, "alice.csr")
        assert caught.value.code == "csr-unreadable", data


def test_a_key_that_is_none() -> None:
    for data in (b"", b"\x30\x00", b"x" * 99):
        with pytest.raises(CertificateError) as caught:
            public_key(data, "it")
        assert caught.value.code == "key-unreadable"
