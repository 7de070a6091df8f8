from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sealgate.errors import CertificateError, StateInsecure, UsageError
from sealgate.pki.inspect import fingerprint
from sealgate.pki.keys import public_spki, spki
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import (
    KeepRootKey,
    check_covered,
    ensure_authorities,
    load_authorities,
    load_certificates,
    new_root,
)
from tests.pki.killing import KILLED, die_at, steps_of
from tests.pki.making import DAY, NOW, openssl


def prints(certificates) -> dict[str, str]:
    return {name: fingerprint(certificate) for name, certificate in certificates.items()}


def test_made_once_and_then_found(state: State, store: Store) -> None:
    assert load_authorities(state) is None
    one = ensure_authorities(state, store, ["localhost"], now=NOW)
    two = ensure_authorities(state, store, ["localhost"], now=NOW + DAY)
    assert prints(one.certificates) == prints(two.certificates)
    assert (
        openssl(
            "verify", "-attime", int(NOW.timestamp()), "-CAfile", state.root_pem, state.root_pem
        ).returncode
        == 0
    )


def test_the_roots_key_is_nowhere_and_all_else_is_private(state: State, store: Store) -> None:
    made = ensure_authorities(state, store, ["localhost"], now=NOW)
    keys = [path for path in state.path.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    found = {spki(serialization.load_pem_private_key(path.read_bytes(), None)) for path in keys}  # type: ignore[arg-type]
    assert found == {spki(made.servers.key), spki(made.clients.key)}
    assert public_spki(made.root) not in found
    # Answers to an ACME authority are for everybody who asks, so a server of another user passes there.
    others = {state.path / "live/challenges": 0o711}
    for path in state.path.rglob("*"):
        if not path.is_symlink():
            wanted = others.get(path, 0o700) if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_the_roots_key_is_kept_encrypted_where_asked(state: State, store: Store, tmp_path: Path) -> None:
    keep = KeepRootKey(tmp_path / "root.key", b"correct horse")
    made = ensure_authorities(state, store, ["localhost"], now=NOW, keep=keep)
    assert stat.S_IMODE(keep.path.stat().st_mode) == 0o600
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in keep.path.read_bytes()
    key = serialization.load_pem_private_key(keep.path.read_bytes(), b"correct horse")
    assert spki(key) == public_spki(made.root)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        new_root(state, store, ["localhost"], now=NOW, keep=keep)
    assert caught.value.code == "root-key-exists"
    assert prints(load_certificates(state)) == prints(made.certificates)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        KeepRootKey(tmp_path / "k", b"short").check()
    assert caught.value.code == "passphrase-short"
    assert "short" not in caught.value.fact.replace("passphrase-short", "")


def test_a_name_that_is_not_covered_says_what_to_do(state: State, store: Store) -> None:
    made = ensure_authorities(state, store, ["api.example.com"], now=NOW)
    check_covered(made, ["api.example.com", "localhost", "10.0.0.1"])
    with pytest.raises(CertificateError) as caught:
        check_covered(made, ["localhost", "example.org"])
    assert caught.value.code == "authority-name-not-covered"
    assert "example.org" in caught.value.fact
    assert "cert renew --new-root" in caught.value.remedy
    assert "sealgate trust" in caught.value.remedy


def test_a_new_root_covers_the_new_name_and_keeps_the_clients_good(state: State, store: Store) -> None:
    old = ensure_authorities(state, store, ["localhost"], now=NOW)
    made = new_root(state, store, ["example.org"], now=NOW + DAY)
    check_covered(made, ["example.org"])
    assert fingerprint(made.root) != fingerprint(old.root)
    assert made.clients.certificate.subject == old.clients.certificate.subject
    assert spki(made.clients.key) == spki(old.clients.key)
    assert spki(made.servers.key) != spki(old.servers.key)
    assert len(list((state.authorities / "sets").iterdir())) == 1, "the old servers key is gone"
    assert store.retired_roots() == [old.root.public_bytes(serialization.Encoding.PEM).decode()]
    assert prints(load_certificates(state)) == prints(made.certificates)


def test_killed_at_every_step_of_the_first_time_the_next_run_finishes(tmp_path: Path) -> None:
    def work(name: str):
        def run(step) -> None:
            state = State.open(tmp_path / name)
            with Store.open(state.store) as store:
                ensure_authorities(state, store, ["localhost"], now=NOW, step=step)

        return run

    steps = steps_of(work("count"))
    assert len(steps) > 20
    for number, step in enumerate(steps):
        assert die_at(number, work(f"s{number}")) == KILLED
        state = State.open(tmp_path / f"s{number}")
        before = load_certificates(state)
        with Store.open(state.store) as store:
            made = ensure_authorities(state, store, ["localhost"], now=NOW)
            assert before is None or prints(before) == prints(made.certificates), step
            assert store.retired_roots() == [], step
        assert len(list((state.authorities / "sets").iterdir())) == 1, step


def test_killed_at_every_step_of_a_new_root_one_whole_set_is_in_force(tmp_path: Path) -> None:
    def prepared(name: str) -> State:
        state = State.open(tmp_path / name)
        with Store.open(state.store) as store:
            ensure_authorities(state, store, ["localhost"], now=NOW)
        return state

    def work(state: State):
        def run(step) -> None:
            with Store.open(state.store) as store:
                new_root(state, store, ["example.org"], now=NOW, step=step)

        return run

    outcomes = []
    for number in range(len(steps_of(work(prepared("count"))))):
        state = prepared(f"s{number}")
        old = load_certificates(state)
        assert die_at(number, work(state)) == KILLED
        found = load_authorities(state)
        assert found is not None, "keys and certificates fit, or this raises"
        outcomes.append(prints(found.certificates) == prints(old))
        with Store.open(state.store) as store:
            made = new_root(state, store, ["example.org"], now=NOW)
        check_covered(made, ["example.org"])
    assert sorted(outcomes, reverse=True) == outcomes, "first the old one, from some step on the new one"
    assert {True, False} == set(outcomes)


def test_two_at_once_make_one_authority(tmp_path: Path) -> None:
    """Of two processes' worth of State objects, one works and the other hears that the state is busy."""
    State.open(tmp_path / "s")
    results: list[object] = []

    def run() -> None:
        state = State.open(tmp_path / "s")
        try:
            with state.lock(), Store.open(state.store) as store:
                results.append(prints(ensure_authorities(state, store, ["localhost"], now=NOW).certificates))
        except Exception as error:  # noqa: BLE001 - compared below
            results.append(getattr(error, "code", error))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    made = [result for result in results if isinstance(result, dict)]
    assert made
    assert all(result == made[0] for result in made)
    assert {result for result in results if not isinstance(result, dict)} <= {"state-busy"}


def test_damage_is_refused_with_what_to_type(state: State, store: Store) -> None:
    made = ensure_authorities(state, store, ["localhost"], now=NOW)
    path = state.authorities / "servers" / "authority.pem"
    sound = path.read_bytes()
    for damage in (b"", sound[:200], made.root.public_bytes(serialization.Encoding.PEM)):
        path.write_bytes(damage)
        with pytest.raises(CertificateError) as caught:
            load_authorities(state)
        assert caught.value.code == "authority-damaged"
    path.write_bytes(sound)
    key = state.authorities / "servers" / "key.pem"
    key.write_bytes((state.authorities / "clients" / "key.pem").read_bytes())
    with pytest.raises(CertificateError) as caught:
        load_authorities(state)
    assert caught.value.code == "authority-damaged"


def test_a_key_that_others_may_read_or_that_is_a_link_is_refused(state: State, store: Store) -> None:
    ensure_authorities(state, store, ["localhost"], now=NOW)
    key = state.authorities / "clients" / "key.pem"
    key.chmod(0o644)
    with pytest.raises(StateInsecure) as caught:
        load_authorities(state)
    assert caught.value.code == "key-readable-by-others"
    key.chmod(0o600)
    real = key.resolve()
    real.rename(real.with_name("elsewhere"))
    real.symlink_to("elsewhere")
    with pytest.raises(StateInsecure):
        load_authorities(state)
