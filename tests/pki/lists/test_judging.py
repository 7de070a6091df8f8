"""Which lists count, and by what word the others are refused."""

from __future__ import annotations

import base64
from datetime import timedelta
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.lists.judging import SKEW, Accepted, Before, Kind, Reason, Refused, judge
from sealgate.policy.identity import revocation_key
from sealgate.policy.points import Point
from tests.pki.lists.published import entry, published, scope
from tests.pki.making import DAY, NOW, Made, make

ROOT = make("root", ca=True, identified=True)
ROLLED = make("root", ca=True, identified=True)  # of the same name
OTHER = make("other", ca=True, identified=True)
SERVER = make("root", ca=False, identified=True)  # states key usage, without cRLSign
HERE = Point(("http://crl.test/a",), (x509.UniformResourceIdentifier("http://crl.test/a"),))
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
SECOND = timedelta(seconds=1)


def spki(made: Made) -> bytes:
    key = made.certificate.public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def judged(data: bytes, *issuers: Made, point=HERE, before=None, now=NOW, grace=timedelta()):
    certificates = [one.certificate for one in issuers or (ROOT,)]
    return judge(data, certificates, point=point, before=before, now=now, grace=grace)


def refused(data: bytes, *issuers: Made, **facts) -> str:
    found = judged(data, *issuers, **facts)
    assert isinstance(found, Refused), found
    assert found.said.isascii()
    return found.reason.value


def accepted(data: bytes, *issuers: Made, **facts) -> Accepted:
    found = judged(data, *issuers, **facts)
    assert isinstance(found, Accepted), found
    return found


def test_a_sound_list() -> None:
    data = published(ROOT, 7, 1 << 158)
    found = accepted(data)
    assert (found.number, found.this_update, found.next_update) == (7, NOW - DAY, NOW + DAY)
    assert found.covers == frozenset(Kind)
    assert list(found.serials) == [7, 1 << 158]
    assert found.issuer == spki(ROOT)
    assert list(found.serials.keys(found.issuer)) == [
        revocation_key(spki(ROOT), serial) for serial in (7, 1 << 158)
    ]
    assert found.der == data
    assert found.before == Before(NOW - DAY, 7)


def test_pem_and_a_list_without_entries() -> None:
    data = published(ROOT)
    pem = x509.load_der_x509_crl(data).public_bytes(Encoding.PEM)
    assert len(accepted(b"explained\r\n" + pem.replace(b"\n", b"\r\n")).serials) == 0
    assert accepted(pem).der == data
    assert refused(pem + pem) == "unreadable"
    assert refused(pem.replace(b"\n", b"\n!", 2)) == "unreadable"
    assert refused(pem[:-30]) == "unreadable"
    body = base64.b64encode(data + b"\0")
    text = b"-----BEGIN X509 CRL-----\n" + body + b"\n-----END X509 CRL-----\n"
    assert refused(text) == "unreadable"


def test_of_a_key_rollover_the_key_that_signed_counts() -> None:
    assert accepted(published(ROLLED, 7), ROOT, ROLLED).issuer == spki(ROLLED)
    assert accepted(published(ROLLED, 7, identified=False), ROOT, ROLLED).issuer == spki(ROLLED)
    assert refused(published(ROLLED, 7), ROOT) == "wrong-key"
    assert refused(published(ROLLED, 7, identified=False), ROOT) == "bad-signature"


ANY = x509.ReasonFlags
CASES = {
    "unreadable": [b"", b"0", b"<html>", b"\x30\x80", published(ROOT)[:-1], published(ROOT) + b"\0"],
    "wrong-issuer": [published(OTHER)],
    "bad-signature": [published(ROOT, signer=OTHER)],
    "unknown-critical": [published(ROOT, extensions=[(UNKNOWN, True)])],
    "delta": [
        published(ROOT, extensions=[(x509.DeltaCRLIndicator(1), True)]),
        published(ROOT, extensions=[(x509.DeltaCRLIndicator(1), False)]),
    ],
    "indirect": [
        published(ROOT, extensions=[scope(indirect=True)]),
        published(
            ROOT,
            entry(7, (x509.CertificateIssuer([x509.DirectoryName(OTHER.certificate.subject)]), True)),
        ),
    ],
    "some-reasons": [published(ROOT, extensions=[scope(reasons=frozenset({ANY.key_compromise}))])],
    "attribute-certificates": [published(ROOT, extensions=[scope(attributes=True)])],
    "other-point": [published(ROOT, extensions=[scope(name="http://crl.test/b")])],
    "not-begun": [published(ROOT, last=NOW + SKEW + SECOND)],
    "ended": [published(ROOT, last=NOW - 2 * DAY, until=NOW - SECOND)],
    "removed-entry": [published(ROOT, entry(7, (x509.CRLReason(ANY.remove_from_crl), False)))],
    "unknown-critical-entry": [published(ROOT, 6, entry(7, (UNKNOWN, True)))],
}


@pytest.mark.parametrize(("word", "data"), [(word, one) for word, all_ in CASES.items() for one in all_])
def test_refused(word: str, data: bytes) -> None:
    assert refused(data) == word


def test_what_is_not_critical_is_passed_over() -> None:
    known = entry(7, (x509.CRLReason(ANY.certificate_hold), False), (x509.InvalidityDate(NOW), False))
    data = published(ROOT, known, entry(8, (UNKNOWN, False)), extensions=[(UNKNOWN, False)])
    assert list(accepted(data).serials) == [7, 8]


def test_who_may_not_sign_lists() -> None:
    assert refused(published(SERVER), SERVER) == "may-not-sign-lists"
    assert accepted(published(ROLLED), SERVER, ROLLED).issuer == spki(ROLLED)


