"""Fetched, judged, in force: whatever a server answers, the good list stays until a better one comes."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate._system.fetch import Bounds, Failed, Fetched, Tag, Unchanged, fetch
from sealgate.pki.lists.judging import Accepted, Refused, judge
from sealgate.policy.points import Point
from tests._system.publishing import Answer, Call, Publisher, publishing
from tests.pki.lists.published import published, scope
from tests.pki.making import DAY, NOW, make

ROOT = make("root", ca=True, identified=True)
OTHER = make("other", ca=True, identified=True)
GOOD, NEWER = published(ROOT, 7, number=7), published(ROOT, 7, 8, number=8)
BOUNDS = Bounds(size=1 << 20, seconds=30, window=1, least=100)


@dataclass
class Kept:
    """What whoever keeps lists does, in the shortest way."""

    url: str
    list: Accepted | None = None
    tag: Tag = field(default_factory=Tag)

    def renew(self) -> str:
        """The word for what came of it."""
        only = [ipaddress.ip_network("127.0.0.1")]
        match asyncio.run(fetch(self.url, tag=self.tag, allowed=only, bounds=BOUNDS)):
            case Failed(why=why):
                return why.value
            case Unchanged():
                return "unchanged"
            case Fetched(body=body, tag=tag):
                return self._take(body, tag)

    def _take(self, body: bytes, tag: Tag) -> str:
        point = Point((self.url,), (x509.UniformResourceIdentifier(self.url),))
        before = self.list.before if self.list else None
        found = judge(body, [ROOT.certificate], point=point, before=before, now=NOW)
        if isinstance(found, Refused):
            return found.reason.value
        self.list, self.tag = found, tag
        return "taken"


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as found:
        yield found


@pytest.fixture
def kept(publisher: Publisher) -> Kept:
    publisher.answers["/"] = lambda call: call.answer(200, GOOD, Content_Type="text/html")
    kept = Kept(publisher.url())
    assert kept.renew() == "taken"
    return kept


def sends(body: bytes, **fields: object) -> Answer:
    return lambda call: call.answer(200, body, **fields)


def drips(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\n\r\n")
    call.endlessly(b"0", pause=1)


def floods(call: Call) -> None:
    call.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
    call.endlessly(b"0" * 65536)


ANSWERS: dict[str, tuple[Answer, str]] = {
    "garbage": (sends(b"\x00\xff" * 500), "unreadable"),
    "a page": (sends(b"<html>404</html>", Content_Type="application/pkix-crl"), "unreadable"),
    "nothing": (sends(b""), "unreadable"),
    "half a file": (sends(NEWER[: len(NEWER) // 2]), "unreadable"),
    "an old number": (sends(published(ROOT, number=6)), "older"),
    "an old date": (sends(published(ROOT, number=8, last=NOW - 2 * DAY)), "older"),
    "one that ended": (sends(published(ROOT, number=8, until=NOW - DAY / 2)), "ended"),
    "the wrong issuer": (sends(published(OTHER, number=8)), "wrong-issuer"),
    "the wrong key": (sends(published(ROOT, signer=OTHER, number=8)), "bad-signature"),
    "a delta": (sends(published(ROOT, number=8, extensions=[(x509.DeltaCRLIndicator(7), True)])), "delta"),
    "another's point": (
        sends(published(ROOT, number=8, extensions=[scope(name="http://elsewhere.test/")])),
        "other-point",
    ),
    "into loopback": (lambda call: call.answer(302, Location="http://127.0.0.2/"), "private-address"),
    "into metadata": (lambda call: call.answer(302, Location="http://169.254.169.254/"), "private-address"),
    "in a circle": (lambda call: call.answer(302, Location="/"), "redirects"),
    "without end": (floods, "too-large"),
    "a byte a second": (drips, "too-slow"),
    "silence": (lambda call: call.gone.wait(60), "too-slow"),
    "the wrong length": (sends(NEWER, Content_Length=len(NEWER) + 7), "no-http-answer"),
    "a bomb": (sends(gzip.compress(b"0" * 50_000_000), Content_Encoding="gzip"), "encoded"),
    "304 without asking": (lambda call: call.answer(304), "unasked-304"),
    "trouble": (lambda call: call.answer(500), "status"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_good_list_stays(publisher: Publisher, kept: Kept, kind: str) -> None:
    before = (kept.list, kept.tag)
    publisher.answers["/"], word = ANSWERS[kind]
    assert kept.renew() == word
    assert (kept.list, kept.tag) == before
    publisher.answers["/"] = sends(NEWER)
    assert kept.renew() == "taken"
    assert kept.list is not None
    assert list(kept.list.serials) == [7, 8]


def test_200_after_304(publisher: Publisher, kept: Kept) -> None:
    current = {'"1"': GOOD}

    def answer(call: Call) -> None:
        ((etag, body),) = current.items()
        asked = call.fields.get("if-none-match")
        call.answer(304) if asked == etag else call.answer(200, body, ETag=etag)

    publisher.answers["/"] = answer
    assert [kept.renew() for _ in range(3)] == ["taken", "unchanged", "unchanged"]
    current.clear()
    pem = x509.load_der_x509_crl(NEWER).public_bytes(Encoding.PEM)
    current['"2"'] = pem
    assert [kept.renew() for _ in range(2)] == ["taken", "unchanged"]
    assert kept.list is not None
    assert list(kept.list.serials) == [7, 8]
