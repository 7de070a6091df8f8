"""Which answers count, and by what word the others are refused."""

from __future__ import annotations

import contextlib
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import example, given
from hypothesis import strategies as st

from sealgate.pki.ocsp.asking import NONCE, Digest, Question, question_of
from sealgate.pki.ocsp.judging import LARGEST, SKEW, Accepted, Reason, Refused, Revoked, State, judge
from sealgate.pki.ocsp.reading import answer_of
from tests.pki.making import DAY, NOW, Made, make
from tests.pki.ocsp.answering import (
    EC_SHA1,
    EXTENDED_REVOKE,
    NO_CHECK,
    RSA_SHA1,
    SHA1,
    SHA256,
    UNKNOWN,
    Draft,
    about,
    delegated,
    extension,
    number,
    oid,
    revoked,
    single,
    tlv,
    trouble,
)
from tests.pki.ocsp.answering import (
    NONCE as NONCE_OID,
)

ROOT = make("root", ca=True, identified=True)
ROLLED = make("root", ca=True, identified=True)  # of the same name
OTHER = make("other", ca=True, identified=True)
LEAF = make("leaf", ROOT)
OURS = bytes(range(NONCE))
ASKED = question_of(LEAF.certificate, ROOT.certificate, nonce=OURS)
SHA_1 = hashes.SHA1()  # noqa: S303 - signed with, to see it refused
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
STRANGE = "2b060104018a8f1f01"
ODD = extension(STRANGE, b"\x05\x00", critical=True)
RESPONDER = delegated(ROOT)

DIRECT = Draft(ASKED, ROOT, nonce=OURS)
DELEGATED = Draft(ASKED, RESPONDER, certificates=(RESPONDER.certificate,), nonce=OURS)


def judged(data: bytes, question: Question = ASKED, *, before=None, now=NOW, grace=timedelta()):
    return judge(data, question, before=before, now=now, grace=grace)


def accepted(draft: Draft | bytes, question: Question = ASKED, **facts: Any) -> Accepted:
    found = judged(draft.der() if isinstance(draft, Draft) else draft, question, **facts)
    assert isinstance(found, Accepted), found
    return found


def refused(draft: Draft | bytes, question: Question = ASKED, **facts: Any) -> str:
    found = judged(draft.der() if isinstance(draft, Draft) else draft, question, **facts)
    assert isinstance(found, Refused), found
    assert found.said.isascii()
    return found.reason.value


def by(responder: Made, *others: Made, **facts: Any) -> Draft:
    certificates = tuple(one.certificate for one in (responder, *others))
    return Draft(ASKED, responder, certificates=certificates, nonce=OURS, **facts)


def says(state: bytes = b"", *with_extensions: bytes, **facts: Any) -> Draft:
    one = single(about(ASKED), *([state] if state else []), with_extensions=with_extensions, **facts)
    return DIRECT.but(singles=(one,))


# What counts.


@pytest.mark.parametrize("draft", [DIRECT, DELEGATED], ids=["direct", "delegated"])
@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by key"])
def test_good(draft: Draft, by_name: bool) -> None:
    found = accepted(draft.but(by_name=by_name))
    assert found == Accepted(
        ASKED.issuer_key, LEAF.certificate.serial_number, State.GOOD, None, NOW - DAY, NOW + DAY, fresh=True
    )


def test_the_library_makes_the_same() -> None:
    """Its builder is a second opinion on ours, and on what is read."""
    builder = ocsp.OCSPResponseBuilder().add_response(
        LEAF.certificate,
        ROOT.certificate,
        SHA_1,
        ocsp.OCSPCertStatus.REVOKED,
        NOW - DAY,
        NOW + DAY,
        NOW - DAY,
        x509.ReasonFlags.key_compromise,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, RESPONDER.certificate)
    builder = builder.certificates([RESPONDER.certificate, ROOT.certificate])
    builder = builder.add_extension(x509.OCSPNonce(OURS), critical=False)
    data = builder.sign(RESPONDER.key, hashes.SHA256()).public_bytes(Encoding.DER)
    found = accepted(data)
    assert (found.state, found.fresh) == (State.REVOKED, True)
    assert found.revoked == Revoked(NOW - DAY, x509.ReasonFlags.key_compromise)
    produced = ocsp.load_der_ocsp_response(data).produced_at_utc
    ours = by(RESPONDER, ROOT, produced=produced, by_name=True)
    ours = ours.but(singles=(single(about(ASKED), revoked(reason=1)),))
    read, made = answer_of(data).basic, answer_of(ours.der()).basic
    assert read is not None
    assert made is not None
    assert read.signed == made.signed  # the signatures themselves differ, as ECDSA's do
    assert (read.algorithm, read.certificates) == (made.algorithm, made.certificates)


