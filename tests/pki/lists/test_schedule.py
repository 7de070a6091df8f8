"""When a list is asked for: before it ends, never in a tight loop, whatever a server says."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.lists.schedule import LEAST, MOST, Facts, Standing, due, failed, standing, took
from tests.pki.making import DAY, NOW

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SPREAD = st.floats(0, 1, exclude_max=True)
FAR = st.timedeltas(min_value=-30 * DAY, max_value=3000 * DAY)
FACTS = st.builds(
    Facts,
    next_update=st.none() | FAR.map(lambda gap: NOW + gap),
    asked=st.just(NOW),
    failures=st.integers(0, 10_000),
    retry_at=st.none() | FAR.map(lambda gap: NOW + gap),
)


@given(FACTS, SPREAD, st.timedeltas(min_value=timedelta(), max_value=30 * DAY))
def test_never_in_a_tight_loop_and_never_forgotten(facts: Facts, spread: float, later: timedelta) -> None:
    at = due(facts, now=NOW + later, spread=spread)
    assert NOW + LEAST <= at <= NOW + MOST


@given(st.timedeltas(min_value=3 * MINUTE, max_value=3000 * DAY), SPREAD)
def test_before_the_list_ends(left: timedelta, spread: float) -> None:
    facts = took(Facts(), NOW + left, at=NOW)
    at = due(facts, now=NOW, spread=spread)
    assert NOW < at <= NOW + left / 2
    assert at <= NOW + 4 * HOUR


@given(st.timedeltas(min_value=HOUR, max_value=30 * DAY), SPREAD, st.none() | FAR)
def test_a_server_in_trouble_is_asked_often_before_the_end(
    left: timedelta, spread: float, told: timedelta | None
) -> None:
    """Whatever it says: it is asked several times while the list still counts."""
    facts, now, tries = Facts(NOW + left, NOW), NOW, 0
    while now < NOW + left and tries < 100:
        facts = failed(facts, at=now, retry_after=told)
        now = due(facts, now=now, spread=spread)
        tries += 1
    assert tries >= 2


def test_the_first_time_at_once() -> None:
    assert due(Facts(), now=NOW, spread=0.5) == NOW


def test_failures_wait_longer_each_time() -> None:
    facts, waits = Facts(NOW + 30 * DAY, NOW), []
    for _ in range(9):
        facts = failed(facts, at=NOW)
        waits.append((due(facts, now=NOW, spread=0) - NOW) / MINUTE)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert took(facts, NOW + DAY, at=NOW).failures == 0


def test_without_a_list_that_counts_it_is_pressing() -> None:
    facts = Facts()
    for _ in range(9):
        facts = failed(facts, at=NOW)
    assert due(facts, now=NOW, spread=0) == NOW + 15 * MINUTE


@pytest.mark.parametrize(
    ("left", "told", "wait"),
    [
        (30 * DAY, 2 * HOUR, 2 * HOUR),
        (30 * DAY, timedelta(days=365_000), 6 * HOUR),
        (4 * HOUR, DAY, 2 * HOUR),
        (-DAY, DAY, HOUR),
        (30 * DAY, timedelta(), MINUTE),
        (30 * DAY, -DAY, MINUTE),
    ],
)
def test_the_servers_word_within_bounds(left: timedelta, told: timedelta, wait: timedelta) -> None:
    facts = failed(Facts(NOW + left, NOW), at=NOW, retry_after=told)
    assert due(facts, now=NOW, spread=0) == NOW + wait


def test_nothing_new_past_the_end_is_a_failure() -> None:
    facts, waits = Facts(NOW - DAY, NOW), []
    for _ in range(6):
        facts = took(facts, NOW - DAY, at=NOW)
        waits.append((due(facts, now=NOW, spread=0) - NOW) / MINUTE)
    assert waits == [1, 2, 4, 8, 15, 15]


def test_a_random_part() -> None:
    facts = took(Facts(), NOW + 30 * DAY, at=NOW)
    assert due(facts, now=NOW, spread=0) == NOW + 4 * HOUR
    assert due(facts, now=NOW, spread=0.999) < NOW + 3.01 * HOUR


def test_a_clock_that_was_ahead() -> None:
    assert due(took(Facts(), NOW + 30 * DAY, at=NOW + 9 * DAY), now=NOW, spread=0) == NOW


@pytest.mark.parametrize(
    ("next_update", "now", "is_"),
    [
        (None, NOW, Standing.UNKNOWN),
        (NOW, NOW, Standing.GOOD),
        (NOW, NOW + HOUR, Standing.GOOD),
        (NOW, NOW + HOUR + MINUTE, Standing.STALE),
    ],
)
def test_standing(next_update: datetime | None, now: datetime, is_: Standing) -> None:
    assert standing(next_update, grace=HOUR, now=now) is is_
