"""API keys on every engine: issued, used, revoked within a second, whatever is under way by them."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.cli.calls import Result, sealgate
from tests.contract.sites import Site, at_least, started
from tests.contract.test_tokens import STREAMS, ask, bearer
from tests.live.wire import get, tell_plain

RULES = [{"path": "/free/**", "require": "none"}, {"path": "/write/**", "require": {"scope": ["write"]}}]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def token(site: Site, *words: str) -> Result:
    served = site.served
    place = ("-c", str(served.policy), "--state", str(served.state))
    return sealgate("token", words[0], *place, *words[1:], cwd=served.folder)


def issued(site: Site, name: str, *words: str) -> tuple[str, str]:
    done = token(site, "add", name, *words, "--json")
    assert done.status == 0, done.err
    said = json.loads(done.out)
    return said["key"], said["id"]


@at_least("envoy")
def test_api_keys(stack: ExitStack, which: str) -> None:
    site = started(stack, which, "usual", tokens={"api_keys": True}, access={"rules": RULES})
    key, mark = issued(site, "billing", "--scope", "read", "--days", "30")
    writer, _ = issued(site, "ci", "--scope", "read", "--scope", "write")
    before = site.witness.mark
    for alpn in site.alpns:
        assert ask(site, "/x", alpn=alpn).slug == "authentication-required"
        assert ask(site, "/x", bearer(key), alpn=alpn).status == 200
        assert ask(site, "/x", bearer(key[:-1] + "0"), alpn=alpn).slug == "token-refused"
        assert ask(site, "/write/x", bearer(key), alpn=alpn).slug == "scope-insufficient"
        assert ask(site, "/write/x", bearer(writer), alpn=alpn).status == 200
        assert ask(site, "/x", f"X-Api-Key: {key}", alpn=alpn).status == 401
    told = [line["token"] for line in site.witness.since(before)]
    assert told == [["", "billing", ["read"]], ["", "ci", ["read", "write"]]] * len(site.alpns)
    with site.served.connect() as tls:
        tls.sendall(get("localhost", STREAMS[site.kind], bearer(key), close=False))
        assert b" 200 " in tls.recv(65536)
        began = time.monotonic()
        done = token(site, "revoke", "billing")
        assert done.status == 0, done.err
        assert f"revoked: {mark} of billing" in done.err
        assert ask(site, "/x", bearer(key)).slug == "token-refused"
        tls.settimeout(20)
        data = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while not data.endswith(b"\r\n0\r\n\r\n") and (piece := tls.recv(65536)):
                data += piece
        assert time.monotonic() - began < 10
    assert ask(site, "/write/x", bearer(writer)).status == 200
    for text in (site.served.out, site.served.err, *map(str, site.served.access())):
        for one in (key, writer):
            assert one not in text
            assert one[20:] not in text


@at_least("envoy")
def test_a_field_of_their_own(stack: ExitStack, which: str) -> None:
    tables = {"api_keys": True, "api_key_header": "X-Api-Key"}
    site = started(stack, which, "usual", tokens=tables, access={"rules": RULES})
    key, _ = issued(site, "billing")
    assert ask(site, "/x", f"X-Api-Key: {key}").status == 200
    assert ask(site, "/x", f"x-api-key: {key}").status == 200
    assert ask(site, "/x", bearer(key)).slug == "token-refused"
    assert ask(site, "/x", f"X-Api-Key: {key}", bearer(key)).status == 400
    assert ask(site, "/x", f"X-Api-Key: {key}", f"X-Api-Key: {key}").status == 400
    assert ask(site, "/free/x", "X-Api-Key: nonsense").slug == "token-refused"


def _refusals(site: Site) -> list[dict[str, Any]]:
    return [one for one in site.served.access() if one["status"] == 403]


@at_least("envoy", "gunicorn")
def test_over_plain_http_they_are_refused_and_named(stack: ExitStack, which: str) -> None:
    """Never redirected, whatever they are; the log has the public part of ours, and nothing of others."""
    tables = {"api_keys": True, "api_key_header": "x-api-key"}
    site = started(stack, which, "usual", tokens=tables, access={"rules": RULES})
    key, mark = issued(site, "billing")
    secret = "dXNlcjpwYXNzd29yZA=="
    for fields in (
        (f"X-Api-Key: {key}",),
        (bearer(key),),
        (f"Authorization: bearer  {key}",),
        (f"Authorization: Basic {secret}",),
        (f"X-Api-Key: {secret}",),
        (f"X-Api-Key: {secret}", bearer(key)),
    ):
        (answer,) = tell_plain(site.served, get("localhost", "/x", *fields))
        assert (answer.status, answer.slug) == (403, "credentials-in-the-clear")
        assert not answer.all("location")
    (answer,) = tell_plain(site.served, get("localhost", "/x"))
    assert answer.status == 308
    if not site.inside:  # there it is a process without a log
        site.served.wait_for(lambda: len(_refusals(site)) == 6)
        # In any order: each process of a server writes when it likes.
        told = sorted(one.get("exposed_key", "").strip("-") for one in _refusals(site))
        assert told == ["", "", *[mark] * 4]
    for text in (site.served.out, site.served.err):
        assert key not in text
        assert key[20:] not in text
        assert secret not in text
