"""The table of the revoked follows the store, and the store is not read while it is what it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealgate._system.clock import Clock
from sealgate.pki.clients.listing import revocation_keys
from sealgate.pki.clients.register import Blocked, Register
from sealgate.pki.lists.shelf import Fetched
from sealgate.pki.revocations import Revoked
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.policy.identity import blocked_key
from sealgate.policy.load import loads
from sealgate.runtime import publication as module
from sealgate.runtime.publication import Publication

POLICY = '[site]\nnames = ["localhost"]\napp = "apps:app"\n[clients]\nmode = "required"\n'


def test_a_store_that_is_what_it_was_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State.open(tmp_path / "state")
    loaded = loads(POLICY, path=tmp_path / "sealgate.toml", environ={})
    ensure_server_certificate(state, loaded.policy, lambda: datetime.now(UTC), base=tmp_path)
    read: list[State] = []

    def counted(state: State, clock: Clock) -> list[bytes]:
        read.append(state)
        return revocation_keys(state, clock)

    monkeypatch.setattr(module, "revocation_keys", counted)
    publication = Publication(state, state.path, lambda _: None)
    publication.clients(loaded)
    publication.clients(loaded)
    known = len(read)
    for _ in range(5):
        publication.clients(loaded)
    assert len(read) == known

    mark = "ab" * 32
    with state.lock(), Store.open(state.store) as store:
        Register(store).block(Blocked(mark, datetime.now(UTC), ""))
    publication.clients(loaded)
    assert len(read) == known + 1
    assert blocked_key(mark) in Revoked(publication.revocations.fd)


def test_nor_for_an_order_that_was_carried_out_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State.open(tmp_path / "state")
    loaded = loads(POLICY, path=tmp_path / "sealgate.toml", environ={})
    ensure_server_certificate(state, loaded.policy, lambda: datetime.now(UTC), base=tmp_path)
    publication = Publication(state, state.path, lambda _: None)
    table = Revoked(publication.revocations.fd)
    with state.lock():
        publication.clients(loaded)
        publication.clients(loaded)
        mine, theirs = "aa" * 32, "bb" * 32
        assert publication.in_step()
        with Store.open(state.store) as store:
            Register(store).block(Blocked(mine, datetime.now(UTC), ""))
        assert not publication.in_step(), "an order that begins now would not keep step"
        publication.shut((), blocked_key(mine))
        publication.keep_step()
        assert publication.in_step()
        monkeypatch.setattr(module, "revocation_keys", lambda *_: pytest.fail("it is read again"))
        publication.clients(loaded)
        assert blocked_key(mine) in table
        monkeypatch.undo()
        with Store.open(state.store) as store:
            Register(store).block(Blocked(theirs, datetime.now(UTC), ""))
        publication.clients(loaded)
        assert {blocked_key(mine) in table, blocked_key(theirs) in table} == {True}


def test_an_answer_that_just_came_is_not_taken_back(tmp_path: Path) -> None:
    """Good before, revoked now; meanwhile the store changes, and the table is put together anew."""
    state = State.open(tmp_path / "state")
    loaded = loads(POLICY, path=tmp_path / "sealgate.toml", environ={})
    ensure_server_certificate(state, loaded.policy, lambda: datetime.now(UTC), base=tmp_path)
    publication = Publication(state, state.path, lambda _: None)
    table, end = Revoked(publication.revocations.fd), datetime.now(UTC) + timedelta(days=1)
    good, revoked = b"g" * 16, b"r" * 16
    with state.lock():
        publication.fetched(loaded, [Fetched("them", good, end, b"")])
        assert good in table
        publication.answered([Fetched("them", b"", end, revoked)], [revoked])
        assert revoked in table
        with Store.open(state.store) as store:
            Register(store).block(Blocked("cc" * 32, datetime.now(UTC), ""))
        publication.clients(loaded)
    assert (revoked in table, good in table) == (True, False)
