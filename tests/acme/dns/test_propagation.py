"""Where a record belongs, and whether all servers of its zone show it; some of them lag or are gone."""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from pydantic import ValidationError

from sealgate.acme.dns.lookup import Look, Lookup, Place, Server
from sealgate.acme.dns.propagation import until_seen
from sealgate.acme.dns.record import Record
from sealgate.acme.dns.rfc2136 import Updates
from sealgate.errors import AcmeError
from sealgate.policy.acme import Dns, resolver_of
from tests.acme.dns.named import Named, named
from tests.acme.dns.odd import odd
from tests.live.served import loopback

SECOND, GONE = loopback(), loopback()
ZONES = {
    "one.test": '_acme-challenge IN TXT has\nlong IN TXT "ha" "s"\nother IN CNAME _acme-challenge\n',
    "two.test": f"@ IN NS ns1\n@ IN NS ns2\nns2 IN A {SECOND}\n",
    "gone.test": f"@ IN NS ns1\n@ IN NS ns2\n@ IN NS ns.nowhere.org.\nns2 IN A {GONE}\n",
    "alias.test": (
        "_acme-challenge IN CNAME _acme-challenge.two.test.\n"
        "a IN CNAME b\nb IN CNAME c\nc IN CNAME a\n"
        "away IN CNAME x.nowhere.test.\nlost IN CNAME x.org.\n"
    ),
    "homeless.test": "@ IN NS ns.nowhere.org.\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Named]:
    with named(tmp_path_factory.mktemp("named"), ZONES) as running:
        yield running


@pytest.fixture
def lookup(server) -> Lookup:
    return server.lookup(timeout=20)


def values(lookup: Lookup, place: Place) -> list[frozenset[str] | None]:
    return [lookup.look(one, place.name).values for one in place.servers]


def test_where_a_record_stands(lookup):
    place = lookup.place("_acme-challenge.one.test")
    assert (place.name, place.zone, [s.name for s in place.servers]) == (
        "_acme-challenge.one.test",
        "one.test",
        ["ns1.one.test"],
    )
    assert values(lookup, place) == [frozenset({"has"})]


def test_a_value_in_pieces_is_one(lookup):
    assert values(lookup, lookup.place("long.one.test")) == [frozenset({"has"})]


def test_a_name_that_is_not_there_yet(lookup):
    place = lookup.place("_acme-challenge.deep.two.test")
    assert (place.name, place.zone, len(place.servers)) == ("_acme-challenge.deep.two.test", "two.test", 2)


def test_an_alias_is_followed_into_another_zone(lookup):
    place = lookup.place("_acme-challenge.alias.test")
    assert (place.name, place.zone) == ("_acme-challenge.two.test", "two.test")
    assert lookup.place("other.one.test").name == "_acme-challenge.one.test"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a.alias.test", "acme-dns-lookup"),  # BIND sees the circle itself
        ("lost.alias.test", "acme-dns-lookup"),
        ("_acme-challenge.example.org", "acme-dns-lookup"),
        ("_acme-challenge.homeless.test", "acme-dns-lookup"),
        (f"{'x' * 64}.one.test", "acme-dns-name"),
    ],
)
def test_where_nothing_is_found(lookup, name, code):
    with pytest.raises(AcmeError) as caught:
        lookup.place(name)
    assert caught.value.code == code
    assert str(caught.value).isprintable()


def test_no_resolver(server):
    resolver = server.resolver()
    resolver.nameservers = [loopback()]
    with pytest.raises(AcmeError) as caught:
        Lookup(resolver, port=server.port, timeout=0.2).place("_acme-challenge.one.test")
    assert caught.value.code == "acme-dns-lookup"


