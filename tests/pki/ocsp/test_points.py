"""Responders in certificates: who is asked, in order, and who is left out by name."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.ocsp.points import LeftOut, Responders, Why, responders_in
from sealgate.policy.points import responders_of
from tests.pki.making import DAY, NOW, make

ROOT = make("root", ca=True)
NAME = x509.DirectoryName(ROOT.certificate.subject)
OCSP, ISSUERS = AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def certificate(extension: x509.ExtensionType | None) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(ROOT.certificate.subject)
        .issuer_name(ROOT.certificate.subject)
        .public_key(ROOT.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
    )
    if extension:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ROOT.key, hashes.SHA256())


def _agreed(one: x509.Certificate) -> Responders:
    """The guard sees that somebody can be asked exactly where somebody is."""
    answer = responders_in(one)
    assert bool(answer.urls) is bool(responders_of(one))
    return answer


def found(*names: x509.GeneralName, method: x509.ObjectIdentifier = OCSP) -> Responders:
    every = [x509.AccessDescription(method, name) for name in names]
    return _agreed(certificate(x509.AuthorityInformationAccess(every)))


def test_addresses_in_their_order() -> None:
    one = found(
        uri("HTTP://b.test/1"), uri("ldap://c.test/"), NAME, uri("https://a.test/"), uri("HTTP://b.test/1")
    )
    left_out = (LeftOut(Why.SCHEME, "ldap://c.test/"), LeftOut(Why.DIRECTORY, str(NAME.value)))
    assert one == Responders(("HTTP://b.test/1", "https://a.test/"), left_out)


def test_none() -> None:
    assert _agreed(certificate(None)) == Responders(())
    assert found(uri("http://a.test/issuer.cer"), method=ISSUERS) == Responders(())


LEFT_OUT = {
    Why.SCHEME: uri("file:///etc/passwd"),
    Why.DIRECTORY: NAME,
    Why.LONG: uri("http://a.test/" + "a" * 2048),
}


@pytest.mark.parametrize("why", LEFT_OUT)
def test_left_out_by_name(why: Why) -> None:
    one = found(LEFT_OUT[why], uri("http://good.test/"))
    assert [each.why for each in one.left_out] == [why]
    assert all(len(each.what) <= 2048 for each in one.left_out)
    assert one.urls == ("http://good.test/",)


@pytest.mark.parametrize("count", [5, 16, 17, 500])
def test_more_than_are_asked(count: int) -> None:
    one = found(*(uri(f"http://a.test/{number}") for number in range(count)))
    assert one == Responders(
        tuple(f"http://a.test/{number}" for number in range(4)), (LeftOut(Why.MANY, ""),)
    )


def test_many_that_are_left_out_have_a_bound() -> None:
    one = found(*(uri(f"ldap://a.test/{number}") for number in range(500)))
    assert len(one.left_out) == 17


@given(st.binary(max_size=60))
def test_any_bytes_are_answered(value: bytes) -> None:
    oid = x509.AuthorityInformationAccess.oid
    assert _agreed(certificate(x509.UnrecognizedExtension(oid, value))).urls == ()
