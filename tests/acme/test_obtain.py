"""Certificates from Debian's Pebble, which refuses every second nonce."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from sealgate._system.clock import Clock, system_clock
from sealgate.acme.account import AccountFiles, deactivate, known
from sealgate.acme.authority import Authority, Binding
from sealgate.acme.client import Client, Signer
from sealgate.acme.journal import Journal
from sealgate.acme.obtain import abandon, obtain, settle
from sealgate.acme.order import Obtained, Wanted
from sealgate.acme.solvers import Solver
from sealgate.acme.solvers.http import HttpSolver
from sealgate.errors import AcmeError
from sealgate.pki.inspect import key_type_of, names_of
from sealgate.pki.keys import generate, load_private, parse_private, to_pem
from sealgate.pki.live import LiveDirectory, verify_pair
from sealgate.pki.state import State
from sealgate.policy.secrets import SecretRef
from sealgate.policy.values import Endpoint
from tests.acme.pebble import Server, pebble
from tests.acme.solving import DnsSolver, Noted, alpn_solver, http_solver

WANTED = Wanted(("api.example.test",), "ecdsa-p256", "http-01")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pebble(tmp_path_factory.mktemp("pebble"), PEBBLE_ALTERNATE_ROOTS="1") as running:
        yield running


@dataclass
class Caller:
    """Somebody who wants a certificate."""

    server: Server
    state: State
    said: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    stop: Exception | None = None

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if self.stop is not None:
            raise self.stop
        time.sleep(min(seconds, 0.05))

    def get(
        self,
        solver: Solver,
        wanted: Wanted = WANTED,
        *,
        authority: Authority | None = None,
        clock: Clock = system_clock,
        **settings: Any,
    ) -> Obtained:
        return obtain(
            authority or self.server.authority(),
            wanted,
            state=self.state,
            solver=solver,
            clock=clock,
            wait=self.wait,
            say=self.said.append,
            **settings,
        )

    @property
    def left(self) -> list[Path]:
        """What lies about of orders and challenges."""
        parts = (self.state.path / "acme", self.state.live / "challenges")
        return [path for part in parts for path in part.rglob("*") if path.is_file()]

    def account(self) -> AccountFiles:
        return AccountFiles(self.state, self.server.authority())


@pytest.fixture
def caller(server: Server, tmp_path: Path) -> Caller:
    return Caller(server, State.open(tmp_path / "state"))


def leaf(got: Obtained) -> x509.Certificate:
    return verify_pair(got.chain_pem, got.key_pem, "test")[0]


def test_names_and_addresses_by_http_01(caller: Caller) -> None:
    names = ("api.example.test", f"{'a' * 60}.{'b' * 60}.example.test", caller.server.host)
    wanted = Wanted(names, "ecdsa-p384", "http-01")
    with http_solver(caller.server, caller.state) as solver:
        got = caller.get(solver, wanted)
    assert sorted(names_of(leaf(got))) == sorted(names)
    assert key_type_of(leaf(got).public_key()) == "ecdsa-p384"
    assert solver.calls == ["present", "withdraw"]
    assert got.authority == caller.server.directory
    # The key is there until the certificate is in use; the answers are gone before.
    assert {path.name for path in caller.left} == {"key.pem", "order.json"}
    settle(caller.state, wanted)
    assert not caller.left
    assert any("terms of service" in text for text in caller.said)


def test_a_wildcard_and_its_parent_by_dns_01(caller: Caller) -> None:
    wanted = Wanted(("example.test", "*.example.test"), "rsa-3072", "dns-01")
    solver = Noted(DnsSolver(caller.server))
    got = caller.get(solver, wanted)
    assert sorted(names_of(leaf(got))) == ["*.example.test", "example.test"]
    assert not solver.shown


def test_a_name_and_an_address_by_tls_alpn_01(caller: Caller) -> None:
    wanted = Wanted(("alpn.example.test", caller.server.host), "ecdsa-p256", "tls-alpn-01")
    with alpn_solver(caller.server, caller.state, system_clock) as solver:
        got = caller.get(solver, wanted)
    assert set(names_of(leaf(got))) == set(wanted.names)
    settle(caller.state, wanted)
    assert not caller.left


def test_the_preferred_chain_is_taken_among_those_offered(caller: Caller) -> None:
    roots = [x509.load_pem_x509_certificate(caller.server.get(f"/roots/{n}")) for n in (0, 1)]
    with http_solver(caller.server, caller.state) as solver:
        for root in roots:
            name = str(root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
            wanted = Wanted(WANTED.names, "ecdsa-p256", "http-01", preferred_chain=name)
            got = caller.get(solver, wanted)
            x509.load_pem_x509_certificates(got.chain_pem)[-1].verify_directly_issued_by(root)
            settle(caller.state, wanted)
        wanted = Wanted(WANTED.names, "ecdsa-p256", "http-01", preferred_chain="Nobody's Root")
        caller.get(solver, wanted)
    assert [text for text in caller.said if "Nobody's Root" in text]


def test_an_account_is_made_once_and_kept(caller: Caller) -> None:
    with http_solver(caller.server, caller.state) as solver:
        caller.get(solver, authority=caller.server.authority(contact=("ops@example.test",)))
        settle(caller.state, WANTED)
        account = caller.account()
        before, said = account.note.read_bytes(), len(caller.said)
        caller.get(solver, authority=caller.server.authority(contact=("ops@example.test",)))
        settle(caller.state, WANTED)
    assert account.note.read_bytes() == before
    assert caller.said[said:] == []
    assert account.key.stat().st_mode & 0o777 == 0o600
    with http_solver(caller.server, caller.state) as solver:
        caller.get(solver, authority=caller.server.authority(contact=("new@example.test",)))
    with Client.open(caller.server.authority(), clock=system_clock) as client:
        signer = Signer(load_private(account.key), json.loads(account.note.read_bytes())["url"])
        assert client.show_account(signer).contact == ("mailto:new@example.test",)


def test_an_account_lost_by_us_is_made_anew_and_one_lost_by_the_authority_too(caller: Caller) -> None:
    with http_solver(caller.server, caller.state) as solver:
        caller.get(solver)
        account = caller.account()
        first = json.loads(account.note.read_bytes())
        account.key.unlink()
        settle(caller.state, WANTED)
        caller.get(solver)
        second = json.loads(account.note.read_bytes())
        assert second["url"] != first["url"]
        assert [text for text in caller.said if "lost" in text]
        # Half of what was written, as of an old tool: the key is put aside.
        settle(caller.state, WANTED)
        account.key.write_bytes(account.key.read_bytes()[:40])
        caller.get(solver)
        assert (account.path / "key.damaged").exists()
        # The authority has no such account.
        settle(caller.state, WANTED)
        note = json.loads(account.note.read_bytes())
        account.note.write_text(json.dumps({**note, "url": note["url"] + "nobody"}))
        caller.get(solver)
        assert json.loads(account.note.read_bytes())["url"] == note["url"]
        # An older key came back out of a backup: the note is not its.
        settle(caller.state, WANTED)
        kept = account.key.read_bytes()
        account.key.write_bytes(to_pem(generate("ecdsa-p256")))
        caller.get(solver)
        assert json.loads(account.note.read_bytes())["url"] != note["url"]
        account.key.write_bytes(kept)
        # A note that is half written says nothing; the account is found by its key.
        settle(caller.state, WANTED)
        account.note.write_text("{")
        caller.get(solver)
        assert json.loads(account.note.read_bytes())["url"] == note["url"]


def test_a_failed_validation_says_why_and_leaves_nothing(caller: Caller) -> None:
    class Wrong:
        """Serves another text than was asked for."""

        def present(self, answers: Any) -> None:
            inner.inner.present(answers)
            responder.tell({answer.token: "something else" for answer in answers})

        def withdraw(self, answers: Any) -> None:
            inner.withdraw(answers)

    with http_solver(caller.server, caller.state) as inner:
        assert isinstance(inner.inner, HttpSolver)
        responder = inner.inner._tell.__self__  # type: ignore[attr-defined] # the responder behind it
        with pytest.raises(AcmeError) as caught:
            caller.get(Wrong())
    assert caught.value.code == "acme-unauthorized"
    assert caught.value.details["names"] == ("api.example.test",)
    assert not caller.left


def test_where_the_authority_cannot_connect_it_says_so(caller: Caller) -> None:
    solver = HttpSolver(caller.state.live / "challenges", lambda _answers: None, ())
    with pytest.raises(AcmeError) as caught:
        caller.get(solver)
    assert caught.value.code == "acme-connection"
    assert not caller.left


def test_an_answer_that_cannot_be_seen_by_us_is_not_told_to_the_authority(caller: Caller) -> None:
    listener = Endpoint(caller.server.host, caller.server.http)
    solver = HttpSolver(caller.state.live / "challenges", lambda _answers: None, [listener], seconds=0)
    with pytest.raises(AcmeError) as caught:
        caller.get(solver)
    assert caught.value.code == "acme-port-closed"
    assert "refused" in caught.value.fact
    # The order waits for the port to be opened; the answer does not lie about.
    assert {path.name for path in caller.left} == {"key.pem", "order.json"}
    with http_solver(caller.server, caller.state) as good:
        caller.get(good)
    assert [text for text in caller.said if "gone on with the order" in text]


def test_an_order_that_nobody_wants_any_more_is_given_up(caller: Caller) -> None:
    closed = HttpSolver(caller.state.live / "challenges", lambda _answers: None, (), seconds=0)

    class Stopped(Exception):
        pass

    caller.stop = Stopped()
    with http_solver(caller.server, caller.state) as solver, pytest.raises(Stopped):
        caller.get(solver)
    assert solver.calls == ["present", "withdraw"]
    authority = caller.server.authority()
    found = Journal.of(caller.state, WANTED.names[0], authority.id).read()
    assert found is not None
    signer = _signer(caller)
    with Client.open(authority, clock=system_clock) as client:
        abandon(
            authority, WANTED, state=caller.state, solver=closed, clock=system_clock, say=caller.said.append
        )
        order = client.order(signer, found[0].order).what
        statuses = {client.authorization(signer, url).what.status for url in order.authorizations}
    assert not caller.left
    assert "pending" not in statuses


def _signer(caller: Caller) -> Signer:
    account = caller.account()
    return Signer(load_private(account.key), json.loads(account.note.read_bytes())["url"])


def test_a_certificate_that_was_never_put_to_use_is_had_again(caller: Caller) -> None:
    with http_solver(caller.server, caller.state) as solver:
        first = caller.get(solver)
        again = caller.get(solver)
        assert (again.chain_pem, again.key_pem) == (first.chain_pem, first.key_pem)
        # Live, and killed before it was settled: the next one is a new one.
        LiveDirectory(caller.state.live_server(WANTED.names[0])).publish(first.chain_pem, first.key_pem)
        third = caller.get(solver)
        assert third.chain_pem != first.chain_pem
        # Never used, and old: too.
        late = caller.get(solver, clock=lambda: system_clock() + timedelta(days=2))
        assert late.chain_pem != third.chain_pem
        # Another key type is another wish.
        other = caller.get(solver, Wanted(WANTED.names, "ecdsa-p384", "http-01"))
        assert key_type_of(leaf(other).public_key()) == "ecdsa-p384"


def test_revoked_by_the_account_and_by_the_certificates_own_key(caller: Caller) -> None:
    def status(got: Obtained) -> tuple[str, int]:
        table = json.loads(caller.server.get(f"/cert-status-by-serial/{leaf(got).serial_number:x}"))
        return table["Status"], table.get("Reason")

    with http_solver(caller.server, caller.state) as solver:
        one = caller.get(solver)
        settle(caller.state, WANTED)
        two = caller.get(solver)
    authority = caller.server.authority()
    with Client.open(authority, clock=system_clock) as client:
        signer = known(client, authority, caller.state)
        assert signer is not None
        client.revoke(signer, leaf(one), 4)
        assert status(one) == ("Revoked", 4)
        with pytest.raises(AcmeError) as caught:
            client.revoke(signer, leaf(one), 4)
        assert caught.value.details["problem"] == "alreadyRevoked"
        client.revoke(Signer(parse_private(two.key_pem, "test")), leaf(two), 1)
        assert status(two) == ("Revoked", 1)
        nobody = State.open(caller.state.path.parent / "elsewhere")
        assert known(client, authority, nobody) is None


def test_an_account_is_given_up(caller: Caller) -> None:
    authority = caller.server.authority()
    with (
        http_solver(caller.server, caller.state) as solver,
        Client.open(authority, clock=system_clock) as client,
    ):
        caller.get(solver)
        account = caller.account()
        kept = account.key.read_bytes()
        assert deactivate(client, authority, caller.state)
        assert not account.path.exists()
        assert not deactivate(client, authority, caller.state)
        # Its key came back out of a backup: the authority's no is not answered by a new account.
        account.path.mkdir(parents=True, mode=0o700)
        account.key.write_bytes(kept)
        account.key.chmod(0o600)
        with pytest.raises(AcmeError) as caught:
            caller.get(solver)
        assert caught.value.code == "acme-account-refused"
        # Given up by a run that was killed before it removed the key.
        assert deactivate(client, authority, caller.state)
        assert not account.path.exists()


def test_a_clock_that_is_a_day_behind_is_noticed(caller: Caller) -> None:
    with http_solver(caller.server, caller.state) as solver:
        with pytest.raises(AcmeError) as caught:
            caller.get(solver, clock=lambda: system_clock() - timedelta(days=1))
        assert caught.value.code == "acme-clock"
        caller.said.clear()
        caller.get(solver, clock=lambda: system_clock() + timedelta(days=1))
    assert [text for text in caller.said if text.startswith("acme-clock") and "ahead" in text]


def test_what_is_proven_already_is_not_proven_again(tmp_path: Path) -> None:
    (tmp_path / "pebble").mkdir()
    with pebble(tmp_path / "pebble", reuse=100) as server:
        caller = Caller(server, State.open(tmp_path / "state"))
        with http_solver(server, caller.state) as solver:
            caller.get(solver)
            settle(caller.state, WANTED)
            caller.get(solver)
        assert solver.calls == ["present", "withdraw"]


def test_an_authority_that_takes_its_time(tmp_path: Path) -> None:
    (tmp_path / "pebble").mkdir()
    with pebble(tmp_path / "pebble", PEBBLE_VA_NOSLEEP="0", PEBBLE_VA_SLEEPTIME="2") as server:
        caller = Caller(server, State.open(tmp_path / "state"))
        with http_solver(server, caller.state) as solver:
            caller.get(solver, Wanted(("a.example.test", "b.example.test"), "ecdsa-p256", "http-01"))
    assert caller.waits


EXTERNAL = {
    "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
    "kid-2": "b10lLJs8l1GPIzsLP0s6pMt8O0XVGnfTaCeROxQM0BIt2XrJMDHJZBM5NuQmQJQH",
}


def test_an_external_account(tmp_path: Path) -> None:
    secret = tmp_path / "eab.key"

    def binding(kid: str, text: str) -> Binding:
        secret.write_text(text)
        secret.chmod(0o600)
        return Binding(kid, SecretRef(file="eab.key"), tmp_path, {}, secret.stat().st_uid)

    (tmp_path / "pebble").mkdir()
    with pebble(tmp_path / "pebble", external=EXTERNAL) as server:
        caller = Caller(server, State.open(tmp_path / "state"))
        with http_solver(server, caller.state) as solver:

            def refused(given: Binding | None) -> AcmeError:
                with pytest.raises(AcmeError) as caught:
                    caller.get(solver, authority=server.authority(binding=given))
                return caught.value

            assert refused(None).code == "acme-external-account-required"
            assert refused(binding("kid-1", "not base64!")).code == "acme-external-account-key"
            assert refused(binding("nobody", EXTERNAL["kid-1"])).code == "acme-external-account-refused"
            error = refused(binding("kid-1", "A" * 64))
            assert error.code == "acme-external-account-refused"
            assert "A" * 64 not in str(error)
            assert "(it says " in error.fact
            assert "our answer" not in error.fact
            good = server.authority(binding=binding("kid-1", EXTERNAL["kid-1"] + "\n"))
            caller.get(solver, authority=good)
            # Once made, the account needs the secret no more.
            secret.unlink()
            settle(caller.state, WANTED)
            caller.get(solver, authority=good)
            # Another external account is another account.
            settle(caller.state, WANTED)
            before = json.loads(caller.account().note.read_bytes())["url"]
            caller.get(solver, authority=server.authority(binding=binding("kid-2", EXTERNAL["kid-2"])))
            assert json.loads(caller.account().note.read_bytes())["url"] != before
            assert [text for text in caller.said if "another one now" in text]
