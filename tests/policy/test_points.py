"""Distribution points: what is asked, in order, and what is left out by name."""

from __future__ import annotations

from datetime import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from sealgate.policy.points import LeftOut, Point, Points, Why, points_of
from tests.pki.making import DAY, NOW, make

ROOT = make("root", ca=True)
NAME = x509.DirectoryName(ROOT.certificate.subject)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def point(*names: x509.GeneralName, reasons=None, issuer=None) -> x509.DistributionPoint:
    return x509.DistributionPoint(
        full_name=names or None, relative_name=None, reasons=reasons, crl_issuer=issuer
    )


def certificate(extension: x509.ExtensionType | None, *, last: datetime = NOW + DAY) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(ROOT.certificate.subject)
        .issuer_name(ROOT.certificate.subject)
        .public_key(ROOT.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(last)
    )
    if extension:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ROOT.key, hashes.SHA256())


def found(*points: x509.DistributionPoint) -> Points:
    return points_of(certificate(x509.CRLDistributionPoints(points)))


def test_addresses_in_their_order() -> None:
    ldap = uri("ldap://directory.test/cn=a?certificateRevocationList")
    names = (ldap, uri("HTTP://b.test/1"), NAME, uri("https://a.test/1"), uri("HTTP://b.test/1"))
    other = uri("http://c.test/2")
    assert found(point(*names), point(other)) == Points(
        (Point(("HTTP://b.test/1", "https://a.test/1"), names), Point(("http://c.test/2",), (other,))),
        (LeftOut(Why.SCHEME, ldap.value), LeftOut(Why.DIRECTORY, str(NAME.value))),
    )


def test_none() -> None:
    assert points_of(certificate(None)) == Points((), ())


LEFT_OUT = {
    Why.REASONS: point(uri("http://a.test/"), reasons=frozenset({x509.ReasonFlags.key_compromise})),
    Why.INDIRECT: point(uri("http://a.test/"), issuer=[NAME]),
    Why.RELATIVE: x509.DistributionPoint(
        full_name=None,
        relative_name=x509.RelativeDistinguishedName(
            [x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")],
        ),
        reasons=None,
        crl_issuer=None,
    ),
    Why.DIRECTORY: point(NAME),
    Why.SCHEME: point(uri("file:///etc/passwd")),
    Why.LONG: point(uri("http://a.test/" + "a" * 2048)),
}


@pytest.mark.parametrize("why", LEFT_OUT)
def test_left_out_by_name(why: Why) -> None:
    one = found(LEFT_OUT[why], point(uri("http://good.test/")))
    assert [each.why for each in one.left_out] == [why]
    assert [each.urls for each in one.usable] == [("http://good.test/",)]


def test_more_than_is_asked() -> None:
    many = [point(uri(f"http://a.test/{number}")) for number in range(9)]
    assert len(found(*many).usable) == 8
    assert found(*many).left_out == (LeftOut(Why.MANY, ""),)
    one = found(point(*(uri(f"http://a.test/{number}") for number in range(16))))
    assert len(one.usable[0].urls) == 8
    assert one.left_out == (LeftOut(Why.MANY, ""),)
    huge = found(point(*(uri(f"http://a.test/{number}") for number in range(17))))
    assert huge == Points((), (LeftOut(Why.MANY, ""),)), "it would have to be kept whole"


@pytest.mark.parametrize("address", ["http://a.test/\n", "http://a.test/\x01", "http://a.test/ b"])
def test_what_is_no_address_is_none(address: str) -> None:
    one = found(point(uri(address)))
    assert (one.usable, [each.why for each in one.left_out]) == ((), [Why.DAMAGED])


@given(st.binary(max_size=60))
def test_any_bytes_are_answered(value: bytes) -> None:
    oid = x509.CRLDistributionPoints.oid
    assert points_of(certificate(x509.UnrecognizedExtension(oid, value))).usable == ()