def test_unknown_is_a_fact() -> None:
    found = accepted(says(UNKNOWN))
    assert (found.state, found.revoked) == (State.UNKNOWN, None)


@pytest.mark.parametrize(
    ("reason", "flag", "for_good"),
    [
        (None, None, True),
        (0, x509.ReasonFlags.unspecified, True),
        (1, x509.ReasonFlags.key_compromise, True),
        (6, x509.ReasonFlags.certificate_hold, False),
        (7, None, True),
        (99, None, True),
    ],
)
def test_revoked(reason: int | None, flag: x509.ReasonFlags | None, for_good: bool) -> None:
    found = accepted(says(revoked(NOW - HOUR, reason)))
    assert (found.state, found.revoked) == (State.REVOKED, Revoked(NOW - HOUR, flag))
    assert found.revoked is not None
    assert found.revoked.for_good is for_good


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXTENDED = extension(EXTENDED_REVOKE, b"\x05\x00")


def test_the_extended_meaning_of_revoked() -> None:
    """RFC 6960 §2.2: all of it together, or it is a hold like any other."""
    draft = says(revoked(EPOCH, 6))
    found = accepted(draft.but(with_extensions=(EXTENDED,)))
    assert found.revoked == Revoked(EPOCH, x509.ReasonFlags.certificate_hold, never_issued=True)
    assert not found.revoked.for_good
    assert accepted(draft).revoked == Revoked(EPOCH, x509.ReasonFlags.certificate_hold)
    other = says(revoked(EPOCH + SECOND, 6)).but(with_extensions=(EXTENDED,))
    assert accepted(other).revoked == Revoked(EPOCH + SECOND, x509.ReasonFlags.certificate_hold)
    critical = draft.but(with_extensions=(extension(EXTENDED_REVOKE, b"\x05\x00", critical=True),))
    assert accepted(critical).state is State.REVOKED


def test_among_several_ours_counts() -> None:
    others = [single(about(ASKED, serial=serial)) for serial in range(5)]
    found = accepted(DIRECT.but(singles=(*others, single(about(ASKED), revoked()), *others)))
    assert found.state is State.REVOKED


def test_sha256_is_answered_as_it_was_asked() -> None:
    asked = question_of(LEAF.certificate, ROOT.certificate, nonce=OURS, digest=Digest.SHA256)
    answer = Draft(asked, ROOT, nonce=OURS)
    assert accepted(answer.but(singles=(single(about(asked, digest=SHA256)),)), asked).state is State.GOOD
    assert refused(answer.but(singles=(single(about(asked, digest=SHA1)),)), asked) == "other-certificate"
    assert refused(answer.but(singles=(single(about(ASKED)),)), asked) == "other-certificate"
    assert accepted(DIRECT.but(singles=(single(about(ASKED, null=b"")),))).state is State.GOOD


def test_without_a_nonce_the_dates_count() -> None:
    found = accepted(DIRECT.but(nonce=None))
    assert not found.fresh


def test_without_an_end_it_counts_for_an_hour() -> None:
    assert accepted(says(begins=NOW - HOUR, until=None)).until == NOW
    assert accepted(says(begins=NOW, until=None)).until == NOW + HOUR
    assert refused(says(begins=NOW - HOUR - SECOND, until=None)) == "ended"


def test_dates_at_their_edges() -> None:
    accepted(says(begins=NOW + SKEW))
    assert refused(says(begins=NOW + SKEW + SECOND)) == "not-begun"
    accepted(DIRECT.but(produced=NOW + SKEW))
    assert refused(DIRECT.but(produced=NOW + SKEW + SECOND)) == "not-begun"
    accepted(says(until=NOW))
    assert refused(says(until=NOW - SECOND)) == "ended"
    assert refused(says(begins=NOW, until=NOW - SECOND), grace=DAY) == "ended"  # it never counted
    lapsed = says(begins=NOW - 2 * DAY, until=NOW - DAY)
    assert accepted(lapsed, grace=DAY).until == NOW - DAY
    assert refused(lapsed, grace=DAY - SECOND) == "ended"