@pytest.mark.parametrize("alias", ["x{}", "_acme-challenge.one.test", "_Acme-Challenge.One.test"])
def test_aliases_without_end(lookup, monkeypatch, alias):
    monkeypatch.setattr(Lookup, "_alias", lambda _self, place, _until: alias.format(place.name))
    with pytest.raises(AcmeError) as caught:
        lookup.place("_acme-challenge.one.test")
    assert caught.value.code == "acme-dns-alias"


@pytest.mark.parametrize(
    "alias",
    [
        "--config.evil.test",
        "`id`.evil.test",
        r"a\032b.evil.test",
        r"\.\./x.evil.test",
        "x|id&.evil.test",
        "é",
    ],
)
def test_an_alias_that_is_no_host_s_name(lookup, monkeypatch, alias):
    """The operator's program gets it as an argument; whoever lies about it must not choose options."""
    monkeypatch.setattr(Lookup, "_alias", lambda _self, _place, _until: alias)
    with pytest.raises(AcmeError) as caught:
        lookup.place("_acme-challenge.one.test")
    assert caught.value.code == "acme-dns-alias"
    assert str(caught.value).isprintable()


class Hole:
    """A resolver whose zones have sixteen servers each, whose addresses nobody tells."""

    lifetime = 9.0

    def __init__(self, **addresses: str) -> None:
        self.addresses, self.asked = addresses, 0

    def resolve(self, name, kind, *, lifetime):
        self.asked += 1
        text = str(name)
        if kind in {"A", "AAAA"} and text not in self.addresses:
            time.sleep(lifetime)
            raise dns.resolver.LifetimeTimeout(timeout=lifetime, errors=[])
        if kind == "AAAA":
            raise dns.resolver.NoAnswer(
                response=dns.message.make_response(dns.message.make_query(name, kind))
            )
        said = [f"ns{n}.hole." for n in range(16)] if kind == "NS" else [self.addresses[text]]
        return dns.rrset.from_text_list(name, 60, "IN", kind, said)


def held(monkeypatch, hole, **settings):
    monkeypatch.setattr(dns.resolver, "zone_for_name", lambda name, **_: name)
    monkeypatch.setattr(Lookup, "_resolver", lambda _self: hole)
    return Lookup(**settings)


def test_servers_without_addresses_do_not_hold_us(monkeypatch):
    hole = Hole()
    lookup, began = held(monkeypatch, hole, whole=1.5), time.monotonic()
    with pytest.raises(AcmeError) as caught:
        lookup.place("_acme-challenge.example.org")
    assert caught.value.code == "acme-dns-lookup"
    assert time.monotonic() - began < 9, "one question's time, for what would be thirty-two"
    assert hole.asked > 30


def test_aliases_from_hole_to_hole_have_one_time_in_all(monkeypatch):
    hole = Hole(**{"ns0.hole.": "127.0.0.1"})
    lookup, began = held(monkeypatch, hole, whole=1.5), time.monotonic()
    monkeypatch.setattr(Lookup, "_alias", lambda _self, place, _until: f"x.{place.name}")
    with pytest.raises(AcmeError):
        lookup.place("_acme-challenge.example.org")
    assert time.monotonic() - began < 9


def test_a_server_of_many_dead_addresses_has_a_time_too(server):
    gone = tuple(loopback() for _ in range(4))
    with contextlib.ExitStack() as stack:
        for address in gone:
            stack.enter_context(odd(address, lambda _data: b"", port=server.port))
        began = time.monotonic()
        look = server.lookup(timeout=0.3).look(Server("ns2", gone), "x.two.test")
    assert look.reason == "its time is over"
    assert time.monotonic() - began > 0.8


def test_many_that_are_gone_are_not_asked_for_longer_than_all_may_take():
    class Dead(Lookup):
        asked = 0

        def look(self, _server, _name):
            Dead.asked += 1
            clock.passed += 9
            return Look(None, "timed out")

    clock = Time()
    place = Place("x.test", "test", tuple(Server(f"ns{n}", ()) for n in range(16)))
    wanted = {replace(place, name=f"{n}.test"): frozenset({"x"}) for n in range(20)}
    with pytest.raises(AcmeError):
        until_seen(wanted, Dead(), seconds=90, wait=clock.wait, say=print, now=clock)
    assert clock.passed <= 90 + 60 + 9
    assert Dead.asked < 20


