"""One count over several processes, never more than allowed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.runtime.inside.budget import Budget, shared_memory


@pytest.fixture
def memory() -> Iterator[int]:
    fd = shared_memory(4)
    yield fd
    os.close(fd)


def test_alone() -> None:
    budget = Budget(2)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    budget.give()
    assert budget.take()


def test_together(memory: int) -> None:
    one, other = (Budget(3, fd=memory, place=place) for place in (1, 3))
    assert [one.take(), one.take(), other.take(), other.take(), one.take()] == [
        True,
        True,
        True,
        False,
        False,
    ]
    one.give()
    assert other.take()
    assert not one.take()


def test_who_dies_is_counted_no_more(memory: int) -> None:
    parent, child = Budget(0, fd=memory), Budget(2, fd=memory, place=2)
    assert child.take()
    assert child.take()
    parent.clear(2)
    assert Budget(2, fd=memory, place=1).take()


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans())), st.integers(0, 5))
def test_never_more_than_allowed(steps: list[tuple[int, bool]], most: int) -> None:
    fd = shared_memory(3)
    try:
        budgets = [Budget(most, fd=fd, place=place) for place in range(3)]
        for place, taking in steps:
            before = sum(each.mine for each in budgets)
            if taking:
                assert budgets[place].take() == (before < most)
            elif budgets[place].mine:
                budgets[place].give()
            assert 0 <= sum(each.mine for each in budgets) <= most
    finally:
        os.close(fd)