def test_never_older_than_the_one_before() -> None:
    accepted(DIRECT, before=NOW - DAY)
    assert refused(DIRECT, before=NOW - DAY + SECOND) == "older"


def test_what_is_not_critical_is_passed_over() -> None:
    odd = extension(STRANGE, b"\x05\x00")
    assert accepted(says(b"", odd).but(with_extensions=(odd,))).state is State.GOOD
    known = extension("2b0601050507300106", tlv(0x18, b"20200101000000Z"), critical=True)
    assert accepted(says(b"", known)).state is State.GOOD


RSA = rsa.generate_private_key(65537, 2048)
BY_RSA = make("rsa", ca=True, key=RSA)
RSA_ASKED = question_of(make("leaf", BY_RSA).certificate, BY_RSA.certificate, nonce=OURS)
BYTES = {"256": "01", "384": "02", "512": "03"}


def pss_of(digest: hashes.HashAlgorithm, *, null: str = "0500", salt: int | None = None) -> bytes:
    last = BYTES[digest.name[3:]]
    hashed = tlv(0x30, oid("60864801650304020" + last[1]), bytes.fromhex(null))
    mask = tlv(0x30, oid("2a864886f70d010108"), hashed)
    parameters = (tlv(0xA0, hashed), tlv(0xA1, mask), tlv(0xA2, number(salt or digest.digest_size)))
    return tlv(0x30, oid("2a864886f70d01010a"), tlv(0x30, *parameters))


@pytest.mark.parametrize("kind", [hashes.SHA256, hashes.SHA384, hashes.SHA512])
def test_kinds_of_rsa(kind: Any) -> None:
    digest = kind()
    last = {"sha256": "0b", "sha384": "0c", "sha512": "0d"}[digest.name]
    plain = tlv(0x30, oid("2a864886f70d0101" + last), b"\x05\x00")
    draft = Draft(RSA_ASKED, BY_RSA, digest=digest)
    accepted(draft.but(algorithm=plain), RSA_ASKED)
    scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
    for null in ("0500", ""):
        accepted(draft.but(algorithm=pss_of(digest, null=null), pss=scheme), RSA_ASKED)
    assert refused(draft.but(algorithm=pss_of(digest)), RSA_ASKED) == "bad-signature"
    assert refused(draft.but(algorithm=plain, pss=scheme), RSA_ASKED) == "bad-signature"
    short = padding.PSS(padding.MGF1(digest), 21)
    odd = draft.but(algorithm=pss_of(digest, salt=21), pss=short)
    assert refused(odd, RSA_ASKED) == "unknown-algorithm"


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda one: one.name)
def test_kinds_of_ecdsa(curve: Any) -> None:
    responder = delegated(ROOT, key=ec.generate_private_key(curve))
    for digest, last in ((hashes.SHA256(), "02"), (hashes.SHA384(), "03"), (hashes.SHA512(), "04")):
        draft = by(responder, algorithm=tlv(0x30, oid("2a8648ce3d0403" + last)))
        accepted(draft.but(digest=digest))
        other = hashes.SHA384() if last != "03" else hashes.SHA256()
        assert refused(draft.but(digest=other)) == "bad-signature"


def test_edwards_curves() -> None:
    responder = delegated(ROOT, key=ed25519.Ed25519PrivateKey.generate())
    accepted(by(responder, algorithm=bytes.fromhex("300506032b6570")))
    assert refused(by(responder, algorithm=bytes.fromhex("300506032b6571"))) == "bad-signature"


# Who may answer.


