from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate._system.clock import system_clock
from sealgate.errors import CertificateDates, CertificateError, SealgateError, StateBusy
from sealgate.pki.client_trust import ensure_client_trust
from sealgate.pki.inspect import fingerprint, pem_of
from sealgate.pki.issue import issue_client
from sealgate.pki.keys import generate, public_spki
from sealgate.pki.live import LiveDirectory
from sealgate.pki.server import (
    ensure_root,
    ensure_server_certificate,
    renew_root,
    watched_files,
)
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import load_authorities
from sealgate.policy.model import Policy
from tests.pki.making import DAY, NOW, make, openssl, write

CA = make("ca", ca=True)
LEAF = make("leaf", CA, names=["localhost"])
NEXT = make("next", CA, names=["localhost"])


def policy(**site) -> Policy:
    return Policy.model_validate({"site": site} if site else {})


def from_files(**more) -> Policy:
    files = {"source": "files", "files": {"chain": "certs/chain.pem", "key": "certs/key.pem"}}
    return Policy.model_validate({"certificate": files, **more})


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "certs").mkdir()
    write(tmp_path / "certs" / "chain.pem", LEAF.pem + CA.pem)
    write(tmp_path / "certs" / "key.pem", LEAF.key_pem)
    return tmp_path


class TestPrivate:
    def test_the_first_one_is_live_in_the_store_and_verifies(self, state: State, clock) -> None:
        live = ensure_server_certificate(state, policy(names=["localhost", "127.0.0.1"]), clock)
        assert (live.version, live.names) == (1, ("localhost", "127.0.0.1"))
        words = [
            "-attime",
            int(NOW.timestamp()),
            "-purpose",
            "sslserver",
            "-x509_strict",
            "-CAfile",
            state.root_pem,
        ]
        checked = openssl(
            "verify", *words, "-untrusted", live.chain_path, "-verify_ip", "127.0.0.1", live.chain_path
        )
        assert checked.returncode == 0, checked.stderr
        assert len(live.chain) == 2, "leaf and issuer, no root"
        with Store.open(state.store) as store:
            assert [row.fingerprint for row in store.certificates()] == [live.fingerprint]

    def test_looking_again_changes_nothing(self, state: State, clock) -> None:
        one = ensure_server_certificate(state, Policy(), clock)
        assert ensure_server_certificate(state, Policy(), clock) == one
        assert ensure_server_certificate(State.open(state.path), Policy(), lambda: NOW + 30 * DAY) == one

    @pytest.mark.parametrize(
        ("changed", "later", "force"),
        [
            (policy(), 32 * DAY, False),
            (policy(), 100 * DAY, False),
            (policy(), DAY, True),
            (policy(names=["localhost", "b.test"]), DAY, False),
            (Policy.model_validate({"certificate": {"key_type": "ecdsa-p384"}}), DAY, False),
        ],
        ids=["due", "expired", "forced", "names", "key-type"],
    )
    def test_another_one_where_it_is_due(
        self, state: State, clock, changed: Policy, later, force: bool
    ) -> None:
        one = ensure_server_certificate(state, Policy(), clock)
        two = ensure_server_certificate(state, changed, lambda: NOW + later, force=force)
        assert (one.fingerprint != two.fingerprint, two.version) == (True, 2)
        assert two.names == changed.site.names
        assert two.not_after > NOW + later

    def test_a_damaged_live_certificate_is_replaced(self, state: State, clock) -> None:
        live = ensure_server_certificate(state, Policy(), clock)
        live.chain_path.resolve().write_text("garbage")
        assert ensure_server_certificate(state, Policy(), clock).version == 2

    def test_a_clock_that_went_back_is_said(self, state: State, clock) -> None:
        live = ensure_server_certificate(state, Policy(), clock)
        with pytest.raises(CertificateDates) as caught:
            ensure_server_certificate(state, Policy(), lambda: NOW - DAY)
        assert caught.value.code == "certificate-not-yet-valid"
        assert "clock" in caught.value.remedy
        assert LiveDirectory(state.live_server("localhost")).current() == live

    def test_a_new_public_name_needs_a_new_root(self, state: State, clock) -> None:
        live = ensure_server_certificate(state, Policy(), clock)
        with pytest.raises(CertificateError) as caught:
            ensure_server_certificate(state, policy(names=["api.example.com"]), clock)
        assert caught.value.code == "authority-name-not-covered"
        assert LiveDirectory(state.live_server("localhost")).current() == live
        made = renew_root(state, policy(names=["api.example.com"]), clock)
        assert made.names == ("api.example.com",)
        words = ["-attime", int(NOW.timestamp()), "-CAfile", state.root_pem, "-untrusted", made.chain_path]
        assert openssl("verify", *words, made.chain_path).returncode == 0

    def test_client_certificates_outlive_a_new_root(self, state: State, clock, tmp_path: Path) -> None:
        ensure_server_certificate(state, Policy(), clock)
        before = load_authorities(state)
        assert before is not None
        alice = issue_client(before.clients, generate("ecdsa-p256").public_key(), "alice", now=NOW)
        renew_root(state, Policy(), clock)
        trust = ensure_client_trust(state, Policy(), clock)
        words = ["-attime", int(NOW.timestamp()), "-purpose", "sslclient", "-CAfile", trust]
        path = write(tmp_path / "alice.pem", pem_of(alice))
        assert openssl("verify", *words, path).returncode == 0

    def test_another_holder_of_the_state_is_named(self, state: State, clock) -> None:
        with State.open(state.path).lock(), pytest.raises(StateBusy):
            ensure_server_certificate(state, Policy(), clock)

    def test_the_first_certificate_is_there_quickly(self, tmp_path: Path) -> None:
        """`serve` answers within 2.5 s; this is its share (30 ms where it was written)."""
        began = time.perf_counter()
        ensure_server_certificate(State.open(tmp_path / "quick"), Policy(), system_clock)
        assert time.perf_counter() - began < 1

    def test_ten_years_on_the_authority_is_over_and_says_so(self, state: State, clock) -> None:
        ensure_root(state, Policy(), clock)
        with pytest.raises(CertificateDates) as caught:
            ensure_server_certificate(state, Policy(), lambda: NOW + 3660 * DAY)
        assert caught.value.code == "authority-expired"
        assert "--new-root" in caught.value.remedy


