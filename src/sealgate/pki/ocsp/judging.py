"""Does an answer count? Bytes and the question in, facts or a named refusal out (RFC 6960 §3.2). Pure.

The rules, in this order; the first that is broken is named:

- at most 64 KiB of DER, one answer, to its end; both readers agree that it is one;
- the responder says that it was successful, and answers in the basic form, version 1;
- exactly one response is about the certificate asked about: hash algorithm, both hashes and number;
- no critical extension in it, or of all, that is unknown;
- signed by the issuer's key, or by whom the issuer's key made its responder (:mod:`.responder`);
- our nonce, or none. Many responders sign in advance and know no nonce: then the dates alone say how old
  an answer is (RFC 5019 §4), as they do of a list. A nonce that is another's is a replay, or somebody's else;
- begun, not ended, and never older than the answer before. An answer that does not say when it ends counts
  for an hour: its responder claims to know something newer at any time (§4.2.2.1), so it can be asked.

``unknown`` is a fact like the others, and never good. ``revoked`` may be for a time (certificateHold), and
with the extended definition (§2.2, §4.4.8) it may mean that nobody issued that number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import ocsp

from sealgate.pki.ocsp.asking import Digest, Question
from sealgate.pki.ocsp.der import OCTETS, Damaged, only
from sealgate.pki.ocsp.reading import Answer, Basic, Single, State, answer_of
from sealgate.pki.ocsp.responder import check_signer
from sealgate.pki.ocsp.words import Reason, Refusal, Refused

__all__ = ["LARGEST", "SKEW", "Accepted", "Reason", "Refused", "Revoked", "State", "judge"]

LARGEST = 64 * 1024
"""Octets of an answer; one with a responder's chain has 5 KiB."""
SKEW = timedelta(minutes=5)
"""How far a responder's clock may be ahead of ours."""
UNSAID = timedelta(hours=1)
"""How long an answer counts that does not say it."""

