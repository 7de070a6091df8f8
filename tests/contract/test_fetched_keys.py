"""Issuers that publish their keys, on every engine: fetched, and soon after a token names a new one."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests._system.publishing import Publisher, publishing
from tests.contract.sites import Site, at_least, started
from tests.contract.test_fetched_lists import again
from tests.contract.test_tokens import ask, bearer, now
from tests.guard.tokens.issuing import AUDIENCE, jwk, token

METADATA = "/.well-known/openid-configuration"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def publisher(authority: trustme.CA) -> Iterator[Publisher]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with publishing("127.0.0.1", context=context) as found:
        yield found


def publish(publisher: Publisher, *names: str, status: int = 200) -> None:
    body = json.dumps({"keys": [jwk("ES256", name, name) for name in names]}).encode()
    publisher.answers["/keys"] = lambda call: call.answer(status, body)


def until(site: Site, value: str, status: int, seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while (answer := ask(site, "/x", bearer(value))).status != status:
        assert time.monotonic() < end, (answer, site.served.err)
        time.sleep(0.3)


@at_least("envoy")
def test_keys_are_fetched(publisher: Publisher, authority: trustme.CA, which: str, tmp_path: Path) -> None:
    issuer = publisher.url("", host="localhost")
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    found = {"issuer": issuer, "jwks_uri": publisher.url("/keys", host="localhost")}
    publisher.answers[METADATA] = lambda call: call.answer(200, json.dumps(found).encode())
    publish(publisher, status=503)
    with ExitStack() as stack:
        site = started(
            stack,
            which,
            "usual",
            tokens={"issuers": [{"issuer": issuer, "audience": [AUDIENCE], "ca_file": str(roots)}]},
            network={"fetch": ["127.0.0.0/8", "::1"]},
            access={"default": "authenticated"},
        )
        one = token(header={"kid": "one"}, which="one", **now(iss=issuer))
        two = token(header={"kid": "two"}, which="two", **now(iss=issuer))
        answer = ask(site, "/x", bearer(one))
        assert (answer.status, answer.slug) == (503, "issuer-unavailable"), (
            "a good token is not called a bad one"
        )
        assert answer.one("retry-after") == "2"
        publish(publisher, "one")
        until(site, one, 200)
        assert f"keys of {issuer}: 1 count" in site.served.err
        assert ask(site, "/x", bearer(two)).status == 401
        publisher.answers.clear()  # it is down, and the keeper starts anew
        again(site, which)
        assert ask(site, "/x", bearer(one)).status == 200


@pytest.mark.long
@pytest.mark.parametrize("which", ("envoy", "uvicorn"))
def test_a_new_key_counts_soon_and_a_removed_one_no_more(
    publisher: Publisher, authority: trustme.CA, which: str, tmp_path: Path
) -> None:
    """A token with a key that nobody knows has the set fetched, once a minute at most."""
    roots = tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    issuer: dict[str, Any] = {"issuer": "https://login.example.com", "audience": [AUDIENCE]}
    issuer |= {"jwks_uri": publisher.url("/keys", host="localhost"), "ca_file": str(roots)}
    publish(publisher, "one")
    with ExitStack() as stack:
        site = started(
            stack,
            which,
            "usual",
            tokens={"issuers": [issuer]},
            network={"fetch": ["127.0.0.0/8", "::1"]},
            access={"default": "authenticated"},
        )
        said = now(iss=issuer["issuer"])
        one, two = (token(header={"kid": name}, which=name, **said) for name in ("one", "two"))
        until(site, one, 200)
        publish(publisher, "two")
        before = len(publisher.calls)
        until(site, two, 200, 90.0)
        assert len(publisher.calls) == before + 1, "all those tokens had one look made"
        assert ask(site, "/x", bearer(one)).status == 401