class TestFiles:
    def test_they_become_live_and_stay_while_they_do_not_change(
        self, state: State, base: Path, clock
    ) -> None:
        live = ensure_server_certificate(state, from_files(), clock, base=base)
        assert live.fingerprint == fingerprint(LEAF.certificate)
        assert live.key_path.read_bytes() == LEAF.key_pem
        assert ensure_server_certificate(state, from_files(), clock, base=base, force=True) == live
        with Store.open(state.store) as store:
            assert [(row.kind, row.fingerprint) for row in store.certificates()] == [
                ("imported", live.fingerprint)
            ]

    def test_a_change_becomes_live(self, state: State, base: Path, clock) -> None:
        ensure_server_certificate(state, from_files(), clock, base=base)
        write(base / "certs" / "chain.pem", NEXT.pem + CA.pem)
        write(base / "certs" / "key.pem", NEXT.key_pem)
        live = ensure_server_certificate(state, from_files(), clock, base=base)
        assert (live.version, live.fingerprint) == (2, fingerprint(NEXT.certificate))

    def test_what_does_not_fit_leaves_the_old_one_live(self, state: State, base: Path, clock) -> None:
        live = ensure_server_certificate(state, from_files(), clock, base=base)
        write(base / "certs" / "chain.pem", NEXT.pem + CA.pem)
        with pytest.raises(CertificateError) as caught:
            ensure_server_certificate(state, from_files(), clock, base=base)
        assert caught.value.code == "key-mismatch"
        assert LiveDirectory(state.live_server("localhost")).current() == live

    def test_expired_ones_are_refused(self, state: State, base: Path) -> None:
        with pytest.raises(CertificateDates) as caught:
            ensure_server_certificate(state, from_files(), lambda: NOW + 90 * DAY, base=base)
        assert caught.value.code == "certificate-expired"

    def test_the_profile_holds_for_them_too(self, state: State, base: Path, clock) -> None:
        made = make("r", CA, names=["localhost"], key=rsa.generate_private_key(65537, 2048))
        write(base / "certs" / "chain.pem", made.pem)
        write(base / "certs" / "key.pem", made.key_pem)
        assert ensure_server_certificate(state, from_files(), clock, base=base).version == 1
        with pytest.raises(CertificateError) as caught:
            ensure_server_certificate(state, from_files(tls={"profile": "modern@6.0"}), clock, base=base)
        assert caught.value.code == "key-not-in-profile"

    def test_no_private_authority_is_made_for_them(self, state: State, base: Path, clock) -> None:
        ensure_server_certificate(state, from_files(), clock, base=base)
        assert not state.root_pem.exists()

    def test_which_files_are_watched(self, base: Path) -> None:
        foreign = {"mode": "required", "authorities": [{"name": "them", "file": "ca.pem"}]}
        assert watched_files(Policy(), base) == ()
        assert watched_files(from_files(clients=foreign), base) == (
            base / "certs" / "chain.pem",
            base / "certs" / "key.pem",
            base / "ca.pem",
        )


class TestClients:
    def test_private_anchors(self, state: State, clock) -> None:
        path = ensure_client_trust(state, Policy(), clock)
        assert path == state.live_clients / "trust.pem"
        (anchor,) = x509.load_pem_x509_certificates(path.read_bytes())
        made = load_authorities(state)
        assert made is not None
        anchor.verify_directly_issued_by(anchor)
        assert anchor.subject == made.clients.certificate.subject
        assert public_spki(anchor) == public_spki(made.clients.certificate)
        before = path.stat().st_mtime_ns
        ensure_client_trust(state, Policy(), clock)
        assert path.stat().st_mtime_ns == before, "nothing to do, nothing done"
        for other in (b"", b"garbage", CA.pem, made.clients.certificate.public_bytes(Encoding.PEM)):
            path.write_bytes(other)
            ensure_client_trust(state, Policy(), clock)
            (again,) = x509.load_pem_x509_certificates(path.read_bytes())
            assert public_spki(again) == public_spki(anchor)
            again.verify_directly_issued_by(again)

    def test_a_foreign_authority_and_garbage_after_it(self, state: State, base: Path, clock) -> None:
        foreign = Policy.model_validate(
            {"clients": {"mode": "required", "authorities": [{"name": "them", "file": "certs/ca.pem"}]}}
        )
        file = write(base / "certs" / "ca.pem", b"# our CA\n" + CA.pem, 0o644)
        path = ensure_client_trust(state, foreign, clock, base=base)
        assert path.read_bytes() == CA.pem
        for garbage in (b"garbage", LEAF.pem, b""):
            write(file, garbage)
            with pytest.raises(SealgateError):
                ensure_client_trust(state, foreign, clock, base=base)
            assert path.read_bytes() == CA.pem, "what is not sound never replaces a good one"