def test_a_list_without_an_end() -> None:
    """pyca/cryptography makes none: nextUpdate is taken out, and the rest signed."""
    data = published(ROOT)
    crl = x509.load_der_x509_crl(data)
    assert crl.next_update_utc is not None
    moment = b"\x17\x0d" + crl.next_update_utc.strftime("%y%m%d%H%M%SZ").encode()
    body = crl.tbs_certlist_bytes
    shorter = body.replace(moment, b"", 1)
    length = len(shorter) - 3 if shorter[1] == 0x81 else len(shorter) - 2
    inner = b"\x30" + (bytes((0x81, length)) if length >= 128 else bytes((length,))) + shorter[-length:]
    from cryptography.hazmat.primitives.asymmetric import ec  # the one place that signs by hand

    signature = ROOT.key.sign(inner, ec.ECDSA(hashes.SHA256()))
    bits = b"\x03" + bytes((len(signature) + 1, 0)) + signature
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    whole = inner + algorithm + bits
    size = bytes((0x81, len(whole))) if len(whole) < 256 else b"\x82" + len(whole).to_bytes(2, "big")
    assert refused(b"\x30" + size + whole) == "no-next-update"
    other = algorithm[:-1] + b"\x03"  # ecdsa-with-SHA384: not what was signed
    assert refused(b"\x30" + size + inner + other + bits) in {"bad-signature", "unreadable"}


def test_names_of_the_point() -> None:
    data = published(ROOT, extensions=[scope(name="http://crl.test/a", users=True)])
    assert accepted(data).covers == {Kind.LEAF}
    assert refused(data, point=None) == "other-point"
    assert accepted(published(ROOT), point=None).covers == frozenset(Kind)


def test_a_list_of_authorities_tells_nothing_of_leaves() -> None:
    assert accepted(published(ROOT, extensions=[scope(authorities=True)])).covers == {Kind.AUTHORITY}


def test_dates_at_their_edges() -> None:
    accepted(published(ROOT, last=NOW + SKEW))
    accepted(published(ROOT, last=NOW - DAY, until=NOW))
    ended = published(ROOT, last=NOW - 2 * DAY, until=NOW - DAY)
    accepted(ended, grace=DAY)
    assert refused(ended, grace=DAY - SECOND) == "ended"


def test_never_older_than_the_one_before() -> None:
    before = Before(NOW - DAY, 7)
    accepted(published(ROOT, number=7), before=before)
    accepted(published(ROOT, number=8), before=before)
    assert refused(published(ROOT, number=6), before=before) == "older"
    assert refused(published(ROOT, number=None), before=before) == "older"
    assert refused(published(ROOT, number=8, last=NOW - DAY - SECOND), before=before) == "older"
    assert accepted(published(ROOT, number=None), before=Before(NOW - DAY, None)).number is None
    assert refused(published(ROOT, number=1 << 160)) == "unreadable"


def test_kinds_of_keys_and_digests() -> None:
    key = rsa.generate_private_key(65537, 2048)
    by = make("rsa", ca=True, key=key)
    accepted(published(by, 7), by)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    accepted(published(by, 7, padding=pss), by)
    assert refused(published(by, signer=make("no", ca=True, key=rsa.generate_private_key(65537, 2048))), by)
    # The library signs with SHA-1 no more; the algorithm's identifier is all that is looked at.
    weak = published(by, 7).replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105"))
    assert refused(weak, by) == "weak-signature"


def test_the_algorithm_that_is_signed_is_the_one_that_is_used() -> None:
    """RFC 5280 §5.1.1.2. Without its NULL the outer one means the same, and the signature fits."""
    by = make("rsa", ca=True, key=rsa.generate_private_key(65537, 2048))
    data = published(by, 7)
    algorithm = bytes.fromhex("300d06092a864886f70d01010b0500")
    at = data.rindex(algorithm)
    shorter = b"\x30\x0b" + algorithm[2:-2]
    body = data[4:at] + shorter + data[at + len(algorithm) :]
    assert refused(b"\x30\x82" + len(body).to_bytes(2, "big") + body, by) == "bad-signature"


def test_the_words_are_stable() -> None:
    assert {one.value for one in Reason} == {
        *CASES,
        "wrong-key",
        "may-not-sign-lists",
        "weak-signature",
        "no-next-update",
        "older",
        "bad-serial",
    }


SOUND = published(ROOT, 7, entry(8, (x509.CRLReason(ANY.key_compromise), False)))


def test_cut_anywhere_it_is_no_list() -> None:
    assert {refused(SOUND[:end]) for end in range(len(SOUND))} == {"unreadable"}


@given(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=4))
def test_altered_anywhere_it_is_refused(at: int, piece: bytes) -> None:
    data = SOUND[:at] + piece + SOUND[at + len(piece) :]
    found = judged(data)
    assert isinstance(found, Refused) or data == SOUND


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(data: bytes) -> None:
    assert isinstance(judged(data), Refused)
    assert isinstance(judged(b"-----BEGIN X509 CRL-----" + data + b"-----END X509 CRL-----"), Refused)


def test_edwards_curves() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .sign(key, None)
    )
    made = Made(certificate, key)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .sign(key, None)
    )
    assert accepted(crl.public_bytes(Encoding.DER), made).number is None


def test_whatever_the_parser_makes_of_it_it_is_a_refusal() -> None:
    """An issuer's name of a type that no name has: the library raises TypeError when it is read."""
    good = published(ROOT)
    at = good.index(b"root")
    odd = good[: at - 2] + b"\x03" + good[at - 1 : at] + b"\0" + good[at + 1 :]
    found = judge(odd, [ROOT.certificate], point=None, before=None, now=NOW)
    assert isinstance(found, Refused)
