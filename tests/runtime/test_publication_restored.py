"""What the keeper publishes while the files under it are put back from a backup."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sealgate._system.clock import system_clock
from sealgate.pki.clients.naming import Asked
from sealgate.pki.clients.office import Application, issue, revoke
from sealgate.pki.keys import generate, spki
from sealgate.pki.revocations import Revoked
from sealgate.pki.state import State
from sealgate.policy.identity import revocation_key
from sealgate.policy.load import loads
from sealgate.runtime.publication import Publication


def test_a_release_lets_nobody_else_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks of the keeper: a block or a hold is taken back, and the store is an old one."""
    monkeypatch.setenv("SEALGATE_CACHE", str(tmp_path / "cache"))
    loaded = loads('[clients]\nmode = "required"\n', path=tmp_path / "sealgate.toml", environ={})
    state = State.open(tmp_path / "state")
    said: list[str] = []
    publication = Publication(state, state.path, said.append)
    with state.lock():
        publication.materials(loaded)
        application = Application(Asked(name="ann"), spki(generate("ecdsa-p256")))
        (issued,) = issue(state, loaded.policy, [application], system_clock)
        assert issued is not None
        publication.list(loaded)
        files = [state.store, state.live_clients / "crl.pem"]
        for file in files:
            shutil.copy(file, tmp_path / file.name)
        revoke(state, "ann", "unspecified", system_clock)
        publication.list(loaded)
        for file in files:
            shutil.copy(tmp_path / file.name, file)
        publication.released(loaded)
    held = issued.held
    key = revocation_key(bytes.fromhex(held.issuer_key), int(held.serial, 16))
    assert key in Revoked(publication.revocations.fd)
    assert "state-restored: " in said[-1]
