"""Two certificates with keys of different families: published together, kept or replaced each by itself."""

from __future__ import annotations

import functools
import shutil
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sealgate.errors import CertificateError, CertificateMismatch
from sealgate.pki.inspect import fingerprint, key_type_of
from sealgate.pki.keys import KeyType, PrivateKey, generate
from sealgate.pki.live import LiveDirectory, second_paths
from sealgate.pki.obtained import arranged, held_obtained, publish_obtained
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.model import Policy
from tests.pki.killing import KILLED, Step, die_at, steps_of
from tests.pki.making import DAY, NOW, Made, make

NAMES = ["localhost"]
CA = make("ca", ca=True)
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC1, EC2 = (make(f"ec{number}", CA, names=NAMES) for number in (1, 2))
RSA1, RSA2 = (make(f"rsa{number}", CA, names=NAMES, key=RSA) for number in (1, 2))
ENDED = make("ended", CA, names=NAMES, key=RSA, last=NOW + DAY)
AUTHORITY = "https://acme.example/directory"


def policy(first: str = "ecdsa-p256", second: str = "rsa-3072", source: str = "private") -> Policy:
    certificate = {"source": source, "key_type": first, "second_key_type": second}
    return Policy.model_validate({"site": {"names": NAMES}, "certificate": certificate})


BOTH, ACME = policy(), policy(source="acme")


def pem(made: Made) -> tuple[bytes, bytes]:
    return made.pem + CA.pem, made.key_pem


def prints(*made: Made) -> tuple[str, ...]:
    return tuple(fingerprint(one.certificate) for one in made)


def live(state: State) -> LiveDirectory:
    return LiveDirectory(state.live_server(NAMES[0]))


def obtain(state: State, made: Made, asked: Policy = ACME) -> tuple[str, ...]:
    chain, key = pem(made)
    got = publish_obtained(state, asked, chain, key, authority=AUTHORITY, clock=lambda: NOW)
    assert got.fingerprints == live(state).fingerprints()
    return got.fingerprints


@functools.cache
def large() -> rsa.RSAPrivateKey:
    """Its primes take their time; which key it is does not matter here."""
    return rsa.generate_private_key(public_exponent=65537, key_size=3072)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(key_type: KeyType) -> PrivateKey:
        return large() if key_type == "rsa-3072" else generate(key_type)

    monkeypatch.setattr("sealgate.pki.server.generate", made)


@pytest.fixture
def directory(tmp_path: Path) -> LiveDirectory:
    return LiveDirectory(tmp_path / "server" / "localhost")


