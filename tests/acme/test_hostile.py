"""An authority that means ill, or is broken in a way that looks like success."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealgate._system.clock import system_clock
from sealgate.acme import leftovers, network
from sealgate.acme.authority import Authority
from sealgate.acme.client import Client
from sealgate.acme.order import Wanted, identifiers
from sealgate.pki.state import State
from tests.acme.fake import Asked, Fake, Said, fake_authority
from tests.acme.test_client import SIGNER, code_of, opened
from tests.acme.test_odd_authorities import WANTED, Caller


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with fake_authority(tmp_path_factory.mktemp("fake")) as authority:
        yield authority


@pytest.fixture
def fake(running: Fake) -> Fake:
    running.odd, running.asked, running.meta, running.more = {}, [], {}, {}
    return running


@pytest.fixture
def caller(fake: Fake, tmp_path: Path) -> Caller:
    return Caller(fake, State.open(tmp_path / "state"))


# Where it leads us

PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:127.0.0.1", "fd00::1"),
    *("64:ff9b::10.0.0.1", "2002:a00:1::1", "::127.0.0.1", "fec0::1"),
)
PUBLIC = ("1.1.1.1", "2606:4700::1111", "64:ff9b::1.1.1.1", "2002:101:101::1", "::ffff:1.1.1.1")


def place(home: str = "") -> network._Context:
    context = network._context(Authority("https://ca.example/dir"))
    context.home = "ca.example"
    if home:
        context.check_place("CA.example.", home)
    return context


@pytest.mark.parametrize("address", PRIVATE)
def test_a_public_authority_leads_to_no_private_place(address: str) -> None:
    public = place("8.8.8.8")
    public.check_place("other.example", "1.1.1.1")
    with pytest.raises(OSError, match="private address"):
        public.check_place("other.example", address)
    with pytest.raises(OSError, match="private address"):
        place().check_place("ca.example.evil.example", address)
    private = place(address)
    private.check_place("other.example", "127.0.0.2")


@pytest.mark.parametrize("address", PUBLIC)
def test_where_the_whole_internet_is_it_leads_on(address: str) -> None:
    """Translated addresses too: in a network with IPv6 alone all of IPv4 looks like that."""
    place(address).check_place("other.example", "8.8.8.8")
    place("8.8.8.8").check_place("other.example", address)


def test_nothing_is_sent_to_a_private_place(fake: Fake) -> None:
    with opened(fake) as client:
        asked = len(fake.asked)
        client.network.close()  # what is open already was looked at when it was opened
        client.network._context.home, client.network._context.inside = "ca.example", False
        assert code_of(lambda: client.account(SIGNER)) == "acme-unreachable"
        assert len(fake.asked) == asked


def test_it_keeps_nothing_here(fake: Fake) -> None:
    fake.odd = {"/dir": lambda asked: Said(200, fake._usual(asked).body, {"Set-Cookie": "id=1; Path=/"})}
    with opened(fake) as client:
        client.account(SIGNER)
    assert not [asked for asked in fake.asked if "Cookie" in asked.headers]


@pytest.mark.parametrize("status", (200, 302, 307, 404))
def test_nothing_is_unpacked(fake: Fake, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred bytes could be gigabytes."""
    packed = gzip.compress(b"a" * 100_000)
    headers = {"Content-Encoding": "gzip", "Location": f"{fake.base}/elsewhere"}
    unpacked = property(lambda _self: pytest.fail("the library read it by itself"))
    monkeypatch.setattr("requests.models.Response.content", unpacked)
    with opened(fake) as client:
        fake.odd = {"/packed": lambda _asked: Said(status, packed, headers)}
        assert client.network.send("GET", f"{fake.base}/packed").body == packed


# What looks like success

PROBLEM = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}


@pytest.mark.parametrize(
    "said",
    (
        Said(200, PROBLEM),
        Said(200, PROBLEM, {"Content-Type": "application/json"}),
        Said(200, b"", {"Content-Type": "application/problem+json; charset=utf-8"}),
        Said(201, {**PROBLEM, "status": 429}, {"Content-Type": "application/problem+json"}),
    ),
)
def test_a_problem_is_no_success_whatever_its_status(fake: Fake, said: Said) -> None:
    codes = ("acme-rate-limited", "acme-refused")
    with opened(fake) as client:
        fake.odd = {"/revoke|/order|/dir": lambda _asked: said}
        assert code_of(lambda: client.revoke(SIGNER, fake.root, 1)) in codes
        assert code_of(lambda: client.new_order(SIGNER, identifiers(("a.example",)))) in codes
        assert code_of(lambda: Client.open(fake.authority(), clock=system_clock)) in codes


@pytest.mark.parametrize("said", (Said(500, b""), Said(200, b"<html>"), Said(200, b"-----BEGIN CERTIFICATE")))
def test_a_further_chain_that_cannot_be_had_is_passed_over(caller: Caller, said: Said) -> None:
    fake = caller.fake
    links = f'<{fake.base}/other>;rel="alternate", <{fake.base}/third>;rel="alternate"'
    fake.odd = {
        "/cert": lambda _asked: Said(200, fake.chain, {"Link": links}),
        "/other": lambda _asked: said,
        "/third": lambda _asked: Said(200, fake.chain),
    }
    assert caller.get(Wanted(WANTED.names, "ecdsa-p256", "http-01", preferred_chain="Elsewhere")).chain_pem
    assert fake.count("/third") == 1
    assert [text for text in caller.said if "passed over" in text]


@pytest.mark.parametrize("nonce", ("a" * 60_000, "\x7f\x01", "é", "nonce\t1"))
def test_nonces_of_any_kind(fake: Fake, nonce: str) -> None:
    """Used as they are where they are nonces, passed over where they are none."""
    fake.odd = {"/dir": lambda asked: Said(200, fake._usual(asked).body, {"Replay-Nonce": nonce})}
    with opened(fake) as client:
        client.account(SIGNER)


# What it leaves to us


def test_so_many_authorizations_are_given_up_and_no_more(fake: Fake) -> None:
    given_up: list[str] = []

    def one(asked: Asked) -> Said:
        if asked.payload:
            given_up.append(asked.path)
        status = "deactivated" if asked.payload else "valid" if asked.path.endswith("/7") else "pending"
        identifier: dict[str, Any] = {"type": "dns", "value": "a.example"}
        return Said(200, {"identifier": identifier, "status": status, "challenges": []})

    said: list[str] = []
    urls = [f"{fake.base}/left/{number}" for number in range(150)]
    with opened(fake) as client:
        fake.odd = {r"/left/\d+": one}
        leftovers.give_up(client, SIGNER, urls, said.append)
    assert given_up == [f"/left/{number}" for number in range(100) if number != 7]
    assert fake.count(r"/left/1[0-4]\d") == 0
    assert said == ["50 authorizations are left to expire by themselves"]
