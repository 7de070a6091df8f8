"""Before another backend the guard is asked for each request: what it refuses never gets there."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contract.certificates import Shown, make
from tests.contract.sites import GROUPS
from tests.contract.test_own_clients import Kept, added, client
from tests.contract.test_tokens import bearer, now, published
from tests.guard.tokens.issuing import AUDIENCE, ISSUER, jwk, token
from tests.live.backend import Backend, backend
from tests.live.served import Served, serve
from tests.live.wire import H2, Answer, get, parse, read_until_closed

RULES = [
    {"path": "/free/**", "require": "none"},
    {"path": "/ops/**", "require": {"group": ["ops"]}},
    {"path": "/write/**", "require": {"scope": ["orders:write"]}},
]
SPOOFED = [
    "Client-Cert: :aGk=:",
    "client-cert: :aGk=:",
    "Sealgate-Client: eyJhIjoxfQ",
    "SEALGATE-CLIENT: eyJhIjoxfQ",
    "Client-Cert-Chain: :aGk=:",
    "Sealgate-Proof: x",
    "Sealgate-Address: 203.0.113.9:1",
    "Sealgate-Certificate: x",
]


class Pair:
    """A site, and what stands behind it."""

    def __init__(self, served: Served, other: Backend) -> None:
        self.served, self.other = served, other

    def ask(
        self, path: str, *fields: str, shown: Shown | None = None, alpn: str = "http/1.1", **more: Any
    ) -> Answer:
        context = self.served.context()
        if shown is not None:
            context.load_cert_chain(shown.path)
        if alpn == "h2":
            context.set_alpn_protocols(["h2"])
        with self.served.connect(context, alpn=alpn) as tls:
            if alpn == "h2":
                pairs = [(name.lower(), text) for name, _, text in (one.partition(": ") for one in fields)]
                answer = H2(tls).ask(path, "localhost", *pairs)
                assert answer is not None
                return answer
            body = more.get("body", b"")
            length = (f"Content-Length: {len(body)}",) if body else ()
            tls.sendall(get("localhost", path, *fields, *length, method=more.get("method", "GET")) + body)
            (answer,) = parse(read_until_closed(tls))
            return answer

    def told(self, *arguments: Any, **named: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Of one request that gets there: who the backend is told that it was, and all fields."""
        before = len(self.other.seen)
        answer = self.ask(*arguments, **named)
        assert answer.status == 200, answer
        (seen,) = self.other.seen[before:]
        (text,) = [value for name, value in seen["fields"] if name == "sealgate-client"]
        return json.loads(urlsafe_b64decode(text + "==")), seen["fields"]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    keys = tmp_path / "keys.json"
    published(keys, jwk("ES256", "one"))
    issuer = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks_file": str(keys)}
    with ExitStack() as stack:
        other = stack.enter_context(backend())
        served = stack.enter_context(
            serve(
                tmp_path,
                site={"upstream": other.url, "workers": 2},
                clients={"mode": "optional", "groups": GROUPS},
                tokens={"issuers": [issuer]},
                access={"rules": RULES},
                limits={"body": "2MiB", "rates": [{"by": "client", "rate": "1000/min"}]},
            )
        )
        yield Pair(served, other)


def test_the_guard_before_another_backend(pair: Pair) -> None:
    alice, ops = make(pair.served, "good"), make(pair.served, "ops")
    good = token(header={"kid": "one"}, **now())
    for alpn in ("http/1.1", "h2"):
        before = len(pair.other.seen)
        for path, fields, shown, answer in (
            ("/x", (), None, (401, "authentication-required")),
            ("/x", (bearer(good + "x"),), None, (401, "token-refused")),
            ("/write/x", (bearer(good),), None, (403, "scope-insufficient")),
            ("/ops/x", (), alice, (403, "access-denied")),
            ("/x/%2e%2e/ops", (), ops, (400, "path-not-canonical")),
        ):
            found = pair.ask(path, *fields, shown=shown, alpn=alpn)
            assert (found.status, found.slug) == answer, (path, found)
            assert found.one("strict-transport-security")
        assert pair.ask("/x", alpn=alpn).one("www-authenticate") == 'Bearer realm="localhost"'
        assert pair.other.seen[before:] == [], "none of them got there"

        said, fields_ = pair.told("/free/x", alpn=alpn)
        assert said == {"address": "127.0.0.1", "groups": []}
        assert not [name for name, _ in fields_ if name == "client-cert"]
        said, fields_ = pair.told("/ops/x", shown=ops, alpn=alpn)
        assert said["groups"] == ["ops"]
        assert said["certificate"]["fingerprint"] == ops.fingerprint
        (text,) = [value for name, value in fields_ if name == "client-cert"]
        assert (text[0], text[-1]) == (":", ":")
        assert hashlib.sha256(b64decode(text[1:-1])).hexdigest() == ops.fingerprint
        said, _ = pair.told("/x", bearer(good), alpn=alpn)
        assert said["token"]["subject"] == "ann"
        assert good.encode() not in json.dumps(said).encode()
        for one in (SPOOFED, SPOOFED * 2):
            said, fields_ = pair.told("/free/x", *one, alpn=alpn)
            assert said == {"address": "127.0.0.1", "groups": []}
            names = [name for name, _ in fields_]
            assert names.count("sealgate-client") == 1
            assert not {"client-cert", "client-cert-chain", "sealgate-proof", "sealgate-certificate"} & set(
                names
            )
            assert "sealgate-address" not in names
    body = os.urandom(1_500_000)
    said, _ = pair.told("/free/x", method="POST", body=body)
    assert pair.other.seen[-1]["size"] == len(body)
    assert pair.ask("/ops/x", shown=ops).one("ratelimit").startswith('"client";r=')


def test_who_was_revoked_gets_nothing_more(pair: Pair) -> None:
    """In new handshakes, and with the next request of a connection that was open."""
    site: Any = SimpleNamespace(served=pair.served, alpns=("http/1.1", "h2"))
    ann = added(site, "ann")
    assert pair.ask("/x", shown=ann).status == 200
    with ExitStack() as stack:
        opened = [Kept(stack, site, ann, alpn) for alpn in site.alpns]
        for one in opened:
            answer = one.ask()
            assert answer is not None
            assert answer.status == 200
        done = client(site, "revoke", "ann", "--json")
        assert done.status == 0, done.err
        assert json.loads(done.out)["doors"]["open_connections"] is True
        before = len(pair.other.seen)
        for one in opened:
            answer = one.ask()
            assert answer is None or answer.status == 403
        assert pair.other.seen[before:] == []
    pair.served.reload()
    assert "sealgate: reloaded" in pair.served.err
    assert pair.ask("/free/x").status == 200


def test_a_guard_that_is_gone_lets_nobody_through(pair: Pair) -> None:
    assert pair.ask("/free/x").status == 200
    pids = _workers(pair.served)
    assert len(pids) == 2
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    before = len(pair.other.seen)
    try:
        answer = pair.ask("/free/x")
        assert (answer.status, answer.slug) == (503, "app-unavailable")
        assert pair.other.seen[before:] == []
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while pair.ask("/free/x").status != 200:
        assert time.monotonic() < end, pair.served.err
        time.sleep(0.1)


def _workers(served: Served) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b"sealgate.runtime.worker" in words and int(parent) == served.process.pid:
                found.append(int(entry.name))
    return found
