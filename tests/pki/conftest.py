from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.pki.state import State
from sealgate.pki.store import Store
from tests.pki.making import NOW


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


@pytest.fixture
def store(state: State):
    with Store.open(state.store) as opened:
        yield opened


@pytest.fixture
def clock():
    return lambda: NOW