class TestLive:
    def test_both_are_swapped_by_one_link(self, directory: LiveDirectory) -> None:
        got = directory.publish(*pem(EC1), second=pem(RSA1))
        assert got.shown == {"ecdsa": prints(EC1)[0], "rsa": prints(RSA1)[0]}
        assert [str(path.readlink()) for path in second_paths(directory.path)] == [
            "current/second-chain.pem",
            "current/second-key.pem",
        ]
        directory.publish(*pem(EC2), second=pem(RSA2))
        assert directory.fingerprints() == prints(EC2, RSA2)
        assert directory.rollback().fingerprints == prints(EC1, RSA1)
        assert directory.pair(second=True) == pem(RSA1)

    def test_until_there_is_a_second_its_names_lead_to_the_first(self, directory: LiveDirectory) -> None:
        got = directory.publish(*pem(EC1), twofold=True)
        assert got.second is None
        assert directory.pair(second=True) is None
        assert [path.read_bytes() for path in second_paths(directory.path)] == [*pem(EC1)]

    def test_names_that_were_there_stay_and_a_second_key_does_not(self, directory: LiveDirectory) -> None:
        directory.publish(*pem(EC1), second=pem(RSA1))
        assert directory.publish(*pem(EC2)).second is None
        assert [path.read_bytes() for path in second_paths(directory.path)] == [*pem(EC2)]

    def test_without_a_wish_for_two_nothing_is_there(self, directory: LiveDirectory) -> None:
        directory.publish(*pem(EC1))
        assert not directory.twofold
        assert not list(directory.path.rglob("second-*"))

    def test_a_second_that_cannot_be_read_takes_nothing_away(self, directory: LiveDirectory) -> None:
        directory.publish(*pem(EC1), second=pem(RSA1))
        second_paths(directory.path)[0].resolve().write_text("garbage")
        assert directory.fingerprints() == prints(EC1)

    @pytest.mark.parametrize("second", [(pem(RSA1)[0], EC1.key_pem), (b"", RSA1.key_pem)])
    def test_a_second_that_does_not_fit_never_becomes_live(
        self, directory: LiveDirectory, second: tuple[bytes, bytes]
    ) -> None:
        directory.publish(*pem(EC1), second=pem(RSA1))
        with pytest.raises(CertificateError):
            directory.publish(*pem(EC2), second=second)
        assert directory.fingerprints() == prints(EC1, RSA1)

    @pytest.mark.long
    def test_killed_at_every_step_both_are_old_or_both_new(self, tmp_path: Path) -> None:
        def fresh(name: str) -> LiveDirectory:
            made = LiveDirectory(tmp_path / name / "server" / "site")
            made.publish(*pem(EC1))
            return made

        def attempt(at: LiveDirectory, step: Step) -> None:
            at.publish(*pem(EC2), second=pem(RSA2), step=step)

        steps, seen = steps_of(partial(attempt, fresh("count"))), set()
        for number, step in enumerate(steps):
            directory = fresh(f"step-{number}")
            assert die_at(number, partial(attempt, directory)) == KILLED
            assert directory.fingerprints() in (prints(EC1), prints(EC2, RSA2)), step
            seen.add(directory.fingerprints())
            directory.publish(*pem(EC2), second=pem(RSA1))
            assert directory.fingerprints() == prints(EC2, RSA1)
            assert not [path for path in directory.path.rglob("*") if path.name.endswith(".tmp")]
            shutil.rmtree(directory.path.parent.parent)
        assert len(seen) == 2


@pytest.mark.parametrize(
    ("key_types", "there", "served"),
    [
        (("ecdsa-p256",), "e", "e"),
        (("rsa-3072",), "e", "e"),  # its type changed: it serves until there is another
        (("rsa-3072",), "er", "r"),
        (("ecdsa-p256", "rsa-3072"), "er", "er"),
        (("ecdsa-p256", "rsa-3072"), "re", "er"),
        (("rsa-3072", "ecdsa-p384"), "er", "re"),
        (("ecdsa-p256", "rsa-3072"), "r", "r"),
        (("ecdsa-p256", "rsa-3072"), "e", "e"),
    ],
)
def test_what_is_served_of_what_there_is(key_types: tuple[str, ...], there: str, served: str) -> None:
    kinds = {"e": "ecdsa", "r": "rsa"}
    pairs = {kinds[letter]: (letter.encode(), b"key") for letter in there}
    assert arranged(key_types, pairs) == tuple((letter.encode(), b"key") for letter in served)


class TestPrivate:
    def test_both_are_issued_and_stay(self, state: State, clock: Any) -> None:
        one = ensure_server_certificate(state, BOTH, clock)
        assert [key_type_of(each.leaf.public_key()) for each in one.both] == ["ecdsa-p256", "rsa-3072"]
        assert ensure_server_certificate(state, BOTH, clock) == one

    def test_a_changed_type_replaces_one_and_leaves_the_other(self, state: State, clock: Any) -> None:
        one = ensure_server_certificate(state, BOTH, clock).shown
        two = ensure_server_certificate(state, policy("ecdsa-p384"), clock).shown
        assert two["ecdsa"] != one["ecdsa"]
        assert two["rsa"] == one["rsa"]

    def test_each_is_renewed_when_it_is_due(self, state: State, clock: Any) -> None:
        before = ensure_server_certificate(state, policy(second=""), clock)
        both = ensure_server_certificate(state, BOTH, lambda: NOW + 20 * DAY)
        assert both.fingerprint == before.fingerprint
        later = ensure_server_certificate(state, BOTH, lambda: NOW + 32 * DAY)
        assert later.fingerprint != both.fingerprint
        assert later.fingerprints[1] == both.fingerprints[1]

    def test_types_that_change_places_ask_for_nothing_new(self, state: State, clock: Any) -> None:
        one = ensure_server_certificate(state, BOTH, clock)
        two = ensure_server_certificate(state, policy("rsa-3072", "ecdsa-p256"), clock)
        assert two.fingerprints == one.fingerprints[::-1]

    def test_taken_out_the_second_is_gone_with_its_key(self, state: State, clock: Any) -> None:
        one = ensure_server_certificate(state, BOTH, clock)
        two = ensure_server_certificate(state, policy(second=""), clock)
        assert two.fingerprints == one.fingerprints[:1]
        assert live(state).pair(second=True) is None

    def test_a_damaged_second_is_made_anew_and_the_first_stays(self, state: State, clock: Any) -> None:
        one = ensure_server_certificate(state, BOTH, clock)
        second_paths(live(state).path)[0].resolve().write_text("garbage")
        two = ensure_server_certificate(state, BOTH, clock)
        assert two.fingerprint == one.fingerprint
        assert two.fingerprints[1] != one.fingerprints[1]

    def test_forced_both_are_new(self, state: State, clock: Any) -> None:
        one = ensure_server_certificate(state, BOTH, clock)
        two = ensure_server_certificate(state, BOTH, clock, force=True)
        assert set(one.fingerprints).isdisjoint(two.fingerprints)


