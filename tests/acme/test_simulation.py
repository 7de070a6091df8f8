"""What follows from the rules of renewal, over months and years, in worlds that Hypothesis makes up."""

from __future__ import annotations

import bisect
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.acme.backoff import PER_HOUR, Life
from tests.acme.simulation import (
    BORN,
    DAY,
    HOUR,
    MINUTE,
    Log,
    Service,
    Span,
    World,
    revoked_at,
    run,
    usual_window,
)

SHORT, LONG = 160 * HOUR, 47 * DAY


def hours(random: Random) -> timedelta:
    return timedelta(hours=random.uniform(0, 72))


def sometimes(random: Random) -> timedelta | None:
    return hours(random) if random.random() < 0.5 else None


# The properties


def reachable(service: Service, begin: datetime, end: datetime, needed: timedelta) -> bool:
    """Was it there for so long without a break, between the two?"""
    edges = sorted((max(a, begin), min(b, end)) for a, b in service.down if b > begin and a < end)
    at = begin
    for a, b in edges:
        if a - at >= needed:
            return True
        at = max(at, b)
    return end - at >= needed


def in_time(world: World, log: Log, needed: timedelta) -> None:
    """Renewed before it ended, where any authority was there for so long in its last third."""
    stop = BORN + timedelta(days=world.days)
    for held, following in zip(log.certificates, [*log.came[1:], stop], strict=True):
        if following > held.not_after:
            begin = held.life.with_left(3)
            assert not any(reachable(s, begin, held.not_after, needed) for s in world.services), held


def patient(log: Log) -> None:
    """Tries of one authority keep the distance that failures in a row ask for; an hour has four at most."""
    for authority in {t.authority for t in log.tries}:
        ours = [t for t in log.tries if t.authority == authority]
        for first, fifth in zip(ours, ours[PER_HOUR:], strict=False):
            assert fifth.at - first.at >= HOUR - MINUTE, (first, fifth)
        row = 0
        for before, after in pairwise(ours):
            came = bisect.bisect(log.came, before.at) != bisect.bisect_left(log.came, after.at - MINUTE)
            row = 0 if before.ok or came else row + 1
            if not row:
                continue
            wait = min(MINUTE * 2 ** min(row - 1, 20), 6 * HOUR)
            if before.held is not None:
                life = Life(before.held.not_before, before.held.not_after)
                wait = min(wait, max(abs(life.ends - before.at) / 8, 15 * MINUTE))
                rise = life.next_rise(before.at)
                wait = min(wait, rise - before.at) if rise is not None else wait
            assert after.at - before.at >= max(wait * 0.75, MINUTE) - timedelta(seconds=1), (
                row,
                before,
                after,
            )


def louder_only(log: Log) -> None:
    for (one, before), (two, after) in pairwise(log.loudness):
        assert one != two or after >= before


def bounded(world: World, log: Log) -> None:
    """Requests: a few for each certificate, and in an outage ever fewer."""
    assert (
        len(log.plans) < 2 * len(log.asks) + 3 * len(log.tries) + 6 * len(log.certificates) + 2 * world.days
    )
    for service in range(len(world.services)):
        ours = [t.at for t in log.tries if t.authority == service]
        for n, at in enumerate(ours):
            assert bisect.bisect(ours, at + DAY) - n <= 60
    a_day = max(DAY / s.asked_again for s in world.services)
    assert len(log.asks) <= a_day * world.days + 2 * len(log.certificates) + 2


def holds(world: World, needed: timedelta) -> Log:
    log = run(world)
    in_time(world, log, needed)
    patient(log)
    louder_only(log)
    bounded(world, log)
    return log


# Named scenarios


def span(day: float, days: float) -> Span:
    return BORN + timedelta(days=day), BORN + timedelta(days=day + days)


EVER = span(10, 10_000)
NAMED: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "all is well": ({}, {}),
    "all is well, with windows": ({"window": usual_window}, {}),
    "first away for 6 hours, often": ({"down": [span(n * 1.3, 0.25) for n in range(600)]}, {}),
    "first away for 2 days at a time, no other": ({"down": [span(n * 7, 2) for n in range(100)]}, None),
    "first away for ever": ({"down": [EVER]}, {}),
    "both away for 2 days": ({"down": [span(9, 2)]}, {"down": [span(9, 2)]}),
    "first says: come back in 3 days": ({"down": [span(3, 40)], "refuses": lambda _: 3 * DAY}, {}),
    "first away for ever, second for 9 days": ({"down": [EVER]}, {"down": [span(0, 9)]}),
    "both away for ever": ({"down": [EVER]}, {"down": [EVER]}),
    "mass revocation": ({"window": revoked_at(BORN + 20 * DAY)}, {}),
    "window asked every 2 hours": ({"window": usual_window, "asked_again": 2 * HOUR}, {}),
}