UNKNOWN_CRITICAL = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.9"), b"\x05\x00"), True)
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
RESPONDERS: dict[str, tuple[Made, str]] = {
    "another key of the same name": (delegated(ROLLED), "wrong-responder"),
    "another authority": (delegated(OTHER), "wrong-responder"),
    "without purposes": (delegated(ROOT, purposes=None), "may-not-answer"),
    "any purpose": (delegated(ROOT, purposes=[ANY]), "may-not-answer"),
    "another purpose": (delegated(ROOT, purposes=[ExtendedKeyUsageOID.CLIENT_AUTH]), "may-not-answer"),
    "an authority": (delegated(ROOT, ca=True), "may-not-answer"),
    "a key that may not sign": (delegated(ROOT, signs=False), "may-not-answer"),
    "for itself": (delegated(ROOT, serial=LEAF.certificate.serial_number), "may-not-answer"),
    "without noCheck": (delegated(ROOT, extra=()), "responder-may-be-revoked"),
    "too early": (delegated(ROOT, first=NOW + SECOND), "responder-not-in-date"),
    "too late": (delegated(ROOT, last=NOW - SECOND), "responder-not-in-date"),
    "unknown critical": (delegated(ROOT, extra=(*NO_CHECK, UNKNOWN_CRITICAL)), "unknown-critical"),
    "by SHA-224": (delegated(ROOT, digest=hashes.SHA224()), "wrong-responder"),
}


@pytest.mark.parametrize("kind", RESPONDERS)
@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by key"])
def test_who_may_not_answer(kind: str, by_name: bool) -> None:
    responder, word = RESPONDERS[kind]
    assert refused(by(responder, by_name=by_name)) == word
    # whatever else comes with it
    assert refused(by(responder, RESPONDER, ROOT, by_name=False)) == word


def test_who_may_answer() -> None:
    for responder in (
        delegated(ROOT, ca=None, signs=None),
        delegated(ROOT, first=NOW, last=NOW),
        delegated(ROOT, purposes=[ANY, ExtendedKeyUsageOID.OCSP_SIGNING]),
    ):
        accepted(by(responder))


def test_of_several_of_one_name_the_one_that_signed_is_found() -> None:
    other = delegated(ROOT)
    accepted(
        by(RESPONDER, by_name=True, named=RESPONDER.certificate).but(
            certificates=(other.certificate, delegated(ROLLED).certificate, RESPONDER.certificate)
        )
    )
    many = tuple(delegated(ROOT, name=f"{number}").certificate for number in range(8))
    assert refused(DELEGATED.but(certificates=(*many, RESPONDER.certificate))) == "wrong-responder"


def test_who_signed_is_who_is_named() -> None:
    assert refused(DELEGATED.but(certificates=())) == "wrong-responder"
    assert refused(DIRECT.but(named=OTHER.certificate)) == "wrong-responder"
    assert refused(DIRECT.but(named=RESPONDER.certificate)) == "wrong-responder"
    assert refused(DELEGATED.but(named=ROOT.certificate)) == "bad-signature"
    assert refused(DIRECT.but(by=OTHER, named=ROOT.certificate)) == "bad-signature"
    assert refused(DIRECT.but(by=OTHER)) == "wrong-responder"
    assert refused(DIRECT.but(by=ROLLED, by_name=True)) == "bad-signature"
    # A certificate with the issuer's own key is the issuer: nothing else it says counts.
    accepted(DIRECT.but(certificates=(ROOT.certificate,)))
    stranger = delegated(ROOT)
    assert refused(by(RESPONDER).but(by=Made(RESPONDER.certificate, stranger.key))) == "bad-signature"


def test_by_another_key_of_the_issuers_name_it_is_not() -> None:
    """The issuer's self-signed namesake in the answer helps nobody."""
    namesake = DIRECT.but(by=ROLLED, certificates=(ROLLED.certificate,))
    assert refused(namesake) == "wrong-responder"
    assert refused(namesake.but(by_name=True)) == "wrong-responder"


# What does not count.


