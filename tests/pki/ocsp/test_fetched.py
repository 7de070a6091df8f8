"""Asked, answered, judged, kept: whatever a responder says, nobody is good but by its signed word."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sealgate._system.fetch import Bounds as Cost
from sealgate._system.fetch import Failed, Fetched, Posted, fetch
from sealgate.pki.ocsp.asking import CONTENT_TYPE, NONCE, Question, question_of
from sealgate.pki.ocsp.cache import Cache, Key, Standing
from sealgate.pki.ocsp.judging import LARGEST, Accepted, Reason, Refused, judge
from tests._system.publishing import Answer, Call, Publisher, publishing
from tests.pki.making import DAY, NOW, make
from tests.pki.ocsp.answering import (
    EC_SHA1,
    UNKNOWN,
    Draft,
    about,
    delegated,
    request_of,
    revoked,
    single,
    trouble,
)

ROOT = make("root", ca=True, identified=True)
ROLLED = make("root", ca=True, identified=True)
OTHER = make("other", ca=True, identified=True)
LEAF = make("leaf", ROOT)
RESPONDER = delegated(ROOT)
COST = Cost(size=LARGEST, seconds=60, connect=60, window=60, least=1)
SLOW = {"a byte a second", "silence"}
"""Of these nothing is waited for; the others come, however busy the machine is."""
HERE = (ipaddress.ip_network("127.0.0.1"),)
NOT_UNDERSTOOD = {Reason.MALFORMED, Reason.UNAUTHORIZED}


@dataclass
class Asker:
    """What whoever keeps a cache does, in the shortest way."""

    url: str
    now: datetime = NOW
    cache: Cache = field(default_factory=Cache)
    cost: Cost = COST

    def look(self) -> Standing:
        key = Key(question_of(LEAF.certificate, ROOT.certificate, nonce=bytes(NONCE)).issuer_key, self.serial)
        return self.cache.look(key, now=self.now)

    @property
    def serial(self) -> int:
        return LEAF.certificate.serial_number

    def ask(self) -> str:
        """The word for what came of the one question that is due; empty: none is."""
        for ask in self.cache.due(now=self.now):
            question = question_of(
                LEAF.certificate, ROOT.certificate, nonce=secrets.token_bytes(NONCE), digest=ask.digest
            )
            post = Posted(question.der, CONTENT_TYPE)
            found = asyncio.run(fetch(self.url, post=post, allowed=HERE, bounds=self.cost))
            match found:
                case Fetched(body=body):
                    answer = judge(body, question, before=ask.before, now=self.now)
                    return self._judged(ask.key, question, answer)
                case Failed(why=why, retry_after=wait):
                    self.cache.failed(ask.key, now=self.now, spread=0, retry_after=wait)
                    return why.value
        return ""

    def _judged(self, key: Key, question: Question, found: Accepted | Refused) -> str:
        assert key == Key(question.issuer_key, question.serial)
        if isinstance(found, Refused):
            self.cache.failed(key, now=self.now, spread=0, not_understood=found.reason in NOT_UNDERSTOOD)
            return found.reason.value
        return self.cache.took(found, now=self.now, spread=0).value


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as found:
        yield found


def says(change: Callable[[Draft], Draft | bytes] = lambda draft: draft) -> Answer:
    """A responder that reads the question; ``change``: what it does to a sound answer."""

    def answer(call: Call) -> None:
        request = request_of(call.body)
        question = question_of(LEAF.certificate, ROOT.certificate, nonce=bytes(NONCE))
        assert request.serial_number == question.serial
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        draft = change(Draft(question, ROOT, nonce=nonce))
        body = draft.der() if isinstance(draft, Draft) else draft
        call.answer(200, body, Content_Type="application/ocsp-response")

    return answer


def state(state: bytes, **facts: Any) -> Answer:
    return says(lambda draft: draft.but(singles=(single(about(draft.question), state, **facts),)))


def stated(**facts: Any) -> Answer:
    return says(lambda draft: draft.but(singles=(single(about(draft.question), **facts),)))


def by(responder, **facts) -> Answer:
    return says(lambda draft: draft.but(by=responder, certificates=(responder.certificate,), **facts))


def drips(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    call.endlessly(b"0", pause=1)


HALF = says(lambda draft: draft.der()[: len(draft.der()) // 2])
LAPSED = {"begins": NOW - 2 * DAY, "until": NOW - DAY}
NOT_GOOD: dict[str, tuple[Answer, str]] = {
    "revoked": (state(revoked()), "revoked"),
    "on hold": (state(revoked(reason=6)), "revoked"),
    "unknown": (state(UNKNOWN), "unknown"),
    "try later": (says(lambda _: trouble(3)), "try-later"),
    "unauthorized": (says(lambda _: trouble(6)), "unauthorized"),
    "garbage": (says(lambda _: b"\x00\xff" * 500), "unreadable"),
    "a page": (says(lambda _: b"<html>404</html>"), "unreadable"),
    "nothing in it": (says(lambda _: b""), "unreadable"),
    "half": (HALF, "unreadable"),
    "the wrong issuer": (by(OTHER), "wrong-responder"),
    "another certificate": (
        says(lambda draft: draft.but(singles=(single(about(draft.question, serial=7)),))),
        "other-certificate",
    ),
    "the wrong nonce": (says(lambda draft: draft.but(nonce=bytes(NONCE))), "wrong-nonce"),
    "stale": (stated(**LAPSED), "ended"),
    "from the future": (stated(begins=NOW + DAY, until=NOW + 2 * DAY), "not-begun"),
    "by a delegate without the purpose": (by(delegated(ROOT, purposes=None)), "may-not-answer"),
    "by a delegate without noCheck": (by(delegated(ROOT, extra=())), "responder-may-be-revoked"),
    "by a delegate of another key of that name": (by(delegated(ROLLED)), "wrong-responder"),
    "by another key of that name": (by(ROLLED, by_name=True), "wrong-responder"),
    "by SHA-1": (
        says(lambda draft: draft.but(algorithm=EC_SHA1, digest=hashes.SHA1())),  # noqa: S303 - seen refused
        "weak-signature",
    ),
    "10 MB": (says(lambda draft: draft.der() + bytes(10_000_000)), "too-large"),
    "without end": (lambda call: call.endlessly(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(65536)), "too-large"),
    "a byte a second": (drips, "timeout"),
    "silence": (lambda call: call.gone.wait(60), "timeout"),
    "gone": (lambda call: None, "no-http-answer"),
    "into loopback": (lambda call: call.answer(302, Location="http://127.0.0.1:1/"), "redirects"),
    "into metadata": (lambda call: call.answer(307, Location="http://169.254.169.254/"), "redirects"),
    "trouble": (lambda call: call.answer(503, Retry_After="60"), "status"),
}


@pytest.fixture
def asker(publisher: Publisher) -> Asker:
    asker = Asker(publisher.url())
    assert asker.look() is Standing.UNASKED
    return asker


@pytest.mark.parametrize("kind", NOT_GOOD)
def test_nobody_is_good_by_it(publisher: Publisher, asker: Asker, kind: str) -> None:
    publisher.answers["/"], word = NOT_GOOD[kind]
    asker.cost = replace(COST, seconds=1) if kind in SLOW else COST
    assert asker.ask() == word
    assert len(publisher.calls) == 1
    expected = {"revoked": Standing.REVOKED, "on hold": Standing.REVOKED, "unknown": Standing.UNKNOWN}
    assert asker.look() is expected.get(kind, Standing.UNASKED)


@pytest.mark.parametrize("kind", sorted(NOT_GOOD.keys() - {"revoked", "on hold", "unknown"}))
def test_the_good_stay_good_until_the_end(publisher: Publisher, asker: Asker, kind: str) -> None:
    publisher.answers["/"] = says()
    assert asker.ask() == "good"
    asker.now = NOW + timedelta(hours=5)
    assert asker.look() is Standing.GOOD
    publisher.answers["/"], _ = NOT_GOOD[kind]
    asker.cost = replace(COST, seconds=1) if kind in SLOW else COST
    if kind == "stale":
        publisher.answers["/"] = stated(begins=NOW - 2 * DAY)  # an older one, in date: a replay
    assert asker.ask() not in {"good", ""}
    asker.now = NOW + DAY
    assert asker.look() is Standing.GOOD
    asker.now = NOW + DAY + timedelta(seconds=1)
    assert asker.look() is Standing.STALE


def test_a_revocation_ends_the_good(publisher: Publisher, asker: Asker) -> None:
    publisher.answers["/"] = by(RESPONDER)
    assert asker.ask() == "good"
    assert (asker.look(), asker.ask()) == (Standing.GOOD, "")  # known: nobody is asked
    asker.now = NOW + timedelta(hours=5)
    asker.look()
    publisher.answers["/"] = state(revoked())
    assert asker.ask() == "revoked"
    assert asker.look() is Standing.REVOKED
    publisher.answers["/"] = by(RESPONDER)
    asker.now = NOW + 30 * DAY
    assert (asker.look(), asker.ask()) == (Standing.REVOKED, "")
    assert len(publisher.calls) == 2


def test_one_that_knows_sha256_alone(publisher: Publisher, asker: Asker) -> None:
    def answer(call: Call) -> None:
        request = request_of(call.body)
        if not isinstance(request.hash_algorithm, hashes.SHA256):
            return call.answer(200, trouble(6))
        facts = {"name_hash": request.issuer_name_hash, "key_hash": request.issuer_key_hash}
        question = question_of(LEAF.certificate, ROOT.certificate, nonce=bytes(NONCE))
        one = single(about(question, digest="608648016503040201", **facts))
        return call.answer(200, Draft(question, ROOT, singles=(one,)).der())

    publisher.answers["/"] = answer
    words = []
    for _ in itertools.takewhile(lambda _: "good" not in words, range(5)):
        words.append(asker.ask())
        asker.now += timedelta(seconds=61)
        asker.look()
    assert words == ["unauthorized", "good"]
    assert len(publisher.calls) == 2


def test_no_two_questions_are_alike(publisher: Publisher, asker: Asker) -> None:
    publisher.answers["/"] = says(lambda _: trouble(3))
    for _ in range(3):
        assert asker.ask() == "try-later"
        asker.now += timedelta(minutes=5)
        asker.look()
    assert len({call.body for call in publisher.calls}) == 3
    assert {call.fields["content-type"] for call in publisher.calls} == {"application/ocsp-request"}
