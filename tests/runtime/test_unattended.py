"""Without a keeper: one renewer at a time, and nothing is revoked that is still served."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate.acme.history import history_path, load
from sealgate.errors import NotObserved, StateBusy
from sealgate.pki.live import LiveDirectory
from sealgate.pki.state import State
from sealgate.policy.load import Loaded, loads
from sealgate.policy.values import Endpoint
from sealgate.runtime.unattended import end_unattended, renew, served
from tests.acme.fake import Fake, fake_authority, problem
from tests.live.served import free_port, loopback
from tests.runtime.test_observation import process

NAME = "a.example.test"
REVOKE = {"order": "cert-revoke", "which": "", "reason": "unspecified", "by": "account"}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with fake_authority(tmp_path_factory.mktemp("fake")) as authority:
        yield authority


@pytest.fixture
def loaded(fake: Fake, tmp_path: Path) -> Loaded:
    fake.odd, fake.asked = {}, []
    host = loopback()
    https, http = (json.dumps(f"{host}:{free_port(host)}") for _ in range(2))
    text = f"""
version = 1
site.names = ["{NAME}"]
listen = {{ https = [{https}], http = [{http}] }}
certificate.source = "acme"
certificate.acme = {{ directory = "{fake.authority().directory}", ca_file = "{fake.ca_file}" }}
"""
    return loads(text, path=tmp_path / "sealgate.toml", environ={})


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


def live(state: State) -> str:
    return LiveDirectory(state.live_server(NAME)).fingerprint()


def test_two_renewers_are_one_too_many(fake: Fake, loaded: Loaded, state: State) -> None:
    with State.open(state.path).lock(), pytest.raises(StateBusy):
        renew(state, loaded, force=True, say=print)
    with State.open(state.path).lock(), pytest.raises(StateBusy):
        end_unattended(state, loaded, REVOKE, say=print)
    assert not fake.asked


def test_another_one_is_live_before_the_live_one_is_revoked(fake: Fake, loaded: Loaded, state: State) -> None:
    assert renew(state, loaded, force=False, say=print)["renewed"]
    first = live(state)
    answer = end_unattended(state, loaded, REVOKE, say=print)
    assert (answer["fingerprint"], answer["live"]) == (first, live(state))
    assert live(state) != first
    paths = [asked.path for asked in fake.asked if asked.path in ("/finalize", "/revoke")]
    assert paths == ["/finalize", "/finalize", "/revoke"]


def test_where_there_is_no_other_one_nothing_is_revoked_unless_at_once(
    fake: Fake, loaded: Loaded, state: State
) -> None:
    renew(state, loaded, force=False, say=print)
    first = live(state)
    fake.odd = {"/order": lambda _asked: problem("rateLimited", 429)}
    with pytest.raises(Exception, match="acme-rate-limited"):
        end_unattended(state, loaded, REVOKE, say=print)
    assert (fake.count("/revoke"), live(state)) == (0, first)
    answer = end_unattended(state, loaded, {**REVOKE, "replace": False}, say=print)
    assert answer["fingerprint"] == answer["live"] == first
    fake.odd = {}
    history_path(state, NAME).unlink()  # as if some time had passed since the refusal
    assert renew(state, loaded, force=False, say=print)["renewed"], "it is due although it is new"


def test_what_a_server_still_shows_is_not_revoked(
    fake: Fake, loaded: Loaded, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealgate.runtime.unattended._SEEN", 0.2)
    renew(state, loaded, force=False, say=print)
    first = live(state)
    endpoint: Endpoint = loaded.policy.listen.https[0]
    with contextlib.ExitStack() as stack:
        stack.enter_context(process(endpoint, tmp_path / "served"))
        with pytest.raises(NotObserved) as caught:
            end_unattended(state, loaded, REVOKE, say=print)
    assert caught.value.code == "certificate-still-served"
    assert first[:16] in str(caught.value)
    assert fake.count("/revoke") == 0
    assert live(state) != first
    assert load(history_path(state, NAME)).attempts[-1].certificate == live(state)
    assert end_unattended(state, loaded, {**REVOKE, "which": first}, say=print)["live"] == live(state)


def test_one_process_that_still_shows_another_one_is_found(
    fake: Fake, loaded: Loaded, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealgate.runtime.unattended._SEEN", 0.2)
    renew(state, loaded, force=False, say=print)
    certificate = LiveDirectory(state.live_server(NAME)).current()
    assert certificate is not None
    assert served(loaded, certificate) is None
    endpoint: Endpoint = loaded.policy.listen.https[0]
    pem = certificate.chain_path.read_bytes() + certificate.key_path.read_bytes()
    with process(endpoint, tmp_path / "new", pem):
        assert served(loaded, certificate) is True
        with process(endpoint, tmp_path / "old"):
            assert served(loaded, certificate) is False