CASES: dict[str, list[Draft | bytes]] = {
    "malformed-request": [trouble(1)],
    "internal-error": [trouble(2)],
    "try-later": [trouble(3)],
    "signature-required": [trouble(5)],
    "unauthorized": [trouble(6)],
    "too-large": [bytes(LARGEST + 1), DIRECT.but(with_extensions=(extension(STRANGE, bytes(LARGEST)),))],
    "unreadable": [
        DIRECT.but(algorithm=tlv(0x30, oid("2a8648ce3d040302"), b"\x05\x00")),
        b"",
        b"0",
        b"<html>404</html>",
        trouble(0),
        trouble(4),
        trouble(7),
        trouble(256),
        trouble(-1),
        trouble(6) + b"\0",
        DIRECT.but(status=6),
        DIRECT.der() + b"\0",
        DIRECT.but(version=tlv(0xA0, number(0))),
        DIRECT.but(with_extensions=(EXTENDED, EXTENDED)),
        says(b"", ODD, ODD),
        DIRECT.but(singles=(tlv(0x30),)),
    ],
    "other-type": [DIRECT.but(kind="2b0601050507300102")],
    "other-version": [DIRECT.but(version=tlv(0xA0, number(1)))],
    "other-certificate": [
        DIRECT.but(singles=(single(about(ASKED, serial=ASKED.serial + 1)),)),
        DIRECT.but(singles=(single(about(ASKED, serial=-ASKED.serial)),)),
        DIRECT.but(singles=(single(about(ASKED, name_hash=bytes(20))),)),
        DIRECT.but(singles=(single(about(ASKED, key_hash=bytes(20))),)),
        DIRECT.but(singles=(single(about(ASKED, digest=SHA256)),)),
        DIRECT.but(singles=(single(about(ASKED, digest="2a864886f70d0205")),)),
    ],
    "several-about-it": [
        DIRECT.but(singles=(single(about(ASKED)), single(about(ASKED), revoked()))),
        DIRECT.but(singles=(single(about(ASKED)), single(about(ASKED)))),
    ],
    "unknown-critical": [
        DIRECT.but(with_extensions=(ODD,)),
        says(b"", ODD),
        DIRECT.but(singles=(single(about(ASKED, serial=1)), single(about(ASKED), with_extensions=[ODD]))),
    ],
    "unknown-algorithm": [
        DIRECT.but(algorithm=tlv(0x30, oid(STRANGE))),
        Draft(RSA_ASKED, BY_RSA, algorithm=tlv(0x30, oid("2a864886f70d01010a"), tlv(0x30))),  # PSS by SHA-1
    ],
    "weak-signature": [
        DIRECT.but(algorithm=EC_SHA1, digest=SHA_1),
        DELEGATED.but(algorithm=EC_SHA1, digest=SHA_1),
        DIRECT.but(algorithm=RSA_SHA1),
        DIRECT.but(algorithm=tlv(0x30, oid("2a864886f70d010104"), b"\x05\x00")),
        DIRECT.but(algorithm=tlv(0x30, oid("2a8648ce3d040301"))),
    ],
    "bad-signature": [DIRECT.but(digest=hashes.SHA384())],
    "wrong-nonce": [
        DIRECT.but(nonce=bytes(NONCE)),
        DIRECT.but(nonce=OURS[:-1]),
        DIRECT.but(nonce=OURS + b"\0"),
        DIRECT.but(nonce=b""),
        # RFC 2560's: not wrapped. The library takes it for the same.
        DIRECT.but(nonce=None, with_extensions=(extension(NONCE_OID, OURS),)),
        DIRECT.but(nonce=None, with_extensions=(extension(NONCE_OID, tlv(4, OURS) + b"\0"),)),
    ],
    "not-begun": [says(begins=NOW + DAY)],
    "ended": [says(begins=NOW - 2 * DAY, until=NOW - DAY)],
}


@pytest.mark.parametrize(("word", "draft"), [(word, one) for word, every in CASES.items() for one in every])
def test_refused(word: str, draft: Draft | bytes) -> None:
    asked = draft.question if isinstance(draft, Draft) else ASKED
    assert refused(draft, asked) == word


def test_the_words_are_stable() -> None:
    words = {*CASES, *(word for _, word in RESPONDERS.values()), "older"}
    assert {one.value for one in Reason} == words


def test_a_signature_that_ends_within_an_octet() -> None:
    """Its last bit is zero, so that its octets are the same without it, and the library takes it."""
    draft = Draft(RSA_ASKED, BY_RSA)
    while draft.der()[-1] & 1:  # PKCS #1 signs alike each time: another date, another signature
        draft = draft.but(produced=draft.produced - SECOND)
    assert accepted(draft, RSA_ASKED).state is State.GOOD
    assert refused(draft.but(unused=1), RSA_ASKED) == "unreadable"


# Whatever comes.


