"""What is noted of an order under way: whole or not there, and never believed when it is neither."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sealgate.acme.journal import Entry, Journal, forget, journals
from sealgate.acme.leftovers import hide
from sealgate.acme.order import Answer, Wanted
from sealgate.errors import AcmeError
from sealgate.pki.keys import generate, spki
from sealgate.pki.state import State

KEY = generate("ecdsa-p256")
ANSWER = Answer("api.example", "http-01", "token", "token.thumbprint")
ENTRY = Entry(
    {"names": ["api.example"]}, "2026-01-01T00:00:00+00:00", "https://ca.example/order/1", (ANSWER,)
)
WANTED = Wanted(("api.example",), "ecdsa-p256", "http-01")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


@pytest.fixture
def journal(state: State) -> Journal:
    journal = Journal.of(state, "api.example", "ca-1")
    journal.begin(ENTRY, KEY)
    return journal


def test_what_was_noted_is_read(state: State, journal: Journal) -> None:
    found = Journal.of(state, "api.example", "ca-1").read()
    assert found is not None
    entry, key = found
    assert entry == ENTRY
    assert spki(key) == spki(KEY)
    for path in journal.path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert journal.path.stat().st_mode & 0o777 == 0o700
    # What is still shown stays noted; its key does not stay.
    journal.close()
    assert [path.name for path in journal.path.iterdir()] == ["order.json"]
    assert journal.answers() == (ANSWER,)
    journal.close(hidden=True)
    journal.close()
    assert journal.read() is None
    assert not journal.path.exists()


def test_half_of_a_file_is_nothing(journal: Journal) -> None:
    for name in ("order.json", "key.pem"):
        path = journal.path / name
        whole = path.read_bytes()
        for cut in range(0, len(whole) - 1, 7):
            path.write_bytes(whole[:cut])
            assert journal.read() is None
        path.write_bytes(whole)
        assert journal.read() is not None


@pytest.mark.parametrize(
    "text",
    (
        "[]",
        "{}",
        "null",
        '{"wish": 1, "began": "x", "order": "", "answers": []}',
        "[" * 100_000,
        "\x00",
        json.dumps({"wish": {}, "began": "soon", "order": "", "answers": []}),
        json.dumps({"wish": {}, "began": "2026-01-01T00:00:00+00:00", "order": "", "answers": [1]}),
    ),
)
def test_what_is_no_journal(journal: Journal, text: str) -> None:
    (journal.path / "order.json").write_text(text)
    assert journal.read() is None
    assert journal.answers() == ()


class Solver:
    def __init__(self) -> None:
        self.hidden: list[Answer] = []
        self.error: AcmeError | None = None

    def present(self, answers: object) -> None:
        raise NotImplementedError

    def withdraw(self, answers: list[Answer]) -> None:
        if self.error is not None:
            raise self.error
        self.hidden += answers


def test_answers_of_an_earlier_run_are_hidden_whomever_it_asked(state: State, journal: Journal) -> None:
    other = Journal.of(state, "api.example", "ca-2")
    other.begin(ENTRY, KEY)
    solver, said = Solver(), list[str]()
    hide(WANTED, state, solver, said.append)  # type: ignore[arg-type] # lists are what it is given
    assert solver.hidden == [ANSWER, ANSWER]
    for one in journals(state, "api.example"):
        assert one.answers() == ()
        assert one.read() is not None
    hide(WANTED, state, solver, said.append)  # type: ignore[arg-type] # as above
    assert len(solver.hidden) == 2
    assert not said


def test_what_cannot_be_hidden_now_stays_noted(state: State, journal: Journal) -> None:
    solver, said = Solver(), list[str]()
    solver.error = AcmeError("acme-dns", "the DNS is down", "wait")
    hide(WANTED, state, solver, said.append)  # type: ignore[arg-type] # as above
    assert journal.answers() == (ANSWER,)
    assert "the DNS is down" in said[0]


def test_what_another_challenge_left_is_said(state: State, journal: Journal) -> None:
    solver, said = Solver(), list[str]()
    hide(Wanted(("api.example",), "ecdsa-p256", "dns-01"), state, solver, said.append)  # type: ignore[arg-type] # as above
    assert solver.hidden == []
    assert "http-01" in said[0]
    assert "api.example" in said[0]


def test_answers_whose_key_is_gone_are_hidden_and_the_rest_forgotten(state: State, journal: Journal) -> None:
    (journal.path / "key.pem").unlink()
    solver = Solver()
    hide(WANTED, state, solver, lambda _text: None)  # type: ignore[arg-type] # as above
    assert solver.hidden == [ANSWER]
    assert list(journals(state, "api.example")) == []


@pytest.mark.parametrize(
    "change",
    (
        {"began": "2026-11-22T00:00:00"},
        {"order": "https://x\x1b]0;"},
        {"order": None},
        {"answers": [{"name": "a", "kind": ["http-01"], "token": "t", "key_authorization": "k"}]},
        {"answers": [{"name": "a", "kind": "dns-01\n\x1b]", "token": "t", "key_authorization": "k"}]},
        {"answers": [{"name": "\x1b[31m", "kind": "dns-01", "token": "t", "key_authorization": "k"}]},
        {"answers": [{"name": "a", "kind": "dns-01", "token": 2, "key_authorization": "k"}]},
        {"answers": {"a": 1}},
    ),
)
def test_what_we_would_not_write_is_not_believed(
    state: State, journal: Journal, change: dict[str, object]
) -> None:
    path = journal.path / "order.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert journal.read() is None
    assert journal.answers() == (() if "answers" in change else (ANSWER,))


def test_a_hostile_name_does_not_reach_the_terminal(state: State, journal: Journal) -> None:
    journal.note(replace(ENTRY, answers=(replace(ANSWER, name="a, b" + "c" * 300, kind="dns-01"),)))
    said: list[str] = []
    hide(WANTED, state, Solver(), said.append)  # type: ignore[arg-type] # as above
    assert '"a, bc' in said[0]
    assert len(said[0]) < 250


def test_what_was_under_way_for_a_former_name_is_gone(state: State, journal: Journal) -> None:
    """Its key too; what it showed is hidden, or stays noted until it can be."""
    former = Journal.of(state, "former.example", "ca-1")
    former.begin(ENTRY, KEY)
    solver, said = Solver(), list[str]()
    solver.error = AcmeError("acme-dns", "the DNS is down", "wait")
    hide(WANTED, state, solver, said.append)  # type: ignore[arg-type] # as above
    assert [path.name for path in former.path.iterdir()] == ["order.json"]
    solver.error = None
    hide(WANTED, state, solver, said.append)  # type: ignore[arg-type] # as above
    assert not former.path.exists()
    assert journal.read() is not None


def test_nobody_goes_on_where_the_policy_asks_for_no_authority(state: State, journal: Journal) -> None:
    plain = Journal.of(state, "b.example", "ca-1")
    plain.begin(replace(ENTRY, answers=()), KEY)
    assert [one.path for one in forget(state)] == [journal.path], "what may still be shown stays noted"
    assert not plain.path.exists()
    assert not (journal.path / "key.pem").exists()


def test_without_any_order_there_is_nothing_to_forget(tmp_path: Path) -> None:
    assert list(forget(State.open(tmp_path / "new"))) == []
