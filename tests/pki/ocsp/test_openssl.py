"""The openssl command answers: a responder that nobody here wrote."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealgate._system.fetch import Bounds, Failed, Fetched, Posted, fetch
from sealgate.pki.inspect import serial_text
from sealgate.pki.ocsp.asking import CONTENT_TYPE, NONCE, Digest, question_of
from sealgate.pki.ocsp.judging import LARGEST, Accepted, Refused, State, judge
from tests.pki.making import DAY, Made, make, write
from tests.pki.ocsp.answering import delegated

_ACCEPT = re.compile(r"^ACCEPT .*:([0-9]+) PID", re.MULTILINE)
HERE = (ipaddress.ip_network("127.0.0.1"),)
NOW = datetime.now(UTC).replace(microsecond=0)
FIRST, LAST = NOW - 10 * DAY, NOW + 80 * DAY
ROOT = make("root", ca=True, first=FIRST, last=LAST)
GOOD, REVOKED, STRANGER = (make(one, ROOT, first=FIRST, last=LAST) for one in ("good", "bad", "new"))
OTHER = make("other", ca=True, first=FIRST, last=LAST)


def index() -> str:
    """As `openssl ca` keeps it: state, end, revocation with its reason, number, file, name."""
    end = f"{LAST:%y%m%d%H%M%SZ}"

    def row(state: str, when: str, made: Made) -> str:
        return f"{state}\t{end}\t{when}\t{serial_text(made.certificate)}\tunknown\t/CN=x\n"

    return row("V", "", GOOD) + row("R", f"{NOW - DAY:%y%m%d%H%M%SZ},keyCompromise", REVOKED)


@dataclass
class Responder:
    port: int

    def asked(self, leaf: Made, issuer: Made = ROOT, digest: Digest = Digest.SHA1) -> Accepted | Refused:
        nonce = secrets.token_bytes(NONCE)
        question = question_of(leaf.certificate, issuer.certificate, nonce=nonce, digest=digest)
        post = Posted(question.der, CONTENT_TYPE)
        bounds = Bounds(size=LARGEST, seconds=60, connect=60, window=60, least=1)
        found = asyncio.run(fetch(f"http://127.0.0.1:{self.port}/", post=post, allowed=HERE, bounds=bounds))
        assert isinstance(found, Fetched), found
        return judge(found.body, question, before=None, now=datetime.now(UTC))


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def responding(folder: Path, signer: Made, *options: str) -> Iterator[Responder]:
    """On a port that it chooses itself; it knows no address. It says which, and takes one after the other."""
    files = {
        "-index": write(folder / "index", index().encode()),
        "-CA": write(folder / "ca", ROOT.pem),
        "-rsigner": write(folder / "signer", signer.pem),
        "-rkey": write(folder / "key", signer.key_pem),
    }
    words = ["openssl", "ocsp", "-port", "0", *options]
    for option, path in files.items():
        words += [option, str(path)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while (said := _ACCEPT.search((folder / "log").read_text())) is None:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield Responder(int(said[1]))
        finally:
            process.kill()
            process.wait()


def stood(found: Accepted | Refused) -> str:
    return found.state.value if isinstance(found, Accepted) else found.reason.value


@pytest.mark.parametrize("digest", Digest)
def test_the_issuer_itself_answers(tmp_path: Path, digest: Digest) -> None:
    with responding(tmp_path, ROOT, "-ndays", "1") as responder:
        found = responder.asked(GOOD, digest=digest)
        assert isinstance(found, Accepted), found
        assert (found.state, found.fresh) == (State.GOOD, True)
        assert found.until - found.this_update == DAY
        ended = responder.asked(REVOKED, digest=digest)
        assert isinstance(ended, Accepted), ended
        assert ended.revoked is not None
        assert (ended.revoked.at, ended.revoked.for_good) == (NOW - DAY, True)
        assert stood(responder.asked(STRANGER, digest=digest)) == "unknown"
        foreign = make("foreign", OTHER, first=FIRST, last=LAST)
        assert stood(responder.asked(foreign, OTHER, digest=digest)) in {"unknown", "wrong-responder"}


def test_a_delegate_answers(tmp_path: Path) -> None:
    sound = delegated(ROOT, first=FIRST, last=LAST)
    with responding(tmp_path, sound, "-resp_key_id") as responder:
        found = responder.asked(GOOD)
        assert isinstance(found, Accepted), found
        assert found.until - found.this_update == timedelta(hours=1)  # it does not say


@pytest.mark.parametrize(
    ("signer", "word"),
    [
        (delegated(ROOT, first=FIRST, last=LAST, extra=()), "responder-may-be-revoked"),
        (make("server", ROOT, first=FIRST, last=LAST), "may-not-answer"),
        (delegated(OTHER, first=FIRST, last=LAST), "wrong-responder"),
    ],
    ids=["without noCheck", "without the purpose", "of another issuer"],
)
def test_who_may_not(tmp_path: Path, signer: Made, word: str) -> None:
    with responding(tmp_path, signer, "-ndays", "1") as responder:
        assert stood(responder.asked(GOOD)) == word


def test_by_sha1(tmp_path: Path) -> None:
    with responding(tmp_path, ROOT, "-ndays", "1", "-rmd", "sha1") as responder:
        assert stood(responder.asked(GOOD)) == "weak-signature"


def test_without_the_certificate_that_signed(tmp_path: Path) -> None:
    sound = delegated(ROOT, first=FIRST, last=LAST)
    with responding(tmp_path, sound, "-ndays", "1", "-resp_no_certs") as responder:
        assert stood(responder.asked(GOOD)) == "wrong-responder"


def test_nobody_there() -> None:
    question = question_of(GOOD.certificate, ROOT.certificate, nonce=bytes(NONCE))
    url = f"http://127.0.0.1:{_free()}/"
    assert isinstance(asyncio.run(fetch(url, post=Posted(question.der, CONTENT_TYPE), allowed=HERE)), Failed)
