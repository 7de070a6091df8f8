"""The list for others follows the list in force, whatever becomes of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from sealgate.errors import StateError
from sealgate.pki.clients import publishing
from sealgate.pki.clients.listing import write_list
from sealgate.pki.clients.office import issue, revoke
from sealgate.pki.clients.publishing import publish_list
from sealgate.pki.crl import der_of
from sealgate.pki.state import State
from sealgate.policy.model import Clients, Listen, Policy, Site
from sealgate.policy.values import Endpoint
from tests.pki.clients.test_office import POLICY, application, one

EVERYWHERE = Policy(
    site=Site(names=("api.example.org",)),
    clients=Clients(mode="optional"),
    listen=Listen(https=(Endpoint("0.0.0.0", 443),), http=(Endpoint("0.0.0.0", 80),)),
)


def in_force(state: State) -> bytes:
    return der_of((state.live_clients / "crl.pem").read_bytes())


def test_it_is_the_list_in_force(state: State, clock) -> None:
    one(state, "alice", clock)
    publish_list(state)
    assert not state.published_list.exists(), "there is no list yet"
    write_list(state, POLICY, clock)
    publish_list(state)
    first = state.published_list.read_bytes()
    assert first == in_force(state)
    revoke(state, "alice", "unspecified", clock)
    write_list(state, POLICY, clock, anew=True)
    assert state.published_list.read_bytes() == first, "others learn of it after us"
    publish_list(state)
    assert state.published_list.read_bytes() == in_force(state) != first
    assert len(x509.load_der_x509_crl(in_force(state))) == 1


@pytest.mark.parametrize("what", ["half", "another", "link", "gone", "longer", "empty"])
def test_it_is_put_right(state: State, clock, what: str, tmp_path: Path) -> None:
    write_list(state, POLICY, clock)
    publish_list(state)
    path, good = state.published_list, in_force(state)
    before = path.stat().st_ino
    publish_list(state)
    assert path.stat().st_ino == before, "what is right is left alone"
    bad = {"half": good[:-9], "another": b"\x30" * len(good), "longer": good + b"\0", "empty": b""}
    path.unlink()
    if what == "link":
        (tmp_path / "list").write_bytes(good)
        path.symlink_to(tmp_path / "list")
    elif what != "gone":
        path.write_bytes(bad[what])
    publish_list(state)
    assert not path.is_symlink()
    assert path.read_bytes() == good


def test_what_is_not_in_force_is_not_published(state: State, clock) -> None:
    """Damaged, or by another authority."""
    one(state, "alice", clock)
    write_list(state, POLICY, clock)
    publish_list(state)
    (state.live_clients / "crl.pem").write_bytes(b"half of")
    publish_list(state)
    assert not state.published_list.exists()


def test_where_it_cannot_be_written_what_counts_here_does(state: State, clock, monkeypatch) -> None:
    write_list(state, POLICY, clock)
    publish_list(state)
    before = state.published_list.read_bytes()

    def full(path: Path, data: bytes) -> None:
        raise StateError("state-full", f"no space is left to write {path}", "free some", path=str(path))

    monkeypatch.setattr(publishing, "write_atomic", full)
    write_list(state, POLICY, clock, anew=True)
    with pytest.raises(StateError):
        publish_list(state)
    assert state.published_list.read_bytes() == before != in_force(state)


def test_certificates_name_it_where_it_has_an_address(state: State, clock) -> None:
    for policy, wanted in (
        (EVERYWHERE, "http://api.example.org/.well-known/sealgate/clients.crl"),
        (POLICY, ""),
    ):
        (issued,) = issue(state, policy, [application(f"ann{bool(wanted)}")], clock)
        assert issued is not None
        extensions = x509.load_pem_x509_certificates(issued.chain.encode())[0].extensions
        points = [one for one in extensions if one.oid == ExtensionOID.CRL_DISTRIBUTION_POINTS]
        assert [[name.value for name in point.full_name] for one in points for point in one.value] == (
            [[wanted]] if wanted else []
        )
        assert all(not one.critical for one in points)
        assert all(point.reasons is point.crl_issuer is None for one in points for point in one.value)