REVOKED = says(revoked()).but(nonce=OURS)
SOUND = {
    "direct": DIRECT.der(),
    "delegated": DELEGATED.der(),
    "revoked": REVOKED.der(),
    "unknown": says(UNKNOWN).der(),
    "by rsa": Draft(RSA_ASKED, BY_RSA).der(),
}
"""What is not signed (a responder's certificate has a signature of its own) may be altered, to no effect."""
ASKED_BY = {name: RSA_ASKED if name == "by rsa" else ASKED for name in SOUND}
FACTS = {name: judged(data, ASKED_BY[name]) for name, data in SOUND.items()}


@contextlib.contextmanager
def quietly():
    """A certificate that was altered may have a number for which the library warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("kind", SOUND)
def test_cut_anywhere_it_is_no_answer(kind: str) -> None:
    data, asked = SOUND[kind], ASKED_BY[kind]
    assert isinstance(judged(data, asked), Accepted)
    assert {refused(data[:end], asked) for end in range(len(data))} == {"unreadable"}


@pytest.mark.parametrize("kind", SOUND)
@given(st.data())
def test_altered_anywhere_it_is_refused(kind: str, data: st.DataObject) -> None:
    sound = SOUND[kind]
    at = data.draw(st.integers(0, len(sound) - 1))
    gone = data.draw(st.integers(0, 4))
    piece = data.draw(st.binary(max_size=4))
    altered = sound[:at] + piece + sound[at + gone :]
    with quietly():
        found = judged(altered, ASKED_BY[kind])
    assert isinstance(found, Refused) or found == FACTS[kind]


@pytest.mark.parametrize("kind", SOUND)
def test_no_bit_of_it_can_be_another(kind: str) -> None:
    sound = SOUND[kind]
    with quietly():
        for at in range(len(sound)):
            for bit in range(8):
                altered = bytearray(sound)
                altered[at] ^= 1 << bit
                found = judged(bytes(altered), ASKED_BY[kind])
                assert isinstance(found, Refused) or found == FACTS[kind], (at, bit)


@given(st.sampled_from(sorted(SOUND)), st.sampled_from(sorted(SOUND)), st.data())
def test_two_put_together_are_not_a_third(one: str, other: str, data: st.DataObject) -> None:
    """Pieces of one answer in another's: nothing comes out that nobody signed."""
    first, second = SOUND[one], SOUND[other]
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(second))] * 2)))
    at = data.draw(st.integers(0, len(first)))
    mixed = first[:at] + second[begin:end] + first[at + end - begin :]
    with quietly():
        found = judged(mixed)
    assert isinstance(found, Refused) or found in FACTS.values()


@given(st.binary(max_size=300))
@example(b"\x30\x84\xff\xff\xff\xff")
@example(b"\x30\x80\x00\x00")
@example(b"\x30\x81")
def test_any_bytes_are_answered(data: bytes) -> None:
    assert isinstance(judged(data), Refused)
    wrapped = tlv(0x30, number(0, 0x0A), tlv(0xA0, tlv(0x30, oid("2b0601050507300101"), tlv(4, data))))
    assert isinstance(judged(wrapped), Refused)


PIECES = st.sampled_from([0x30, 0x02, 0x04, 0x05, 0x06, 0x0A, 0x18, 0x80, 0x82, 0xA0, 0xA1, 0xA2])
TREES = st.recursive(
    st.builds(tlv, PIECES, st.binary(max_size=24)),
    lambda inner: st.builds(lambda tag, parts: tlv(tag, *parts), PIECES, st.lists(inner, max_size=5)),
    max_leaves=25,
)


@given(TREES, TREES)
def test_any_der_signed_by_the_issuer_is_answered(data: bytes, inside: bytes) -> None:
    """Who may sign may still be odd: nothing but a word comes of it."""
    for part in ({"singles": (inside,)}, {"with_extensions": (inside,)}, {"version": data}):
        draft = DIRECT.but(**part)
        assert isinstance(judged(draft.der()), Refused)


def test_many_certificates_cost_little() -> None:
    """64 KiB of responders, all of the same name: eight are looked at."""
    many = (RESPONDER.certificate, *(delegated(ROOT).certificate for _ in range(7)))
    stuffed = DELEGATED.but(certificates=many * 18, by_name=True)
    assert len(stuffed.der()) < LARGEST
    assert accepted(stuffed).state is State.GOOD