# Answers that count for nothing


def saying(*texts: str, rcode: int = 0, flags: int = dns.flags.AA):
    def answer(data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        message = dns.message.make_response(query)
        message.flags |= flags
        message.set_rcode(dns.rcode.Rcode(rcode))
        name = query.question[0].name
        for text in texts:
            message.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", text))
        return message.to_wire()

    return answer


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        (saying("x", rcode=2), "SERVFAIL"),
        (saying("x", rcode=5), "REFUSED"),
        (saying("x", flags=0), "does not have the zone"),
        (lambda _: b"", "timed out"),
        (lambda data: data[:2] + b"\x84\x00" + struct.pack("!4H", 1, 9, 0, 0), "timed out"),
    ],
)
def test_what_is_no_answer(server, behind, reason):
    with odd(SECOND, behind, port=server.port):
        look = server.lookup(timeout=0.5).look(Server("ns2", (SECOND,)), "x.two.test")
    assert look.values is None
    assert reason in look.reason


def test_another_address_of_a_server_is_asked(server):
    with odd(SECOND, saying("x"), port=server.port):
        look = server.lookup(timeout=0.5).look(Server("ns2", (GONE, SECOND)), "x.two.test")
    assert look.values == {"x"}


# Seen everywhere


class Time:
    """Passes while somebody waits."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.passed

    def wait(self, seconds: float) -> None:
        if seconds:
            self.waits.append(seconds)
            self.passed += seconds


@pytest.fixture
def shown(server) -> Iterator[Record]:
    table = server.table()
    who = Updates(table, lambda: table.key.read(base=Path("/"), environ=os.environ, euid=os.geteuid()))
    records = [Record(f"_acme-challenge.{zone}", "wanted", "x") for zone in ("two.test", "gone.test")]
    for record in records:
        who.add(record)
    yield records[0]
    for record in records:
        who.remove(record)


def test_a_server_that_is_late_is_waited_for(server, lookup, shown):
    time = Time()
    said: list[str] = []
    place = lookup.place(shown.name)

    def current(data: bytes) -> bytes:
        return saying("wanted" if len(time.waits) > 3 else "older")(data)

    with odd(SECOND, current, port=server.port):
        until_seen(
            {place: frozenset({"wanted"})}, lookup, seconds=120, wait=time.wait, say=said.append, now=time
        )
    assert time.waits == [0.5, 0.75, 1.125, 1.6875]
    assert not said


def test_a_server_that_lacks_it_is_named(server, lookup, shown):
    time = Time()
    place = lookup.place(shown.name)
    with odd(SECOND, saying(), port=server.port), pytest.raises(AcmeError) as caught:
        until_seen({place: frozenset({"wanted"})}, lookup, seconds=60, wait=time.wait, say=print, now=time)
    assert caught.value.code == "acme-dns-unseen"
    assert caught.value.details["servers"] == ("ns2.two.test lacks _acme-challenge.two.test",)
    assert time.passed == pytest.approx(60)
    assert max(time.waits) <= 15


def test_one_of_two_values_is_not_enough(server, lookup, shown):
    place, time = lookup.place("_acme-challenge.one.test"), Time()
    with pytest.raises(AcmeError):
        until_seen(
            {place: frozenset({"has", "lacks"})}, lookup, seconds=1, wait=time.wait, say=print, now=time
        )


def test_a_server_that_is_gone_is_passed_over_after_a_while(server, shown):
    said: list[str] = []
    lookup, time = server.lookup(timeout=0.2), Time()
    place = lookup.place("_acme-challenge.gone.test")
    until_seen({place: frozenset({"wanted"})}, lookup, seconds=120, wait=time.wait, say=said.append, now=time)
    assert 20 <= time.passed < 40
    assert "ns2.gone.test gives no answer" in said[0]
    assert "ns.nowhere.org gives no answer (it has no address)" in said[0]


def test_all_servers_gone_is_not_seen(server):
    place = Place("x.two.test", "two.test", (Server("ns2.two.test", (GONE,)),))
    time = Time()
    with pytest.raises(AcmeError) as caught:
        until_seen(
            {place: frozenset({"x"})},
            server.lookup(timeout=0.2),
            seconds=40,
            wait=time.wait,
            say=print,
            now=time,
        )
    assert "gives no answer" in caught.value.fact


def never(seconds: float) -> None:
    assert not seconds


def test_they_are_asked_once_at_least(lookup):
    place = lookup.place("_acme-challenge.one.test")
    until_seen({place: frozenset({"has"})}, lookup, seconds=0, wait=never, say=print)
    with pytest.raises(AcmeError):
        until_seen({place: frozenset({"lacks"})}, lookup, seconds=0, wait=never, say=print)


def test_who_stops_is_not_held(lookup):
    class Stopped(Exception):
        pass

    def wait(_seconds):
        raise Stopped

    place = lookup.place("_acme-challenge.one.test")
    with pytest.raises(Stopped):
        until_seen({place: frozenset({"lacks"})}, lookup, seconds=60, wait=wait, say=print)


# By the resolver of a policy


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("[2001:DB8::53]", ("2001:db8::53", 53)),
        ("2001:db8::53", ("2001:db8::53", 53)),
    ],
)
def test_a_resolver_that_can_be_read(text, place):
    assert resolver_of(text) == place
    assert Dns.model_validate({"resolver": text}).resolver == text


@pytest.mark.parametrize(
    "text",
    [
        "ns1.example.com",
        "192.0.2.53:0",
        "192.0.2.53:65536",
        "192.0.2.53:",
        "[192.0.2.53",
        "1.2.3",
        ":53",
        "192.0.2.53 ",
    ],
)
def test_a_resolver_that_is_none(text):
    with pytest.raises(ValidationError):
        Dns.model_validate({"resolver": text})


def test_the_resolver_alone_is_asked_and_not_before_the_record_is_set(server, monkeypatch):
    """It would remember that there is none."""
    lookup = Lookup.of(server.server, through=True)
    with monkeypatch.context() as asked:
        asked.setattr(Lookup, "_at", lambda *_: pytest.fail("it was asked"))
        place = lookup.place("_acme-challenge.one.test")
    assert [one.addresses for one in place.servers] == [(server.host,)]
    assert values(lookup, place) == [frozenset({"has"})]


def test_an_answer_of_a_resolver_need_not_have_the_zone(server):
    lookup = Lookup.of(f"{SECOND}:{server.port}", through=True)
    with odd(SECOND, saying("x", flags=0), port=server.port):
        assert values(lookup, lookup.place("x.two.test")) == [frozenset({"x"})]


def test_zones_are_found_by_the_resolver_and_servers_at_their_own_port(server):
    lookup = Lookup.of(server.server)
    assert lookup._port == 53
    with pytest.raises(AcmeError) as caught:
        lookup.place("_acme-challenge.homeless.test")
    assert caught.value.code == "acme-dns-lookup"
    assert "have no address" in caught.value.fact


def test_a_machine_whose_resolver_cannot_be_read(monkeypatch):
    def broken() -> None:
        raise ValueError("nameserver foo is not a dns.nameserver.Nameserver or an IP address")

    monkeypatch.setattr("dns.resolver.Resolver", broken)
    for through in (False, True):
        with pytest.raises(AcmeError) as caught:
            Lookup(through=through).place("_acme-challenge.one.test")
        assert caught.value.code == "acme-dns-lookup"
