"""Tokens on every engine: whose count, what the app is told, and that keys come and go while it is served."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.contract.certificates import Shown, make
from tests.contract.sites import Site, at_least, started
from tests.guard.tokens.issuing import AUDIENCE, ISSUER, claims, hmac, joined, jwk, text, token
from tests.live.wire import H2, Answer, get, parse, read_until_closed, tell

FOLLOWED = 40.0
"""Seconds within which a changed file counts: it is looked at every 15."""
BASIC = "Authorization: Basic eDp5"
STREAMS = {"wsgi": "/drip?token", "asgi": "/events"}
RULES = [
    {"path": "/free/**", "require": "none"},
    {"path": "/write/**", "require": {"scope": ["orders:write"]}},
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def now(**said: Any) -> dict[str, Any]:
    moment = time.time()
    return {"exp": moment + 600, "iat": moment, **said}


def bearer(value: str) -> str:
    return f"Authorization: Bearer {value}"


def ask(site: Site, path: str, *fields: str, shown: Shown | None = None, alpn: str = "http/1.1") -> Answer:
    context = site.served.context()
    if shown is not None:
        context.load_cert_chain(shown.path)
    with site.served.connect(context, alpn=alpn) as tls:
        if alpn == "h2":
            pairs = [(name.lower(), value) for name, _, value in (one.partition(": ") for one in fields)]
            answer = H2(tls).ask(path, "localhost", *pairs)
        else:
            tls.sendall(get("localhost", path, *fields))
            answer = next(iter(parse(read_until_closed(tls))), None)
    assert answer is not None
    return answer


def published(path: Path, *keys: dict[str, Any]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"keys": list(keys)}))
    beside.chmod(0o644)
    beside.replace(path)


def until(site: Site, path: str, status: int, *fields: str) -> None:
    end = time.monotonic() + FOLLOWED
    while (answer := ask(site, path, *fields)).status != status:
        assert time.monotonic() < end, answer
        time.sleep(0.2)


@at_least("envoy")
def test_tokens(stack: ExitStack, which: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    published(keys, jwk("ES256", "one"), jwk("RS256", "two"))
    issuer = {"issuer": ISSUER, "audience": [AUDIENCE], "jwks_file": str(keys)}
    site = started(
        stack,
        which,
        "usual",
        clients={"mode": "optional"},
        tokens={"issuers": [issuer]},
        access={"rules": RULES},
    )
    good = token(header={"kid": "one"}, **now())
    said = [good]
    for alpn in site.alpns:
        _who_may(site, alpn, good, said)
    _with_a_body(site)
    _bound(site, said)
    _followed(site, keys, good, said)
    for line in (site.served.out, site.served.err, *map(str, site.served.access())):
        for one in said:
            assert one not in line
            assert one.rpartition(".")[2] not in line


def _who_may(site: Site, alpn: str, good: str, said: list[str]) -> None:
    mark = site.witness.mark
    answer = ask(site, "/x", alpn=alpn)
    assert (answer.status, answer.slug) == (401, "authentication-required")
    assert answer.one("www-authenticate") == 'Bearer realm="localhost"'
    bad = [
        token(header={"kid": "one"}, **now(exp=time.time() - 100)),
        token(header={"kid": "one"}, **now(aud="https://other.test")),
        token(header={"kid": "one"}, which="mallory", **now()),
        joined({"alg": "none"}, claims(**now()), lambda _: b"x"),
        joined({"alg": "HS256", "kid": "one"}, claims(**now()), lambda message: hmac(b"secret", message)),
        "not.a.token",
    ]
    said += bad[:-1]
    for one in bad:
        answer = ask(site, "/x", bearer(one), alpn=alpn)
        assert (answer.status, answer.slug) == (401, "token-refused")
        assert answer.one("www-authenticate") == 'Bearer realm="localhost", error="invalid_token"'
    assert ask(site, "/free/x", bearer(bad[0]), alpn=alpn).status == 401, "a bad one is never taken for none"
    for mistaken in (
        (bearer(""),),
        (bearer(good), bearer(good)),
        (bearer(good), "Authorization: Basic eDp5"),
    ):
        assert ask(site, "/x", *mistaken, alpn=alpn).status == 400
    assert ask(site, f"/x?access_token={good}", alpn=alpn).status == 401
    answer = ask(site, "/write/x", bearer(good), alpn=alpn)
    assert (answer.status, answer.slug) == (403, "scope-insufficient")
    assert answer.one("www-authenticate").endswith('error="insufficient_scope", scope="orders:write"')
    assert site.witness.since(mark) == []

    writing = token("RS256", header={"kid": "two"}, **now(scope="orders:read orders:write"))
    said.append(writing)
    for path, fields in (
        ("/x", (bearer(good),)),
        ("/write/x", (bearer(writing),)),
        ("/free/x", ()),
        ("/free/x", (BASIC,)),
    ):
        assert ask(site, path, *fields, alpn=alpn).status == 200
    read, write, *others = (line["token"] for line in site.witness.since(mark))
    assert read == [ISSUER, "ann", ["orders:read"]]
    assert write == [ISSUER, "ann", ["orders:read", "orders:write"]]
    assert others == [None, None]


def _with_a_body(site: Site) -> None:
    """Whoever is still sending hears the answer, and not that the connection broke."""
    body = b"x" * 600_000
    post = get("localhost", "/x", f"Content-Length: {len(body)}", method="POST") + body
    for _ in range(5):
        assert [one.slug for one in tell(site.served, post)] == ["authentication-required"]


def _bound(site: Site, said: list[str]) -> None:
    """RFC 8705: a token that was taken from somebody is of no use without his certificate."""
    alice, ops = make(site.served, "good"), make(site.served, "ops")
    bound = token(header={"kid": "one"}, **now(cnf={"x5t#S256": text(bytes.fromhex(alice.fingerprint))}))
    said.append(bound)
    assert ask(site, "/x", bearer(bound), shown=alice).status == 200
    for shown in (ops, None):
        assert ask(site, "/x", bearer(bound), shown=shown).slug == "token-refused"
    assert ask(site, "/x", shown=alice).status == 200, "a certificate is enough where a rule asks for neither"
    assert ask(site, "/write/x", shown=alice).slug == "authentication-required"


def _followed(site: Site, keys: Path, good: str, said: list[str]) -> None:
    """A new key counts, a removed one does not, not even for what is under way; garbage is nothing."""
    newer = token(header={"kid": "new"}, which="new", **now())
    said.append(newer)
    assert ask(site, "/x", bearer(newer)).status == 401
    with site.served.connect() as tls:
        tls.sendall(get("localhost", STREAMS[site.kind], bearer(good), close=False))
        assert b" 200 " in tls.recv(65536)
        published(keys, jwk("ES256", "new", "new"))
        until(site, "/x", 200, bearer(newer))
        until(site, "/x", 401, bearer(good))
        tls.settimeout(20)
        data = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # ended in its midst: so it is told over TLS
            while not data.endswith(b"\r\n0\r\n\r\n") and (piece := tls.recv(65536)):
                data += piece
    keys.with_suffix(".new").write_text("{")
    keys.with_suffix(".new").replace(keys)
    site.served.wait_for(lambda: "the keys before still count" in site.served.err, FOLLOWED)
    assert ask(site, "/x", bearer(newer)).status == 200