class TestObtained:
    def test_a_stand_in_is_never_served_beside_one_that_was_obtained(self, state: State, clock: Any) -> None:
        ensure_server_certificate(state, ACME, clock)
        assert [held_obtained(state, ACME, index=index) for index in (0, 1)] == [None, None]
        assert obtain(state, RSA1) == prints(RSA1)
        assert held_obtained(state, ACME, index=0) is None
        assert obtain(state, EC1) == prints(EC1, RSA1)
        held = [held_obtained(state, ACME, index=index) for index in (0, 1)]
        assert tuple(one.fingerprint for one in held if one) == prints(EC1, RSA1)
        assert ensure_server_certificate(state, ACME, clock).fingerprints == prints(EC1, RSA1)

    def test_a_renewal_of_one_leaves_the_other(self, state: State, clock: Any) -> None:
        for made, both in ((EC1, (EC1,)), (RSA1, (EC1, RSA1)), (RSA2, (EC1, RSA2)), (EC2, (EC2, RSA2))):
            assert obtain(state, made) == prints(*both)

    def test_one_that_ended_is_not_shown_while_the_other_is_good(self, state: State) -> None:
        obtain(state, EC1)
        assert obtain(state, ENDED) == prints(EC1, ENDED)
        later = ensure_server_certificate(state, ACME, lambda: NOW + 2 * DAY)
        assert later.fingerprints == prints(EC1)

    def test_the_first_ended_the_second_serves_all(self, state: State) -> None:
        swapped = policy("rsa-3072", "ecdsa-p256", source="acme")
        obtain(state, ENDED, swapped)
        obtain(state, EC1, swapped)
        later = ensure_server_certificate(state, swapped, lambda: NOW + 2 * DAY)
        assert later.fingerprints == prints(EC1)

    def test_who_had_rsa_alone_keeps_it(self, state: State, clock: Any) -> None:
        obtain(state, RSA1, policy("rsa-3072", "", source="acme"))
        assert ensure_server_certificate(state, ACME, clock).fingerprints == prints(RSA1)
        assert live(state).twofold
        held = held_obtained(state, ACME, index=1)
        assert held is not None
        assert obtain(state, EC1) == prints(EC1, RSA1)

    def test_what_the_policy_no_longer_asks_for_is_not_served(self, state: State, clock: Any) -> None:
        before = ensure_server_certificate(state, policy(second="", source="acme"), clock)
        with pytest.raises(CertificateMismatch) as caught:
            obtain(state, RSA1, policy(second="", source="acme"))
        assert caught.value.code == "certificate-unwanted"
        assert live(state).fingerprints() == before.fingerprints


def test_an_earlier_layout_becomes_one_with_two(state: State, clock: Any) -> None:
    obtain(state, EC1, policy(second="", source="acme"))
    assert not live(state).twofold
    assert ensure_server_certificate(state, ACME, clock).fingerprints == prints(EC1)
    assert live(state).twofold
    version = live(state).current()
    assert ensure_server_certificate(state, ACME, lambda: NOW + timedelta(hours=1)) == version
