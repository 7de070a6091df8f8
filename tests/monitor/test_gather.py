"""What is read of a state directory: all of it, and around what is broken in it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from sealgate._system.clock import system_clock
from sealgate.acme.history import Attempt, History, Outcome, history_path, noted, save
from sealgate.engines.registry import engine, engine_ids
from sealgate.errors import StateError
from sealgate.monitor import gather
from sealgate.monitor.alone import alone
from sealgate.monitor.judge import judge
from sealgate.monitor.lives import life_of, minor_of, table
from sealgate.monitor.snapshot import Listener, Snapshot, loads, to_json
from sealgate.pki.issue import issue_client
from sealgate.pki.keys import generate
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import load_authorities
from sealgate.policy.model import Endpoint, Policy
from sealgate.runtime.snapshot import Lookout, Tally
from sealgate.runtime.standing import Standing

NOW = system_clock()
POLICY = Policy.model_validate({"listen": {"https": ["127.0.0.1:1"], "http": []}})


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State.open(tmp_path / "state")
    ensure_server_certificate(made, POLICY, lambda: NOW)
    return made


def test_what_a_state_directory_has(state: State) -> None:
    found = alone(state, POLICY, NOW)
    assert found.certificate is not None
    assert found.certificate.names == ("localhost",)
    assert found.certificate.due is not None
    assert [one.name for one in found.authorities] == ["root", "servers", "clients"]
    assert [one.kind for one in found.renewals] == ["server"]
    assert found.troubles == ()
    assert found.keeper is False
    (listener,) = found.listeners
    assert "no TLS handshake" in listener.problem
    assert {one.code for one in judge(found, NOW)} == {"not-served"}


def test_it_goes_through_json(state: State) -> None:
    found = alone(state, POLICY, NOW)
    assert loads(Snapshot, json.dumps(to_json(found))) == found


def test_no_key_is_opened(state: State) -> None:
    for path in state.path.rglob("key.pem"):
        if not path.is_symlink():
            path.write_text("no key")
            path.chmod(0o600)
    assert alone(state, POLICY, NOW).troubles == ()


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("store.db", "store"),
        ("authorities/current/root/root.pem", "authorities"),
        ("live/server/localhost/current/chain.pem", "certificate"),
    ],
)
@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\x00" * 5000, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
)
def test_a_broken_part_is_named_and_the_others_are_there(
    state: State, path: str, part: str, content: bytes
) -> None:
    broken = (state.path / path).resolve()
    broken.write_bytes(content)
    broken.chmod(0o600)
    found = alone(state, POLICY, NOW)
    if not (part == "store" and content == b""):  # to SQLite that is an empty store
        assert [one.part for one in found.troubles] == [part]
        assert any(one.code == "not-gathered" for one in judge(found, NOW))
    assert found.authorities or part == "authorities"
    assert found.certificate or part == "certificate"


def test_an_empty_state_directory_has_nothing_and_no_trouble(tmp_path: Path) -> None:
    found = alone(State.open(tmp_path / "state"), POLICY, NOW)
    assert (found.certificate, found.authorities, found.renewals, found.troubles) == (None, (), (), ())


def test_of_each_client_the_last_certificate_counts(state: State) -> None:
    authorities = load_authorities(state)
    assert authorities is not None
    later = NOW + timedelta(days=200)
    with Store.open(state.store) as store:
        for name, days in (("alice", 80), ("alice", 1), ("bob", 80), ("carol", 199), ("dave", 10)):
            begin = later - timedelta(days=days)
            key = generate("ecdsa-p256").public_key()
            one = issue_client(authorities.clients, key, name, now=begin)
            store.add_certificate(
                one, kind="client", site="", issuer=authorities.clients.certificate, now=begin
            )
    found = gather.record(state, POLICY, later).clients
    assert [one.subject for one in found] == ["CN=bob"]


def test_a_part_that_raises_anything_is_a_trouble() -> None:
    tries = gather.Tries()

    def one() -> int:
        raise StateError("state-full", "no space", "make some")

    def other() -> int:
        raise RecursionError("x" * 1000)

    assert (tries("a", one, 1), tries("b", other, 2), tries("c", lambda: 3, 0)) == (1, 2, 3)
    assert [(found.part, found.code) for found in tries.troubles] == [
        ("a", "state-full"),
        ("b", "internal-error"),
    ]
    assert len(tries.troubles[1].fact) <= 200


def test_listeners_that_hang_are_looked_at_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Barrier(16, timeout=20)

    def hangs(endpoint: Endpoint, *_: object) -> Listener:
        gate.wait()  # passes only when sixteen look at once
        return Listener(str(endpoint), "https", "", NOW)

    monkeypatch.setattr(gather, "_https", hangs)
    many = Policy.model_validate(
        {"listen": {"https": [f"127.0.0.1:{port}" for port in range(1, 17)], "http": []}}
    )
    assert [one.address for one in gather.look(many, {}, NOW)] == [
        f"127.0.0.1:{port}" for port in range(1, 17)
    ]


def test_what_changed_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = gather.changed(path)
    path.write_text("a")
    first = gather.changed(path)
    time.sleep(0.02)
    path.write_text("b")
    assert len({before, first, gather.changed(path)}) == 3


# Which versions are maintained


def test_the_data_are_sound() -> None:
    for name, facts in table().items():
        assert name in engine_ids()
        assert facts["source"]
        versions = [row["version"] for row in facts["versions"]]
        assert len(versions) == len(set(versions))
        for row in facts["versions"]:
            assert minor_of(row["version"]) == row["version"]
            assert row.get("kept", row["ends"]) >= row["ends"]
            assert ("kept" in row) == ("by" in row)


@pytest.mark.parametrize(
    ("name", "version", "ends", "by"),
    [
        ("envoy", "1.40.2", "2027-10-13", ""),
        ("nginx", "1.22.1", "2028-06-30", "Debian 12"),
        ("nginx", "1.99.0", None, ""),
        ("apache", "2.4.71", None, ""),
        ("uvicorn", "0.54.0", None, ""),
        ("envoy", "", None, ""),
        ("envoy", "git-main", None, ""),
    ],
)
def test_lives(name: str, version: str, ends: str | None, by: str) -> None:
    life = life_of(name, version)
    assert (life.ends.isoformat() if life.ends else None, life.kept_by) == (ends, by)


@pytest.mark.parametrize("name", engine_ids())
def test_an_engine_that_was_tested_is_said_to_be(name: str) -> None:
    kind = engine(name)
    assert gather.engine_facts(name, kind.title, f"{kind.versions[-1]}.3", kind.versions).tested
    assert not gather.engine_facts(name, kind.title, "99.1.2", kind.versions).tested
    assert gather.engine_facts(name, kind.title, "", kind.versions).tested  # not known is no blame


# What was asked of ACME authorities

ACME = Policy.model_validate({"certificate": {"source": "acme"}, "site": {"names": ["api.example.com"]}})


def asked(state: State, *codes: str) -> None:
    """The history after these attempts, a minute apart; an empty code: it went well."""
    history = History()
    for number, code in enumerate(codes):
        at = NOW - timedelta(minutes=len(codes) - number)
        outcome = Outcome.FAILED if code else Outcome.OBTAINED
        one = Attempt(at, "https://acme.test/", "s", outcome, code, "the authority said no" if code else "")
        history = noted(history, one)
    save(history_path(state, "api.example.com"), history)


def test_attempts_at_an_authority_are_renewals_newest_first(state: State) -> None:
    asked(state, "", "acme-timeout")
    found = gather.record(state, ACME, NOW).renewals
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)
    (bad,) = [one for one in found if not one.ok]
    assert (bad.code, bad.fact) == ("acme-timeout", "the authority said no")
    assert [one.fact for one in found if one.ok] == ["certificate-issued", "https://acme.test/"]
    assert len(gather.record(state, POLICY, NOW).renewals) == 1  # another source asked nobody


def test_a_stand_in_is_called_one_and_told_when_it_lasts(state: State) -> None:
    live = gather.live_certificate(state, POLICY)
    assert live is not None
    made = gather.certificate(ACME, live)
    assert made is not None
    assert made.source == "stand-in"
    found = replace(alone(state, POLICY, NOW), certificate=made, listeners=())
    assert [one.code for one in judge(found, NOW)] == ["certificate-missing"]


def test_a_tally_of_attempts_only_grows(state: State) -> None:
    """The history forgets; a counter that fell would be taken for a restart."""
    tally = Tally()
    lookout = Lookout(cast("Standing", None), tally, _counted=NOW - timedelta(days=1))
    asked(state, "", "acme-timeout", "acme-timeout")
    attempts = gather.record(state, ACME, NOW).attempts
    lookout._count(attempts)
    lookout._count(attempts)
    assert (tally.renewed, tally.failed) == (1, 2)
    lookout._count(attempts[-1:])
    assert (tally.renewed, tally.failed) == (1, 2)
