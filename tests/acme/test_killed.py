"""Killed at any step, the next run has the certificate, and nothing lies about: here, or at the authority."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sealgate._system.clock import system_clock
from sealgate.acme.account import AccountFiles
from sealgate.acme.client import Client, Signer
from sealgate.acme.obtain import obtain, settle
from sealgate.acme.order import Answer, Obtained, Wanted
from sealgate.acme.solvers import Solver
from sealgate.pki.keys import load_private
from sealgate.pki.live import verify_pair
from sealgate.pki.state import State
from tests.acme.pebble import Server, pebble
from tests.acme.solving import http_solver
from tests.pki.killing import KILLED, die_at, steps_of

Step = Callable[[str], None]
WANTED = Wanted(("a.example.test", "b.example.test"), "ecdsa-p256", "http-01")
STEPS = 22
"""So many steps has a run; a test counts them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pebble")
    with pebble(folder, bad_nonces=20, PEBBLE_WFE_ORDERS_PER_PAGE="50") as running:
        yield running


class Dying:
    """A solver with steps of its own: killed after answers are shown, or hidden, but not noted as such."""

    def __init__(self, inner: Solver, step: Step) -> None:
        self.inner, self.step = inner, step

    def present(self, answers: Sequence[Answer]) -> None:
        self.inner.present(answers)
        self.step("presented")

    def withdraw(self, answers: Sequence[Answer]) -> None:
        self.inner.withdraw(answers)
        self.step("withdrawn")


def _nothing(_name: str) -> None:
    pass


def run(server: Server, state: State, step: Step = _nothing) -> Obtained:
    with http_solver(server, state) as solver:
        got = obtain(
            server.authority(),
            WANTED,
            state=state,
            solver=Dying(solver, step),
            clock=system_clock,
            wait=lambda seconds: time.sleep(min(seconds, 0.05)),
            say=_nothing,
            step=step,
        )
        settle(state, WANTED, step=step)
        return got


def accounts(server: Server) -> int:
    found = re.findall(r"There are now (\d+) accounts", server.log.read_text())
    return int(found[-1]) if found else 0


def left(state: State) -> list[Path]:
    parts = (state.path / "acme", state.live / "challenges")
    return [path for part in parts for path in part.rglob("*") if path.is_file()]


def test_the_steps_are_counted(server: Server, tmp_path: Path) -> None:
    state = State.open(tmp_path / "state")
    names = steps_of(lambda step: run(server, state, step))
    assert len(names) == STEPS, names
    assert {"account-key", "order", "present", "presented", "respond", "finalise", "download"} <= set(names)


@pytest.mark.parametrize(
    "number",
    [
        # One of each kind in every run; all of them in the long one.
        *(number for number in (1, 6, 9, 21)),
        *(pytest.param(n, marks=pytest.mark.long) for n in range(STEPS) if n not in (1, 6, 9, 21)),
    ],
)
def test_killed_at_a_step(server: Server, tmp_path: Path, number: int) -> None:
    state, before = State.open(tmp_path / "state"), accounts(server)
    assert die_at(number, lambda step: run(server, state, step)) == KILLED
    got = run(server, state)
    verify_pair(got.chain_pem, got.key_pem, "test")
    assert left(state) == []
    assert accounts(server) == before + 1
    files = AccountFiles(state, server.authority())
    signer = Signer(load_private(files.key), json.loads(files.note.read_bytes())["url"])
    with Client.open(server.authority(), clock=system_clock) as client:
        listed = client.show_account(signer).orders
        for url in client.orders(signer, listed):
            order = client.order(signer, url).what
            assert order.status == "valid"
            for one in order.authorizations:
                assert client.authorization(signer, one).what.status == "valid"
