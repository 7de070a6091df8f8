"""Which key signed a client's certificate: by its signature, never by a name in it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealgate.guard.certificate import Certificate, Unreadable, read_certificate
from sealgate.guard.compiled import Authority
from sealgate.guard.issuers import Issuers, Known
from sealgate.pki.inspect import issuer_key_hash
from sealgate.policy.identity import revocation_key
from tests.pki.making import DAY, Made, make

NOW = datetime.now(UTC)
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, 2.4.2)


def authority(name: str = "partners") -> Made:
    return make(name, ca=True, usages=None, first=NOW - DAY, last=NOW + DAY)


def leaf(by: Made) -> x509.Certificate:
    usages = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    return make("alice", by, usages=usages, first=NOW - DAY, last=NOW + DAY).certificate


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def told(*made: Made, name: str = "partners", own: bool = False, listed: bool = False) -> Authority:
    texts = (base64.b64encode(der(one.certificate)).decode() for one in made)
    return Authority(name, tuple(texts), own, listed)


def issuers(*made: Made, only: bool = False) -> Issuers:
    return Issuers((told(*made, own=only),))


def read(certificate: bytes, by: Issuers) -> Certificate:
    found = read_certificate(certificate, by)
    assert isinstance(found, Certificate)
    return found


def test_two_authorities_of_one_name_are_told_apart() -> None:
    first, second = authority(), authority()
    certificate = leaf(second)
    expected = revocation_key(bytes.fromhex(issuer_key_hash(second.certificate)), certificate.serial_number)
    assert read(der(certificate), issuers(first, second)).revocation_key == expected
    assert read(der(certificate), issuers(first)).revocation_key == b""
    assert read(der(certificate), issuers(first)).authority == "partners"


def test_a_stranger_is_refused_where_nobody_else_signs() -> None:
    first, second = authority(), authority()
    assert read_certificate(der(leaf(second)), issuers(first, only=True)) == Unreadable("certificate-issuer")
    assert read(der(leaf(first)), issuers(first, only=True)).revocation_key


def test_another_form_of_the_signature_is_the_same_client() -> None:
    """Anybody can make it, and it verifies: so nobody is known by a fingerprint."""
    by = authority()
    certificate = leaf(by)
    r, s = decode_dss_signature(certificate.signature)
    other = encode_dss_signature(r, _ORDER - s)
    algorithm = der(certificate)[4 + len(certificate.tbs_certificate_bytes) : -len(certificate.signature) - 3]
    content = certificate.tbs_certificate_bytes + algorithm
    content += bytes((3, len(other) + 1, 0)) + other  # a bit string
    changed = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    one, two = read(der(certificate), issuers(by)), read(changed, issuers(by))
    assert one.fingerprint != two.fingerprint
    assert one.revocation_key == two.revocation_key != b""


def test_whoever_counted_once_counts_no_more() -> None:
    """Connections may be older than the policy; one whose issuer was never told goes on."""
    now, before, other = authority(), authority("former"), authority("a stranger's intermediate")
    by = Issuers((told(now),), former=told(before, now).issuers)
    assert read_certificate(der(leaf(before)), by) == Unreadable("certificate-issuer")
    assert read(der(leaf(now)), by).revocation_key, "back again"
    assert read(der(leaf(other)), by).revocation_key == b""


def test_garbage_is_no_authority() -> None:
    with pytest.raises(ValueError):
        Issuers((Authority("partners", ("AAAA",), own=False, listed=False),))


def test_each_client_is_of_the_authority_whose_key_signed_it() -> None:
    """Several, two of them with one name; a re-keyed one is two certificates of one authority."""
    private, old, new, namesake = authority("ours"), authority(), authority(), authority()
    by = Issuers(
        (
            told(private, name="private", own=True),
            told(old, new, listed=True),
            told(namesake, name="others"),
        )
    )
    whose = [by.of(leaf(one)) for one in (private, old, new, namesake)]
    assert [one and one.authority for one in whose] == ["private", "partners", "partners", "others"]
    assert [bool(one and one.lapsed_key) for one in whose] == [False, True, True, False]
    assert len({one and one.revocation_key for one in whose}) == 4


def test_between_several_nobody_counts_whose_issuer_is_unknown() -> None:
    stranger = leaf(authority("somebody in between"))
    one, other = told(authority()), told(authority(), name="others")
    assert Issuers((one,)).of(stranger) == Known("partners", b"", b"")
    assert Issuers((one, other)).of(stranger) is None


def test_by_lists_nobody_counts_whose_issuer_is_unknown() -> None:
    assert Issuers((told(authority(), listed=True),)).of(leaf(authority("in between"))) is None