_DIGESTS = {Digest.SHA1: bytes.fromhex("2b0e03021a"), Digest.SHA256: bytes.fromhex("608648016503040201")}
_NONCE = bytes.fromhex("2b0601050507300102")
_EXTENDED_REVOKE = bytes.fromhex("2b0601050507300109")
_KNOWN = {_NONCE, _EXTENDED_REVOKE}
_KNOWN_OF_ONE = {
    bytes.fromhex("2b0601050507300103"),  # §4.4.2: which list it is from
    bytes.fromhex("2b0601050507300106"),  # §4.4.4: for how long the ended are kept
    bytes.fromhex("551d15"),  # §4.4.5: reason and time, as in lists
    bytes.fromhex("551d18"),
}
_STATUSES = {
    1: (Reason.MALFORMED, "the responder does not understand the question"),
    2: (Reason.INTERNAL, "the responder is in trouble"),
    3: (Reason.LATER, "the responder says to come later"),
    5: (Reason.SIGNED, "the responder wants a signed question"),
    6: (Reason.UNAUTHORIZED, "the responder does not answer for this"),
}
_REASONS = {
    0: x509.ReasonFlags.unspecified,
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    8: x509.ReasonFlags.remove_from_crl,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Revoked:
    """How a certificate is revoked.

    Attributes:
        at: aware, UTC.
        reason: None: none is said.
        never_issued: the responder says that its authority did not issue it.
    """

    at: datetime
    reason: x509.ReasonFlags | None
    never_issued: bool = False

    @property
    def for_good(self) -> bool:
        """Nothing ends it: neither on hold, nor unknown to a responder that may learn of it."""
        return self.reason is not x509.ReasonFlags.certificate_hold and not self.never_issued


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer that counts.

    Attributes:
        issuer: SHA-256 of the issuer's SubjectPublicKeyInfo.
        serial: of the certificate.
        state: what is said of it.
        revoked: how, where it is revoked.
        this_update: since when that is so; the next answer may not be older.
        until: to when it counts, grace aside; aware, UTC.
        fresh: our nonce is in it, so it was made for this question.
    """

    issuer: bytes
    serial: int
    state: State
    revoked: Revoked | None
    this_update: datetime
    until: datetime
    fresh: bool


def judge(
    data: bytes,
    question: Question,
    *,
    before: datetime | None,
    now: datetime,
    grace: timedelta = timedelta(),
) -> Accepted | Refused:
    """Judge an answer.

    Args:
        data: as it came; nothing is signed before it is judged.
        question: what was asked, by ourselves.
        before: ``this_update`` of the answer about this certificate that counted last.
        now: the present, aware.
        grace: for how long an answer still counts past its end.
    """
    try:
        return _judged(data, question, before, now, grace)
    except Refusal as refusal:
        return refusal.refused
    except Damaged as error:
        return Refused(Reason.UNREADABLE, str(error))
    except Exception:  # noqa: BLE001 - hostile bytes; whatever the parser says of them, they are no answer
        return Refused(Reason.UNREADABLE, "no OCSP answer")


def _judged(
    data: bytes, question: Question, before: datetime | None, now: datetime, grace: timedelta
) -> Accepted:
    if len(data) > LARGEST:
        raise Refusal(Reason.LARGE, f"it has more than {LARGEST} bytes")
    basic = _basic(answer_of(data))
    named = _agreed(data)
    single = _about_it(basic, question)
    _check_critical(basic, single)
    check_signer(basic, named, question, now=now)
    fresh = _is_fresh(basic, question)
    until = _dated(basic, single, now, grace)
    if before is not None and single.this_update < before:
        raise Refusal(Reason.OLDER, "it is older than the answer before")
    return Accepted(
        issuer=question.issuer_key,
        serial=question.serial,
        state=single.state,
        revoked=_revoked(basic, single),
        this_update=single.this_update,
        until=until,
        fresh=fresh,
    )


def _basic(answer: Answer) -> Basic:
    if answer.status in _STATUSES:
        raise Refusal(*_STATUSES[answer.status])
    if answer.status:
        raise Refusal(Reason.UNREADABLE, "its status is none")
    if answer.basic is None:
        raise Refusal(Reason.TYPE, "it is of another type than the basic one")
    if answer.basic.version:
        raise Refusal(Reason.VERSION, "it is of another version")
    return answer.basic


def _agreed(data: bytes) -> x509.Name | None:
    """The other reader's word that this is an answer, and the responder's name as it reads it."""
    try:
        return ocsp.load_der_ocsp_response(data).responder_name
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise Refusal(Reason.UNREADABLE, "no OCSP answer") from None


def _about_it(basic: Basic, question: Question) -> Single:
    """§3.2 (1). Two that say different things about one certificate say nothing."""
    found = [
        one
        for one in basic.singles
        if one.about.algorithm == _DIGESTS[question.digest]
        and one.about.name_hash == question.name_hash
        and one.about.key_hash == question.key_hash
        and one.about.serial == question.serial
    ]
    if not found:
        raise Refusal(Reason.CERTIFICATE, "it says nothing of the certificate asked about")
    if len(found) > 1:
        raise Refusal(Reason.SEVERAL, "it says several things of the certificate asked about")
    return found[0]


def _check_critical(basic: Basic, single: Single) -> None:
    """§4.4: whoever does not know a critical extension must not use what it is in."""
    for extensions, known in ((basic.extensions, _KNOWN), (single.extensions, _KNOWN_OF_ONE)):
        for kind, each in extensions.items():
            if each.critical and kind not in known:
                raise Refusal(Reason.CRITICAL, f"it has the unknown critical extension {kind.hex()}")


def _is_fresh(basic: Basic, question: Question) -> bool:
    """RFC 9654 §2.1: an OCTET STRING within the extension's, the very one that was sent."""
    if (extension := basic.extensions.get(_NONCE)) is None:
        return False
    try:
        nonce = only(extension.value, OCTETS)
    except Damaged:
        nonce = b""
    if nonce != question.nonce:
        raise Refusal(Reason.NONCE, "it answers another question")
    return True


def _dated(basic: Basic, single: Single, now: datetime, grace: timedelta) -> datetime:
    begins, until = single.this_update, single.next_update
    if begins > now + SKEW or basic.produced_at > now + SKEW:
        raise Refusal(Reason.EARLY, f"it begins on {max(begins, basic.produced_at):%Y-%m-%d %H:%M} UTC")
    if until is None:
        until = begins + UNSAID
    if now - grace > until or until < begins:
        raise Refusal(Reason.ENDED, f"it ended on {until:%Y-%m-%d %H:%M} UTC")
    return until


def _revoked(basic: Basic, single: Single) -> Revoked | None:
    if single.revoked_at is None:
        return None
    reason = _REASONS.get(single.reason) if single.reason is not None else None
    # §2.2: with this reason and this date, and only where the responder says that it does so
    never_issued = (
        _EXTENDED_REVOKE in basic.extensions
        and reason is x509.ReasonFlags.certificate_hold
        and single.revoked_at == _EPOCH
    )
    return Revoked(single.revoked_at, reason, never_issued)
