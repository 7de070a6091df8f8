"""What is known and what is asked next: the known are never waited for, a flood drives nobody out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.ocsp.asking import Digest
from sealgate.pki.ocsp.cache import Ask, Bounds, Cache, Key, Standing
from sealgate.pki.ocsp.judging import Accepted, Revoked, State
from tests.pki.making import DAY, NOW

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
ISSUER = bytes(32)
ONE = Key(ISSUER, 1)


def key(serial: int) -> Key:
    return Key(ISSUER, serial)


def said(
    state: State = State.GOOD,
    *,
    serial: int = 1,
    begins: datetime = NOW,
    life: timedelta = DAY,
    revoked: Revoked | None = None,
) -> Accepted:
    return Accepted(ISSUER, serial, state, revoked, begins, begins + life, fresh=True)


def ended(reason: x509.ReasonFlags | None = None, **facts) -> Accepted:
    return said(State.REVOKED, revoked=Revoked(NOW, reason), **facts)


def took(cache: Cache, answer: Accepted, now: datetime = NOW) -> Standing:
    return cache.took(answer, now=now, spread=0)


def known(count: int, *, bounds: Bounds | None = None, first: int = 0, **facts) -> Cache:
    """A cache in which so many are good."""
    cache = Cache(bounds=bounds)
    for serial in range(first, first + count):
        assert took(cache, said(serial=serial, **facts)) is Standing.GOOD
    return cache


def test_from_never_asked_to_stale() -> None:
    cache = Cache(grace=HOUR)
    assert cache.look(ONE, now=NOW) is Standing.UNASKED
    assert cache.due(now=NOW) == (Ask(ONE, Digest.SHA1, None),)
    assert cache.look(ONE, now=NOW) is Standing.UNASKED
    assert cache.due(now=NOW) == ()  # under way
    assert took(cache, said()) is Standing.GOOD
    for at, standing in (
        (NOW + DAY, Standing.GOOD),
        (NOW + DAY + HOUR, Standing.GOOD),
        (NOW + DAY + HOUR + SECOND, Standing.STALE),
    ):
        assert cache.look(ONE, now=at) is standing
    assert took(cache, said(begins=NOW + DAY), NOW + DAY + 2 * HOUR) is Standing.GOOD


@pytest.mark.parametrize(
    ("answer", "standing"),
    [
        (said(State.UNKNOWN), Standing.UNKNOWN),
        (ended(), Standing.REVOKED),
        (ended(x509.ReasonFlags.certificate_hold), Standing.REVOKED),
    ],
)
def test_what_is_not_good_never_is_with_time(answer: Accepted, standing: Standing) -> None:
    cache = Cache(grace=1000 * DAY)
    assert took(cache, answer) is standing
    for at in (NOW, NOW + DAY, NOW + 30 * DAY):
        assert cache.look(ONE, now=at) is standing


def test_asked_before_the_end_while_seen() -> None:
    cache = known(1, first=1, life=6 * HOUR)
    assert cache.due(now=NOW + 3 * HOUR - SECOND) == ()
    assert cache.due(now=NOW + 3 * HOUR) == (Ask(ONE, Digest.SHA1, NOW),)
    assert cache.look(ONE, now=NOW + 3 * HOUR) is Standing.GOOD  # and is not waited for


def test_nobody_asks_about_who_is_gone() -> None:
    cache = known(1, first=1, life=7 * DAY)
    later = NOW + 2 * DAY
    assert cache.due(now=later) == ()
    assert cache.look(ONE, now=later) is Standing.GOOD  # in force all the same
    assert cache.due(now=later) == (Ask(ONE, Digest.SHA1, NOW),)
    cache.failed(ONE, now=later, spread=0)
    gone = NOW + 8 * DAY
    assert cache.due(now=gone) == ()
    assert cache.counts == (0, 0)


def test_a_failure_takes_nothing_away() -> None:
    cache, now = known(1, first=1, life=6 * HOUR), NOW + 3 * HOUR
    waits = []
    while now <= NOW + 6 * HOUR:
        cache.look(ONE, now=now)
        if cache.due(now=now):
            waits.append(now)
            cache.failed(ONE, now=now, spread=0)
            assert cache.look(ONE, now=now) is Standing.GOOD
        now += 10 * SECOND
    gaps = [after - before for before, after in pairwise(waits)]
    assert gaps[:4] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    assert max(gaps) <= HOUR
    assert cache.look(ONE, now=NOW + 6 * HOUR + SECOND) is Standing.STALE


def test_the_servers_word() -> None:
    cache = Cache()
    cache.look(ONE, now=NOW)
    assert cache.due(now=NOW)
    cache.failed(ONE, now=NOW, spread=0, retry_after=5 * MINUTE)
    cache.look(ONE, now=NOW + 4 * MINUTE)
    assert cache.due(now=NOW + 5 * MINUTE - SECOND) == ()
    assert cache.due(now=NOW + 5 * MINUTE)


def test_the_next_try_names_the_issuer_otherwise() -> None:
    cache, now, digests = Cache(), NOW, []
    for _ in range(3):
        cache.look(ONE, now=now)
        (ask,) = cache.due(now=now)
        digests.append(ask.digest)
        cache.failed(ONE, now=now, spread=0, not_understood=True)
        now += 10 * MINUTE
    assert digests == [Digest.SHA1, Digest.SHA256, Digest.SHA1]
    cache.look(ONE, now=now)
    assert cache.due(now=now)[0].digest is Digest.SHA256
    cache.failed(ONE, now=now, spread=0)  # silence says nothing of that
    cache.look(ONE, now=now + 9 * MINUTE)
    assert cache.due(now=now + 9 * MINUTE)[0].digest is Digest.SHA256


def test_revoked_for_good_stays_so() -> None:
    cache = known(1, first=1)
    assert took(cache, ended(begins=NOW + HOUR)) is Standing.REVOKED
    for later in (said(begins=NOW + 2 * HOUR), said(State.UNKNOWN, begins=NOW + 2 * HOUR)):
        assert took(cache, later, NOW + 2 * HOUR) is Standing.REVOKED
    hold = ended(x509.ReasonFlags.certificate_hold, begins=NOW + 3 * HOUR)
    assert took(cache, hold, NOW + 3 * HOUR) is Standing.REVOKED
    assert took(cache, said(begins=NOW + 4 * HOUR), NOW + 4 * HOUR) is Standing.REVOKED
    for at in (NOW + DAY, NOW + 30 * DAY):
        assert cache.due(now=at) == ()
        assert cache.look(ONE, now=at) is Standing.REVOKED
        assert cache.due(now=at) == ()


@pytest.mark.parametrize(
    "answer",
    [
        ended(x509.ReasonFlags.certificate_hold),
        said(State.REVOKED, revoked=Revoked(NOW, x509.ReasonFlags.certificate_hold, never_issued=True)),
        said(State.UNKNOWN),
    ],
)
def test_what_may_end_ends(answer: Accepted) -> None:
    cache = Cache()
    took(cache, answer)
    assert took(cache, said(begins=NOW - SECOND), NOW + HOUR) is not Standing.GOOD  # older
    cache.look(ONE, now=NOW + 12 * HOUR)
    assert cache.due(now=NOW + 12 * HOUR) == (Ask(ONE, Digest.SHA1, NOW),)
    assert took(cache, said(begins=NOW + 12 * HOUR), NOW + 12 * HOUR) is Standing.GOOD


def test_unknown_is_asked_again_soon() -> None:
    cache = Cache()
    took(cache, said(State.UNKNOWN, life=30 * DAY))
    assert cache.due(now=NOW + MINUTE - SECOND) == ()
    assert cache.due(now=NOW + MINUTE) == (Ask(ONE, Digest.SHA1, NOW),)


def test_a_lost_question_is_asked_again() -> None:
    cache = Cache()
    cache.look(ONE, now=NOW)
    assert cache.due(now=NOW)
    assert cache.due(now=NOW + 2 * MINUTE - SECOND) == ()
    assert cache.due(now=NOW + 2 * MINUTE)


@pytest.mark.parametrize("back", [HOUR, 30 * DAY])
def test_a_clock_that_was_set_back(back: timedelta) -> None:
    cache = known(1, first=1)
    cache.look(key(2), now=NOW)
    assert cache.due(now=NOW)
    before = NOW - back
    assert {cache.look(key(serial), now=before) for serial in (1, 2)} == {Standing.GOOD, Standing.UNASKED}
    asked = [ask.key for at in range(3600 * 6) if not at % 60 for ask in cache.due(now=before + at * SECOND)]
    assert key(2) in asked


# Floods.


BOUNDS = Bounds(known=100, waiting=20, at_once=8, per_second=10)


def flooded(cache: Cache, seconds: int, *, answers: bool, start: datetime = NOW) -> list[Ask]:
    """A thousand strangers in each second; answered at once, or never understood."""
    asks = []
    for number in range(seconds):
        now = start + number * SECOND
        for stranger in range(1000):
            assert cache.look(key(10**6 + number * 1000 + stranger), now=now) is not Standing.GOOD
        for ask in cache.due(now=now):
            asks.append(ask)
            if answers or ask.key.serial < 10**6:
                took(cache, said(serial=ask.key.serial, begins=now), now)
            else:
                cache.failed(ask.key, now=now, spread=0, not_understood=True)
    return asks


@pytest.mark.parametrize("answers", [True, False])
def test_a_flood_has_bounds(answers: bool) -> None:
    cache = known(50, bounds=BOUNDS)
    asks = flooded(cache, 60, answers=answers)
    assert len(asks) <= 4 * 60  # half of what may be under way at once
    assert cache.counts[0] <= 100
    assert cache.counts[1] <= 20
    assert all(cache.look(key(serial), now=NOW + MINUTE) is Standing.GOOD for serial in range(50))


def test_a_flood_lets_nothing_known_lapse() -> None:
    """The known are asked about in the midst of it, in time."""
    cache = known(40, bounds=BOUNDS, life=10 * MINUTE)
    now = NOW + 5 * MINUTE
    for serial in range(40):
        cache.look(key(serial), now=now)
    asks = flooded(cache, 20, answers=False, start=now)
    assert {ask.key for ask in asks} >= {key(serial) for serial in range(40)}
    assert all(cache.look(key(serial), now=NOW + 15 * MINUTE) is Standing.GOOD for serial in range(40))


def test_many_known_let_newcomers_in() -> None:
    cache = known(100, bounds=replace(BOUNDS, known=200, per_second=1), life=10 * MINUTE)
    now = NOW + 5 * MINUTE
    for serial in range(100):
        cache.look(key(serial), now=now)
    cache.look(key(1000), now=now)
    asked = [ask.key for number in range(3) for ask in cache.due(now=now + number * SECOND)]
    assert key(1000) in asked


def test_full_of_the_good_newcomers_wait() -> None:
    cache = known(100, bounds=BOUNDS)
    cache.look(key(1000), now=NOW)
    assert cache.due(now=NOW) == ()
    assert took(cache, said(serial=1000)) is Standing.UNASKED
    assert cache.look(key(0), now=NOW) is Standing.GOOD


@pytest.mark.parametrize(
    "answer", [said(State.UNKNOWN, serial=7), ended(serial=7), said(serial=7, life=SECOND)]
)
def test_who_is_not_good_makes_room(answer: Accepted) -> None:
    cache, now = known(99, bounds=BOUNDS, first=100), NOW + MINUTE
    took(cache, answer)
    cache.look(key(1000), now=now)
    assert key(1000) in [ask.key for ask in cache.due(now=now)]
    assert took(cache, said(serial=1000), now) is Standing.GOOD
    assert cache.look(key(7), now=now) is Standing.UNASKED
    assert all(cache.look(key(serial), now=now) is Standing.GOOD for serial in range(100, 199))


def test_who_is_gone_makes_room() -> None:
    cache, now = known(100, bounds=BOUNDS, life=7 * DAY), NOW + DAY + SECOND
    for serial in range(1, 100):
        cache.look(key(serial), now=now)
    assert took(cache, said(serial=1000, begins=now), now) is Standing.GOOD
    assert cache.look(key(0), now=now) is Standing.UNASKED
    assert cache.look(key(1), now=now) is Standing.GOOD


def test_the_first_come_are_asked_first() -> None:
    cache = Cache(bounds=BOUNDS)
    for serial in range(1000):
        cache.look(key(serial), now=NOW)
    assert [ask.key.serial for ask in cache.due(now=NOW)] == [0, 1, 2, 3]


def test_who_was_asked_about_in_vain_makes_room() -> None:
    cache = Cache(bounds=BOUNDS)
    for serial in range(20):
        cache.look(key(serial), now=NOW)
    for ask in cache.due(now=NOW):
        cache.failed(ask.key, now=NOW, spread=0)
    cache.look(key(1000), now=NOW)
    asked = [ask.key for number in range(1, 6) for ask in _lost(cache, NOW + number * SECOND)]
    assert key(1000) in asked


def _lost(cache: Cache, now: datetime) -> tuple[Ask, ...]:
    asks = cache.due(now=now)
    for ask in asks:
        cache.failed(ask.key, now=now, spread=0)
    return asks


def test_a_silent_responder_is_not_asked_more_and_more() -> None:
    cache = known(40, bounds=BOUNDS, life=10 * MINUTE)
    for serial in range(60):
        cache.look(key(serial), now=NOW + 5 * MINUTE)
    asked = [ask for at in range(119) for ask in cache.due(now=NOW + 5 * MINUTE + at * SECOND)]
    assert [ask.before is None for ask in asked].count(True) == 4
    assert len(asked) == 8


def test_a_quick_responder_is_asked_ten_times_a_second() -> None:
    cache = Cache(bounds=replace(BOUNDS, known=1000, waiting=1000))
    for serial in range(1000):
        cache.look(key(serial), now=NOW)
    asked = 0
    for tick in range(2000):
        now = NOW + tick * SECOND / 1000
        for ask in cache.due(now=now):
            asked += 1
            took(cache, said(serial=ask.key.serial, begins=now), now)
    assert asked in range(20, 31)  # ten at the beginning, ten in each second


def test_newcomers_that_go_are_forgotten() -> None:
    cache = Cache()
    cache.look(ONE, now=NOW)
    assert cache.due(now=NOW + 11 * MINUTE) == ()
    assert cache.counts == (0, 0)


# Over a restart.


def test_what_is_kept_comes_back() -> None:
    cache = known(3)
    took(cache, ended(serial=7))
    took(cache, said(serial=8, life=MINUTE))
    other = Cache()
    other.restore(cache.held(), now=NOW + HOUR, spread=lambda: 0.5)
    worth = {one.serial: standing for one, standing in other.standings(now=NOW + HOUR)}
    assert worth == {**dict.fromkeys(range(3), Standing.GOOD), 7: Standing.REVOKED, 8: Standing.STALE}
    assert [seen for _, seen in other.held()] == [NOW] * 5
    asked = {one.key.serial for second in range(3) for one in other.due(now=NOW + HOUR + second * SECOND)}
    assert asked == {0, 1, 2, 8}, "soon, since how long ago they were is not known"


def test_after_a_restart_no_older_answer_counts() -> None:
    cache = Cache()
    took(cache, said(serial=8, life=MINUTE))
    other = Cache()
    other.restore(cache.held(), now=NOW + HOUR, spread=lambda: 0.5)
    older = said(serial=8, begins=NOW - DAY, life=30 * DAY)
    assert other.took(older, now=NOW + HOUR, spread=0.5) is Standing.STALE


# Whatever happens.


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["look", "due", "good", "revoked", "hold", "unknown", "failed"]),
        st.integers(0, 5),
        st.timedeltas(min_value=timedelta(), max_value=10 * HOUR),
    ),
    max_size=60,
)


@given(STEPS)
def test_good_is_only_who_was_called_good(steps: list[tuple[str, int, timedelta]]) -> None:
    bounds = Bounds(known=3, waiting=2, at_once=2, per_second=2)
    cache, now = Cache(bounds=bounds), NOW
    word: dict[int, Accepted] = {}
    for step, serial, gap in steps:
        now += gap
        answers = {
            "good": said(serial=serial, begins=now),
            "revoked": ended(serial=serial, begins=now),
            "hold": ended(x509.ReasonFlags.certificate_hold, serial=serial, begins=now),
            "unknown": said(State.UNKNOWN, serial=serial, begins=now),
        }
        if step in answers:
            took(cache, answers[step], now)
            if serial not in word or word[serial].this_update <= now:
                word[serial] = answers[step]
        elif step == "failed":
            cache.failed(key(serial), now=now, spread=0)
        elif step == "due":
            assert len(cache.due(now=now)) <= 2
        if cache.look(key(serial), now=now) is Standing.GOOD:
            assert word[serial].state is State.GOOD
            assert now <= word[serial].until
        assert cache.counts[0] <= 3
        assert cache.counts[1] <= 2
