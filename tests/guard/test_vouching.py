"""Which lists could vouch for a certificate, and what it is worth without one."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID

from sealgate.guard.asking import Asking
from sealgate.guard.certificate import Certificate, read_certificate
from sealgate.guard.compiled import Authority
from sealgate.guard.decision import LAPSED, REVOKED, UNKNOWN, UNLISTED
from sealgate.guard.issuers import Issuers
from sealgate.guard.judge import refusal
from sealgate.policy.identity import listed_key, revocation_key, stale_key, status_key
from sealgate.policy.points import Point
from tests.pki.making import Made, make

ROOT = make("root", ca=True, identified=True)
NEVER_REVOKED = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00")


def key_of(made: Made) -> bytes:
    public = made.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(public).digest()


def authority(*anchors: Made, fetched: str = "auto", ocsp: bool = False) -> Authority:
    issuers = (base64.b64encode(one.certificate.public_bytes(Encoding.DER)).decode() for one in anchors)
    return Authority("them", tuple(issuers), own=False, listed=False, fetched=fetched, ocsp=ocsp)


def points(*groups: tuple[str, ...], reasons: bool = False) -> x509.CRLDistributionPoints:
    flags = frozenset({x509.ReasonFlags.key_compromise}) if reasons else None
    named = [[x509.UniformResourceIdentifier(one) for one in group] for group in groups]
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, None, flags, None) for names in named])


def responder() -> x509.AuthorityInformationAccess:
    where = x509.UniformResourceIdentifier("http://ocsp.example/")
    one = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)
    return x509.AuthorityInformationAccess([one])


def read(by: Authority, *further: x509.ExtensionType, issuer: Made = ROOT) -> Certificate:
    leaf = make("ann", issuer, further=further, usages=None)
    found = read_certificate(leaf.certificate.public_bytes(Encoding.DER), Issuers([by]))
    assert isinstance(found, Certificate), found
    return found


A, B = "http://a.example/l.crl", "http://b.example/l.crl"
KEY_A, KEY_B = (listed_key(key_of(ROOT), Point.at(one).mark) for one in (A, B))


def test_each_point_by_itself() -> None:
    one = read(authority(ROOT), points((A,), (B,)))
    assert one.vouchers == (KEY_A, KEY_B)
    assert refusal(one, set()) is UNKNOWN
    for table in ({KEY_A}, {KEY_B}, {stale_key(KEY_A), KEY_B}):
        assert refusal(one, table) is None
    assert refusal(one, {stale_key(KEY_A)}) is LAPSED
    assert refusal(one, {KEY_A, KEY_B, one.revocation_key}) is REVOKED


def test_a_list_vouches_for_its_own_issuer_and_point_alone() -> None:
    other = make("root", ca=True, identified=True)
    one = read(authority(ROOT, other), points((A, B)))
    assert one.vouchers == (listed_key(key_of(ROOT), Point.at(A, B).mark),)
    for foreign in (KEY_A, KEY_B, listed_key(key_of(other), Point.at(A, B).mark)):
        assert refusal(one, {foreign}) is UNKNOWN


@pytest.mark.parametrize(
    "further",
    [(), (points(("ldap://a.example/cn=x",)),), (points((A,), reasons=True),), (responder(),)],
    ids=["nothing", "ldap", "some reasons", "a responder that is not asked"],
)
def test_where_nothing_could_vouch_nobody_comes_in(further: tuple[x509.ExtensionType, ...]) -> None:
    one = read(authority(ROOT), *further)
    assert one.vouchers == ()
    assert refusal(one, {KEY_A, KEY_B}) is UNLISTED


def test_who_is_never_revoked_needs_no_list() -> None:
    assert refusal(read(authority(ROOT), NEVER_REVOKED), set()) is None
    both = read(authority(ROOT), NEVER_REVOKED, points((A,)))
    assert refusal(both, set()) is UNKNOWN, "RFC 9608 §4: not both; the stricter counts"


def test_a_responder_stands_in_for_lists() -> None:
    one = read(authority(ROOT, ocsp=True), responder())
    assert one.vouchers == (status_key(key_of(ROOT), one.serial),)
    assert read(authority(ROOT, ocsp=True), responder(), points((A,))).vouchers == (KEY_A,)


def test_by_one_address() -> None:
    one = read(authority(ROOT, fetched=B), points((A,)))
    assert one.vouchers == (KEY_B,)
    assert read(authority(ROOT, fetched=""), points((A,))).vouchers is None


def test_whose_authority_is_revoked_is_revoked() -> None:
    below = make("below", ROOT, ca=True, identified=True)
    one = read(authority(ROOT, below), points((A,)), issuer=below)
    voucher = listed_key(key_of(below), Point.at(A).mark)
    assert refusal(one, {voucher}) is None
    assert refusal(one, {voucher, revocation_key(key_of(ROOT), below.certificate.serial_number)}) is REVOKED


def test_it_is_asked_once_a_second() -> None:
    class Heard:
        def __init__(self) -> None:
            self.asked: list[bytes] = []

        def asks(self, der: bytes) -> None:
            self.asked.append(der)

    heard = Heard()
    asking = Asking(heard)
    one, other = read(authority(ROOT), points((A,))), read(authority(ROOT), points((B,)))
    for _ in range(50):
        asking.ask(one)
        asking.ask(other)
    assert heard.asked == [one.der, other.der]
    assert x509.load_der_x509_certificate(heard.asked[0]).serial_number == one.serial


def test_an_authority_is_no_client() -> None:
    """A list of users says nothing of it, and vouches for all who name its point."""
    other = make("other", ROOT, ca=True, further=[points((A,))])
    found = read_certificate(other.certificate.public_bytes(Encoding.DER), Issuers([authority(ROOT)]))
    assert isinstance(found, Certificate)
    assert refusal(found, {KEY_A}) is UNLISTED
