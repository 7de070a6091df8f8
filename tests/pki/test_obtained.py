from __future__ import annotations

from datetime import timedelta

import pytest

from sealgate.errors import CertificateMismatch
from sealgate.pki.constraints import outside
from sealgate.pki.inspect import fingerprint
from sealgate.pki.obtained import held_obtained, publish_obtained
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import load_authorities
from sealgate.policy.model import Policy
from tests.pki.making import DAY, NOW, make

NAMES = ["api.example.com", "localhost"]
CA = make("ca", ca=True)
LEAF = make("leaf", CA, names=NAMES)
NEXT = make("next", CA, names=NAMES)
PRINT = fingerprint(LEAF.certificate)
POLICY = Policy.model_validate({"site": {"names": NAMES}, "certificate": {"source": "acme"}})
AUTHORITY = "https://acme.example/directory"


def publish(state: State, what=LEAF, clock=lambda: NOW):
    return publish_obtained(state, POLICY, what.pem, what.key_pem, authority=AUTHORITY, clock=clock)


def test_at_first_a_stand_in_serves_that_certifies_no_public_name(state: State, clock) -> None:
    live = ensure_server_certificate(state, POLICY, clock)
    assert live.names == ("localhost",)
    assert held_obtained(state, POLICY) is None
    authorities = load_authorities(state)
    assert authorities is not None
    assert outside(NAMES, authorities.servers.certificate) == ("api.example.com",)


def test_a_site_without_any_private_name_has_one_too(state: State, clock) -> None:
    policy = Policy.model_validate({"site": {"names": NAMES[:1]}, "certificate": {"source": "acme"}})
    assert ensure_server_certificate(state, policy, clock).names == ("localhost",)


def test_what_was_live_before_stays_until_the_authoritys_is_there(state: State, clock) -> None:
    private = Policy.model_validate({"site": {"names": NAMES}})
    before = ensure_server_certificate(state, private, clock)
    assert ensure_server_certificate(state, POLICY, clock).fingerprint == before.fingerprint
    assert ensure_server_certificate(state, POLICY, clock, force=True).fingerprint == before.fingerprint


def test_what_was_obtained_is_live_and_in_the_store_and_stays(state: State, clock) -> None:
    ensure_server_certificate(state, POLICY, clock)
    live = publish(state)
    assert live.fingerprint == PRINT
    held = held_obtained(state, POLICY)
    assert held is not None
    assert held.fingerprint == PRINT
    assert ensure_server_certificate(state, POLICY, clock).fingerprint == PRINT
    with Store.open(state.store) as store:
        assert [row.kind for row in store.certificates()] == ["acme", "server"]
        assert store.events()[0].kind == "certificate-obtained"


def test_what_does_not_fit_changes_nothing(state: State, clock) -> None:
    publish(state)
    other = make("other", CA, names=["localhost"])
    with pytest.raises(CertificateMismatch):
        publish(state, other)
    with pytest.raises(CertificateMismatch):
        publish_obtained(state, POLICY, NEXT.pem, LEAF.key_pem, authority=AUTHORITY, clock=clock)
    assert ensure_server_certificate(state, POLICY, clock).fingerprint == PRINT


def test_an_expired_one_gives_way_to_a_stand_in(state: State) -> None:
    publish(state)
    late = LEAF.certificate.not_valid_after_utc + timedelta(hours=1)
    live = ensure_server_certificate(state, POLICY, lambda: late)
    assert live.names == ("localhost",)
    assert held_obtained(state, POLICY) is None


def test_a_stand_in_is_renewed_in_time(state: State, clock) -> None:
    first = ensure_server_certificate(state, POLICY, clock)
    assert ensure_server_certificate(state, POLICY, lambda: NOW + 40 * DAY).fingerprint != first.fingerprint


def test_a_clock_before_its_time_makes_no_stand_in(state: State) -> None:
    publish(state)
    early = LEAF.certificate.not_valid_before_utc - 2 * DAY
    assert ensure_server_certificate(state, POLICY, lambda: early).fingerprint == PRINT
