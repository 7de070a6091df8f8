"""dns-01 as a whole: real BIND, real updates and a hook, and a wildcard certificate from Pebble."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509

from sealgate._system.clock import system_clock
from sealgate.acme.dns.record import Record, Records
from sealgate.acme.obtain import obtain
from sealgate.acme.order import Answer, Wanted
from sealgate.acme.solvers.dns import DnsSolver, dns_solver
from sealgate.errors import AcmeError, StateInsecure
from sealgate.pki.inspect import names_of
from sealgate.pki.state import State
from sealgate.policy.acme import Dns
from tests.acme.dns.named import Named, named
from tests.acme.pebble import Server, pebble

ZONES = {
    "example.test": "api IN CNAME @\n_acme-challenge.moved IN CNAME _acme-challenge.moved.elsewhere.test.\n",
    "elsewhere.test": "",
}
APEX = Answer("example.test", "dns-01", "token-1", "token-1.thumbprint")
WILD = Answer("example.test", "dns-01", "token-2", "token-2.thumbprint")
MOVED = Answer("moved.example.test", "dns-01", "token-3", "token-3.thumbprint")
# base64url(SHA-256(key authorization)), RFC 8555 §8.4; made with the openssl command.
VALUES = {
    "token-1.thumbprint": "yjJT75802AFqe5Tt-lyMW5zDyUxyTrMz527ndccIfX4",
}
HOOK = f"""#!{sys.executable}
# What a provider's program does, with BIND for a provider.
import dns.query, dns.tsigkeyring, dns.update, os, sys
order, name, value = sys.argv[1:4]
zone, host, port, secret = os.environ["DNS_HOOK_ZONE"].split()
keyring = dns.tsigkeyring.from_text({{"hmac-sha256.": secret}})
update = dns.update.Update(zone, keyring=keyring, keyalgorithm="hmac-sha256")
update.add(name + ".", 60, "TXT", value) if order == "add" else update.delete(name + ".", "TXT", value)
sys.exit(dns.query.tcp(update, host, 20, int(port)).rcode())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Named]:
    with named(tmp_path_factory.mktemp("named"), ZONES) as running:
        yield running


Make = Callable[..., DnsSolver]


@pytest.fixture
def solver(request, server, tmp_path) -> Make:
    """A solver that sets records one or the other way."""
    way = getattr(request, "param", "rfc2136")

    def make(zone: str = "example.test", **more: str) -> DnsSolver:
        table = {"rfc2136": server.table().model_dump()} if way == "rfc2136" else {"hook": "hook"}
        (tmp_path / "hook").write_text(HOOK)
        (tmp_path / "hook").chmod(0o755)
        secret = f"{zone} {server.host} {server.port} {server.keys['hmac-sha256']}"
        return dns_solver(
            Dns.model_validate({**table, "propagation": "20s", **more}),
            base=tmp_path,
            environ={**os.environ, "DNS_HOOK_ZONE": secret},
            euid=os.geteuid(),
            wait=lambda seconds: time.sleep(min(seconds, 0.05)),
            say=print,
            lookup=server.lookup(20),
        )

    return make


def at(server: Named, name: str) -> set[str]:
    return server.texts(f"_acme-challenge.{name}")


def test_a_name_and_its_wildcard_are_shown_and_withdrawn(server, solver):
    one = solver()
    one.present([APEX, WILD])
    assert len(at(server, "example.test")) == 2
    one.withdraw([APEX])
    assert len(at(server, "example.test")) == 1
    one.withdraw([APEX, WILD])
    assert at(server, "example.test") == set()


def test_the_value(server, solver):
    one = solver()
    one.present([APEX])
    assert at(server, "example.test") == {VALUES["token-1.thumbprint"]}
    one.withdraw([APEX])


def test_what_a_killed_run_left_is_withdrawn_by_another(server, solver):
    solver().present([APEX, WILD])
    solver().withdraw([APEX, WILD])
    assert at(server, "example.test") == set()


def test_an_alias_is_followed(server, solver):
    one = solver("elsewhere.test")
    one.present([MOVED])
    assert len(server.texts("_acme-challenge.moved.elsewhere.test")) == 1
    solver("elsewhere.test").withdraw([MOVED])
    assert server.texts("_acme-challenge.moved.elsewhere.test") == set()


def test_where_one_fails_the_others_are_withdrawn(server, solver):
    """The second has no zone; the first stands until it is withdrawn, although that fails for the second."""
    lost = Answer("nowhere.org", "dns-01", "t", "t.t")
    one = solver()
    with pytest.raises(AcmeError) as caught:
        one.present([APEX, lost, WILD])
    assert caught.value.code == "acme-dns-lookup"
    assert len(at(server, "example.test")) == 1
    with pytest.raises(AcmeError) as caught:
        one.withdraw([lost, APEX, WILD])
    assert caught.value.code == "acme-dns-zone"
    assert at(server, "example.test") == set()


def test_it_is_seen_before_anybody_is_asked(server, solver, monkeypatch):
    looks = []
    one = solver()
    real = one._lookup.look

    def look(*asked):
        looks.append(asked)
        return real(*asked)

    monkeypatch.setattr(one._lookup, "look", look)
    one.present([APEX, WILD])
    assert looks
    one.withdraw([APEX, WILD])


# With an authority


@pytest.fixture(scope="module")
def authority(server, tmp_path_factory) -> Iterator[Server]:
    with pebble(tmp_path_factory.mktemp("pebble"), dns_server=server.server) as running:
        yield running


@pytest.mark.parametrize("solver", ["rfc2136", "hook"], indirect=True)
def test_a_wildcard_certificate(server, authority, solver, tmp_path):
    names = ("example.test", "*.example.test")
    obtained = obtain(
        authority.authority(),
        Wanted(names, "ecdsa-p256", "dns-01"),
        state=State.open(tmp_path / "state"),
        solver=solver(),
        clock=system_clock,
        wait=lambda seconds: time.sleep(min(seconds, 0.05)),
        say=print,
    )
    leaf = x509.load_pem_x509_certificates(obtained.chain_pem)[0]
    assert set(names_of(leaf)) == set(names)
    assert at(server, "example.test") == set()


# Without a name server


class Held(Records):
    """Records of which the first cannot be removed."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def add(self, record: Record) -> None:
        pass

    def remove(self, record: Record) -> None:
        self.removed.append(record.token)
        if len(self.removed) == 1:
            raise StateInsecure("acme-hook-insecure", "others may write it", "chmod go-w")


def test_what_keeps_one_from_being_withdrawn_keeps_no_other(server):
    records = Held()
    one = DnsSolver(records, propagation=1, wait=print, say=print, lookup=server.lookup(20))
    with pytest.raises(StateInsecure):
        one.withdraw([APEX, WILD])
    assert records.removed == ["token-1", "token-2"]


def test_who_stops_is_heard_between_two_names(server):
    class Stopped(Exception):
        pass

    def wait(_seconds):
        raise Stopped

    one = DnsSolver(Held(), propagation=1, wait=wait, say=print, lookup=server.lookup(20))
    with pytest.raises(Stopped):
        one.present([APEX])