@pytest.mark.parametrize(("life", "days"), [(SHORT, 90), (LONG, 730)], ids=["160h", "47d"])
@pytest.mark.parametrize("name", NAMED)
def test_named(name, life, days):
    first, second = NAMED[name]
    days = min(days, 120) if "both away for ever" in name else days
    services = [Service("first", life, **first)] + (
        [Service("second", life, **second)] if second is not None else []
    )
    log = holds(World(services, days, seed=7), max(8 * HOUR, life / 12 + HOUR))
    left = [(h.not_after - c) / h.life.length for h, c in zip(log.certificates, log.came[1:], strict=False)]
    print(
        f"\n{name:38}{life / DAY:5.1f} d over {days} days: {len(log.certificates):4} certificates, "
        f"{len(log.tries):5} tries, {len(log.asks):5} asks, least life left {min(left, default=1):4.0%}, "
        f"loudest {max(loud for _, loud in log.loudness)}, without {log.gaps / HOUR:.1f} h"
    )
    if name != "both away for ever":
        assert log.gaps == timedelta()
        assert log.came[-1] > BORN + timedelta(days=days) - life


def test_an_outage_for_ever_gets_as_loud_as_it_can():
    services = [Service(n, LONG, down=[EVER]) for n in ("first", "second")]
    log = holds(World(services, 90), 8 * HOUR)
    assert log.loudness[-1] == (1, 3)
    assert sorted({loud for _, loud in log.loudness}) == [0, 1, 2, 3]


def test_a_mass_revocation_is_heard_within_the_time_of_asking():
    when = BORN + 5 * DAY
    log = run(World([Service("first", LONG, window=revoked_at(when))], 90))
    assert when < log.came[1] <= when + 6 * HOUR + MINUTE


def test_back_to_the_first():
    """After an outage the first is asked again, and has it."""
    services = [Service("first", SHORT, down=[span(2, 20)]), Service("second", SHORT)]
    log = run(World(services, 60))
    whose = [held.authority for held in log.certificates]
    assert set(whose[2:5]) == {"https://second.test/dir"}
    assert set(whose[9:]) == {"https://first.test/dir"}


# Worlds made up

_SPANS = st.lists(st.tuples(st.floats(0, 90), st.floats(0.01, 12)), max_size=12)


def _spans(raw: list[tuple[float, float]], scale: float) -> list[Span]:
    return [span(a * scale, b * scale) for a, b in raw]


@settings(max_examples=12)
@given(_SPANS, _SPANS, st.sampled_from([None, usual_window]), st.integers(0, 2**32), st.booleans())
def test_a_short_life_is_renewed_in_time(first, second, window, seed, told):
    refuses = sometimes if told else lambda _: None
    services = [
        Service("first", SHORT, _spans(first, 1), refuses, window),
        Service("second", SHORT, _spans(second, 1), refuses),
    ]
    holds(World(services, 90, seed), 15 * HOUR if told else 8 * HOUR)


@settings(max_examples=6)
@given(_SPANS, _SPANS, st.integers(0, 360), st.integers(0, 2**32), st.booleans())
def test_a_life_of_47_days_is_renewed_in_time(first, second, revoked, seed, told):
    refuses = sometimes if told else lambda _: None
    services = [
        Service("first", LONG, _spans(first, 4), refuses, revoked_at(BORN + revoked * DAY)),
        Service("second", LONG, _spans(second, 4), refuses, usual_window),
    ]
    holds(World(services, 365, seed), 4 * DAY if told else 8 * HOUR)


@settings(max_examples=6)
@given(_SPANS, st.floats(0, 0.5), st.integers(0, 2**32))
def test_who_is_killed_in_attempts_neither_hammers_nor_stops(first, killed, seed):
    world = World([Service("first", SHORT, _spans(first, 0.5))], 60, seed, killed=killed)
    log = run(world)
    patient(log)
    louder_only(log)
    if not first:
        assert log.gaps == timedelta()


@settings(max_examples=8)
@given(
    st.lists(st.tuples(st.floats(0, 80), st.floats(0.1, 5), st.floats(-400, 400)), max_size=6),
    st.integers(0, 2**32),
)
def test_a_clock_that_steps_neither_hammers_nor_stops(steps, seed):
    """A wrong clock may cost certificates, but few; and when it is right again so is everything."""

    def offset(true: datetime) -> timedelta:
        day = (true - BORN) / DAY
        wrong = [by for begin, long, by in steps if begin <= day < begin + long]
        return timedelta(days=wrong[-1]) if wrong else timedelta()

    log = run(World([Service("first", SHORT)], 100, seed, offset, longest_sleep=4 * HOUR))
    edges = 2 * len(steps) + 1
    ours = [t.at for t in log.tries]
    for n, at in enumerate(ours):
        assert bisect.bisect(ours, at + HOUR) - n <= PER_HOUR + edges
    assert len(ours) <= 100 / (SHORT / DAY / 2.3) + 6 * edges + 5
    assert log.certificates[-1].not_after > BORN + 100 * DAY


@pytest.mark.parametrize("days", [-300, -20, -4, -1, 1, 4, 20, 300])
def test_a_clock_that_is_always_wrong_by_the_same(days):
    """From the second certificate on it is known; nothing is lost, and few are asked for."""
    world = World([Service("first", SHORT)], 90, offset=lambda _: days * DAY, longest_sleep=HOUR)
    log = run(world)
    assert log.gaps == timedelta()
    assert len(log.certificates) <= 90 / (SHORT / DAY / 4) + 5
