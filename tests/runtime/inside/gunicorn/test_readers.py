"""Who is waited for, and who goes where there are too many."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from sealgate.runtime.inside.gunicorn import readers as module
from sealgate.runtime.inside.gunicorn.readers import LEAST, PATIENCE, Readers


@dataclass(eq=False)
class Fake:
    taken: int
    age: float = 100.0
    aborted: bool = False
    answering: float = field(init=False)

    def __post_init__(self) -> None:
        self.answering = time.monotonic() - self.age

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    monkeypatch.setattr(module, "_MOST_HELD", 1000)


@pytest.mark.usefixtures("few")
def test_past_the_bound_the_slowest_goes_and_not_the_newest() -> None:
    said: list[str] = []
    slow, fast, fresh, newest = Fake(50), Fake(5000), Fake(100, age=0.1), Fake(90, age=0.5)
    readers = Readers(1, said.append)
    with ExitStack() as stack:
        for each in (fast, slow, fresh):
            stack.enter_context(readers.waiting(each, 1))
        assert not any(each.aborted for each in (fast, slow, fresh))
        stack.enter_context(readers.waiting(newest, 1))
        assert [each.aborted for each in (fast, slow, fresh, newest)] == [False, True, False, False]
        stack.enter_context(readers.waiting(Fake(10), 1))  # the slowest is the one that comes
        assert [each.aborted for each in (fast, fresh, newest)] == [False] * 3
    assert len(said) == 1  # once a minute
    with readers.waiting(fast, 1):
        assert not fast.aborted


@pytest.mark.usefixtures("few")
def test_what_they_hold_counts_but_as_many_as_there_are_turns_may() -> None:
    readers = Readers(2, lambda _: None)
    one, two, three = Fake(1), Fake(2), Fake(3)
    gone: list[list[bool]] = []
    with readers.waiting(one, 5000), readers.waiting(two, 5000):
        gone.append([each.aborted for each in (one, two)])
        with readers.waiting(three, 1):
            gone.append([each.aborted for each in (one, two)])
    assert gone == [[False, False], [True, False]]


def test_less_is_kept_for_each_where_much_is_kept_for_all() -> None:
    readers = Readers(1, lambda _: None)
    assert readers.patience == PATIENCE
    readers.measure([PATIENCE] * 200)
    assert readers.patience == LEAST
    readers.measure([PATIENCE] * 2)
    assert readers.patience == PATIENCE
