from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from sealgate.errors import CertificateError, StateInsecure
from sealgate.pki.inspect import key_type_of
from sealgate.pki.keys import describe, generate, load_private, parse_private, signature_hash, to_pem
from tests.pki.making import openssl, write


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-3072"])
def test_every_type_is_what_it_says_and_comes_back(kind, tmp_path: Path) -> None:
    key = generate(kind)
    assert key_type_of(key.public_key()) == kind
    path = write(tmp_path / "key.pem", to_pem(key))
    assert key_type_of(load_private(path).public_key()) == kind
    assert openssl("pkey", "-in", path, "-check", "-noout").returncode == 0


def test_the_digest_is_as_strong_as_the_curve() -> None:
    assert isinstance(signature_hash(generate("ecdsa-p256")), hashes.SHA256)
    assert isinstance(signature_hash(generate("ecdsa-p384")), hashes.SHA384)


def test_an_encrypted_key_is_refused_with_what_to_type(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", to_pem(generate("ecdsa-p256"), b"a passphrase"))
    with pytest.raises(CertificateError) as caught:
        load_private(path)
    assert caught.value.code == "key-encrypted"
    assert "openssl pkey" in caught.value.remedy
    opened = openssl("pkey", "-in", path, "-passin", "pass:a passphrase", "-noout")
    assert opened.returncode == 0
    assert b"ENCRYPTED" in path.read_bytes()


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (rsa.generate_private_key(65537, 1024), "key-weak"),
        (ed25519.Ed25519PrivateKey.generate(), "key-unsupported"),
        (ec.generate_private_key(ec.SECP521R1()), "key-unsupported"),
        (ec.generate_private_key(ec.SECP256K1()), "key-unsupported"),
        (dsa.generate_private_key(2048), "key-unsupported"),
    ],
    ids=["rsa-1024", "ed25519", "p-521", "k-256", "dsa"],
)
def test_keys_that_servers_do_not_take(key, code: str) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(CertificateError) as caught:
        parse_private(pem, "here")
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text", [b"", b"\0\xff" * 50, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_garbage(text: bytes) -> None:
    with pytest.raises(CertificateError) as caught:
        parse_private(text, "here")
    assert caught.value.code == "key-unreadable"


def test_a_key_cut_at_every_byte_is_an_error_of_ours() -> None:
    pem = to_pem(generate("ecdsa-p256"))
    for length in range(len(pem) - 30):
        with pytest.raises(CertificateError):
            parse_private(pem[:length], "here")


def test_a_key_that_others_may_read(tmp_path: Path) -> None:
    path = write(tmp_path / "key.pem", to_pem(generate("ecdsa-p256")), 0o640)
    with pytest.raises(StateInsecure) as caught:
        load_private(path)
    assert caught.value.code == "key-readable-by-others"
    assert "chmod 600" in caught.value.remedy


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CertificateError) as caught:
        load_private(tmp_path / "none")
    assert caught.value.code == "key-unreadable"


def test_kinds_for_people() -> None:
    assert describe(generate("ecdsa-p384")) == "ECDSA P-384"
    assert describe(rsa.generate_private_key(65537, 2048).public_key()) == "RSA 2048"
    assert describe(ed25519.Ed25519PrivateKey.generate()) == "Ed25519"
