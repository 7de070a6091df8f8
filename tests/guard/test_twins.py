"""Each form of a certificate that verifies is known by a fingerprint that is foreseen."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.guard import twins
from sealgate.guard.certificate import Certificate, read_certificate
from sealgate.guard.client import Client
from sealgate.guard.compiled import Authority
from sealgate.guard.decision import BLOCKED
from sealgate.guard.issuers import Issuers
from sealgate.guard.judge import Judge
from sealgate.policy.identity import blocked_key
from tests.pki.making import NOW, make, openssl, write

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def other(certificate: x509.Certificate, order: int) -> bytes:
    """The other form, whole."""
    r, s = decode_dss_signature(certificate.signature)
    return twins._signed(certificate, encode_dss_signature(r, order - s))


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_the_other_form_verifies_and_is_foreseen(curve: ec.EllipticCurve, tmp_path: Path) -> None:
    """OpenSSL has the word on whether it verifies."""
    root = make("root", ca=True, usages=None, key=ec.generate_private_key(curve))
    leaf = make("alice", root).certificate
    twin = other(leaf, curve.group_order)
    assert twin != der(leaf)
    write(tmp_path / "root.pem", root.pem)
    write(tmp_path / "twin.pem", x509.load_der_x509_certificate(twin).public_bytes(Encoding.PEM))
    at = ("-attime", int(NOW.timestamp()))
    done = openssl("verify", *at, "-CAfile", tmp_path / "root.pem", tmp_path / "twin.pem")
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(twin).hexdigest() in twins.fingerprints(leaf, der(leaf))
    known = twins.fingerprints(leaf, der(leaf), twins.orders(root.certificate))
    assert known == tuple(hashlib.sha256(one).hexdigest() for one in (der(leaf), twin))
    back = x509.load_der_x509_certificate(twin)
    assert hashlib.sha256(der(leaf)).hexdigest() in twins.fingerprints(back, twin)


@given(st.data())
@settings(max_examples=30)
def test_no_length_of_a_signature_is_missed(data: st.DataObject) -> None:
    """Numbers of a signature are short now and then, and so are the lengths around them."""
    key = ec.derive_private_key(data.draw(st.integers(1, 2**200)), ec.SECP256R1())
    leaf = make("a" * data.draw(st.integers(1, 60)), make("root", ca=True, usages=None, key=key)).certificate
    twin = other(leaf, twins._ORDERS[0])
    assert x509.load_der_x509_certificate(twin).tbs_certificate_bytes == leaf.tbs_certificate_bytes
    found = twins.fingerprints(leaf, der(leaf))
    assert {hashlib.sha256(one).hexdigest() for one in (der(leaf), twin)} <= set(found)
    assert twins._signed(leaf, leaf.signature) == der(leaf)


@pytest.mark.parametrize("key", (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()))
def test_others_have_one_form(key: object) -> None:
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()
    root = make("root", ca=True, usages=None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(root.certificate.subject)
        .issuer_name(root.certificate.subject)
        .public_key(root.key.public_key())
        .serial_number(5)
        .not_valid_before(NOW)
        .not_valid_after(NOW.replace(year=2031))
    )
    leaf = builder.sign(key, digest)  # type: ignore[arg-type]  # keys of two kinds, each with its digest
    assert twins.fingerprints(leaf, der(leaf)) == (hashlib.sha256(der(leaf)).hexdigest(),)


def test_who_is_blocked_is_so_in_both_forms() -> None:
    root = make("root", ca=True, usages=None)
    leaf = make("alice", root, digest=SHA384()).certificate
    by = Issuers((Authority("partners", (twins_text(root.certificate),), own=False, listed=False),))
    twin = other(leaf, twins._ORDERS[0])
    for named in (der(leaf), twin):
        table = {blocked_key(hashlib.sha256(named).hexdigest())}
        for shown in (der(leaf), twin):
            read = read_certificate(shown, by)
            assert isinstance(read, Certificate)
            judge = Judge.__new__(Judge)
            judge._revoked = table
            assert judge.revoked(Client(address="192.0.2.1", certificate=read)) is BLOCKED


def test_one_of_our_own_can_be_kept_out_too() -> None:
    """Which the store does not know since it came from a backup: it cannot be revoked."""
    root = make("root", ca=True, usages=None)
    by = Issuers((Authority("private", (twins_text(root.certificate),), own=True, listed=False),))
    leaf = make("alice", root).certificate
    read = read_certificate(der(leaf), by)
    assert isinstance(read, Certificate)
    assert read.refused_by[0] == read.revocation_key
    assert blocked_key(hashlib.sha256(der(leaf)).hexdigest()) in read.refused_by


def twins_text(certificate: x509.Certificate) -> str:
    return base64.b64encode(der(certificate)).decode()
