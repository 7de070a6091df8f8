"""DNS updates against a real BIND: added, removed, refused."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.tsig
import pytest

from sealgate.acme.dns.record import Record
from sealgate.acme.dns.rfc2136 import Primary, Updates, primary_of
from sealgate.errors import AcmeError, Fault
from sealgate.policy.acme import Rfc2136
from sealgate.policy.secrets import SecretRef
from tests.acme.dns.named import ALGORITHMS, Named, named
from tests.acme.dns.odd import Behind, odd
from tests.live.served import free_port, loopback


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    zones = {"example.test": 'kept IN TXT "kept"', "sub.example.test": ""}
    with named(tmp_path_factory.mktemp("named"), zones) as running:
        yield running


def updates(table: Rfc2136) -> Updates:
    return Updates(table, lambda: table.key.read(base=Path("/"), environ=os.environ, euid=os.geteuid()))


def record(name: str, value: str) -> Record:
    return Record(name, value, "example.test")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_values_stand_beside_each_other_and_one_is_removed(server, algorithm):
    name = f"_acme-challenge.{algorithm}.example.test"
    who = updates(server.table(algorithm))
    for value in ("apex", "wildcard", "wildcard"):
        who.add(record(name, value))
    assert server.texts(name) == {"apex", "wildcard"}
    who.remove(record(name, "apex"))
    who.remove(record(name, "apex"))  # removed already
    assert server.texts(name) == {"wildcard"}
    who.remove(record(name, "wildcard"))
    assert server.texts(name) == set()


def test_what_is_not_ours_stays(server):
    who = updates(server.table())
    who.add(record("kept.example.test", "ours"))
    who.remove(record("kept.example.test", "ours"))
    assert server.texts("kept.example.test") == {"kept"}


def test_the_nearest_zone_is_taken(server):
    name = "_acme-challenge.deep.down.sub.example.test"
    updates(server.table()).add(record(name, "x"))
    assert server.texts(name) == {"x"}
    assert "updating zone 'sub.example.test/IN'" in server.log


def refused(table: Rfc2136, name: str = "_acme-challenge.example.test") -> AcmeError:
    with pytest.raises(AcmeError) as caught:
        updates(table).add(record(name, "x"))
    assert str(caught.value).isprintable()
    return caught.value


def test_an_unknown_key(server):
    found = refused(server.table(key_name="other."))
    assert (found.code, found.fault) == ("acme-dns-key", Fault.CONFIGURATION)


def test_another_secret(server):
    table = server.table("nobody", key_name="hmac-sha256.")
    assert refused(table).code == "acme-dns-key"


def test_another_algorithm(server):
    assert refused(server.table(algorithm="hmac-sha512")).code == "acme-dns-key"


@pytest.mark.parametrize("text", ["not base64!", "abc", "é", "===="])
def test_a_key_that_is_none_is_not_shown(server, tmp_path, text):
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o600)
    table = server.table().model_copy(update={"key": SecretRef(file=str(tmp_path / "key"))})
    found = refused(table)
    assert found.code == "acme-dns-key"
    assert text not in str(found)
    chain: BaseException | None = found
    while chain is not None:  # nor in what a traceback would print
        assert text not in str(chain)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)


def test_a_key_that_may_not(server):
    found = refused(server.table("nobody"))
    assert (found.code, found.details["rcode"]) == ("acme-dns-refused", "REFUSED")
    assert "example.test" in found.fact


def test_a_zone_that_is_elsewhere(server):
    found = refused(server.table(), "_acme-challenge.example.org")
    assert found.code == "acme-dns-zone"
    assert "REFUSED" in found.fact


def test_a_clock_that_is_wrong(server, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 86400)
    assert refused(server.table()).code == "acme-dns-clock"


def test_nobody_listens(server):
    host = loopback()
    found = refused(server.table(server=f"{host}:{free_port(host)}"))
    assert (found.code, found.fault) == ("acme-dns-server", Fault.ENVIRONMENT)


def test_a_name_that_is_too_long(server):
    assert refused(server.table(), f"_acme-challenge.{'a' * 64}.test").code == "acme-dns-name"


# Servers that are not as they should be


@contextmanager
def instead(server: Named, behind: Behind) -> Iterator[str]:
    """A server whose UDP answers are made up; by TCP it is the real one."""
    host = loopback()
    with odd(host, behind, real=(server.host, server.port)) as port:
        yield f"{host}:{port}"


def test_an_answer_that_is_cut_is_asked_for_by_tcp(server):
    def cut(data: bytes) -> bytes:
        query = dns.message.from_wire(data, ignore_trailing=True, keyring=False)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return answer.to_wire()

    with instead(server, cut) as address:
        updates(server.table(server=address)).add(record("cut.example.test", "x"))
    assert server.texts("cut.example.test") == {"x"}


def test_who_answers_nothing_by_udp_is_asked_by_tcp(server, monkeypatch):
    monkeypatch.setattr("sealgate.acme.dns.rfc2136._UDP", 0.2)
    with instead(server, lambda _: b"") as address:
        updates(server.table(server=address)).add(record("mute.example.test", "x"))
    assert server.texts("mute.example.test") == {"x"}


def real(server: Named, data: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.sendto(data, (server.host, server.port))
        return sock.recv(65535)


def answered(server: Named, rcode: int, keyring: object) -> AcmeError:
    """What an update comes to where it is answered so."""

    def answer(data: bytes) -> bytes:
        if (data[2] >> 3) & 15 != 5:  # only updates
            return real(server, data)
        message = dns.message.make_response(dns.message.from_wire(data, keyring=keyring))
        message.set_rcode(dns.rcode.Rcode(rcode))
        return message.to_wire()

    with instead(server, answer) as address:
        return refused(server.table(server=address))


@pytest.mark.parametrize(
    ("rcode", "code"),
    [(2, "acme-dns-server"), (5, "acme-dns-refused"), (9, "acme-dns-refused"), (10, "acme-dns-refused")],
)
def test_what_the_server_says(server, rcode, code):
    name = dns.name.from_text("hmac-sha256.")
    found = answered(server, rcode, {name: dns.tsig.Key(name, server.keys["hmac-sha256"], "hmac-sha256")})
    assert found.code == code
    assert dns.rcode.to_text(rcode) in found.fact


@pytest.mark.parametrize("rcode", [0, 5])
def test_an_answer_that_is_not_signed(server, rcode):
    """Anybody could have said so."""
    assert answered(server, rcode, False).code == "acme-dns-server"


def test_garbage(server, monkeypatch):
    monkeypatch.setattr("sealgate.acme.dns.rfc2136._UDP", 0.2)
    with instead(server, lambda _: b"garbage") as address:
        assert refused(server.table(server=address)).code == "acme-dns-server"


@pytest.mark.parametrize(
    ("text", "primary"),
    [
        ("192.0.2.53", Primary("192.0.2.53", 53)),
        ("192.0.2.53:5353", Primary("192.0.2.53", 5353)),
        ("2001:db8::53", Primary("2001:db8::53", 53)),
        ("[2001:db8::53]", Primary("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", Primary("2001:db8::53", 5353)),
        ("localhost:5353", Primary("127.0.0.1", 5353)),
    ],
)
def test_where_updates_go(text, primary):
    found = primary_of(text)
    assert found == primary or found == Primary("::1", primary.port)


@pytest.mark.parametrize(
    "text", ["192.0.2.53:", "192.0.2.53:0", "192.0.2.53:99999", "a:b", ":53", "[::1]x", "a..b"]
)
def test_where_updates_cannot_go(text):
    with pytest.raises(AcmeError) as caught:
        primary_of(text)
    assert caught.value.code == "acme-dns-server"
