"""Renewal decided: each rule by a table of cases; what follows from them over years is test_simulation's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from sealgate.acme.ari import Window
from sealgate.acme.authority import Authority
from sealgate.acme.backoff import PER_HOUR, Life
from sealgate.acme.held import PLACEHOLDER, UNKNOWN, Held, held_from, spread_of
from sealgate.acme.history import Attempt, History, Outcome, noted, subject_of
from sealgate.acme.order import Wanted
from sealgate.acme.renewal import Act, Plan, Reason, due, plan
from sealgate.pki.inspect import fingerprint
from tests.acme.test_ari import AKI, certificate

BORN = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LIFE = 90 * DAY
DUE = BORN + LIFE * 2 / 3
ENDS = BORN + LIFE
FIRST, SECOND, THIRD = (
    Authority(f"https://{n}.test/dir", profile=p)
    for n, p in (("first", "slow"), ("second", ""), ("third", ""))
)
ALL = (FIRST, SECOND, THIRD)
WANTED = Wanted(("a.test", "b.test"), "ecdsa-p256", "http-01", profile="slow")
WISH = subject_of(WANTED)
HELD = Held(
    BORN, ENDS, frozenset({"a.test", "b.test"}), "ecdsa-p256", FIRST.directory, "slow", "ari.id", BORN + HOUR
)
CAME = Attempt(BORN + HOUR, FIRST.directory, WISH, Outcome.OBTAINED, certificate="held", profile="slow")
ASKED = Window("ari.id", ENDS, note="nothing")


def failure(at: datetime, authority: Authority = FIRST, **more) -> Attempt:
    return Attempt(at, authority.directory, WISH, Outcome.FAILED, "acme-x", "it failed", **more)


def look(
    now: datetime,
    *attempts: Attempt,
    held: Held | None = HELD,
    wanted=WANTED,
    window=None,
    spread=0.0,
    **more,
) -> Plan:
    asked = replace(window or ASKED, again=max((window or ASKED).again, BORN))
    asked = replace(asked, again=min(asked.again, now + HOUR)) if window is None else asked
    return plan(held, wanted, History(attempts), asked, ALL, now=now, spread=spread, **more)


# Another one than the policy asks for


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (None, Reason.MISSING),
        (replace(HELD, authority=PLACEHOLDER), Reason.PLACEHOLDER),
        (replace(HELD, names=frozenset({"a.test"})), Reason.NAMES),
        (replace(HELD, names=HELD.names | {"c.test"}), Reason.NAMES),
        (replace(HELD, key_type="rsa-3072"), Reason.KEY_TYPE),
        (replace(HELD, profile="short"), Reason.PROFILE),
        (replace(HELD, authority="https://gone.test/dir"), Reason.AUTHORITY),
    ],
)
def test_another_one_is_had_at_once(held, reason):
    found = look(BORN + DAY, CAME, held=held, wanted=replace(WANTED, challenge="dns-01"))
    assert (found.act, found.reason, found.authority, found.at) == (Act.OBTAIN, reason, 0, BORN + DAY)
    assert found.sentence


@pytest.mark.parametrize(
    "held",
    [
        HELD,
        replace(HELD, names=frozenset({"A.TEST", "b.test"})),
        replace(HELD, authority=SECOND.directory, profile=""),
        replace(HELD, authority=UNKNOWN, profile="?"),
    ],
)
def test_one_that_fits_is_kept(held):
    assert look(BORN + DAY, CAME, held=held).act is Act.WAIT


def test_a_stand_in_that_has_ended_or_not_begun_is_only_a_stand_in():
    held = replace(HELD, authority=PLACEHOLDER)
    assert look(ENDS + DAY, held=held).reason is Reason.PLACEHOLDER
    assert look(ENDS + DAY, held=held).loudness == 0


def test_somebody_asked():
    found = look(BORN + DAY, *[failure(BORN + DAY)] * 9, CAME, held=HELD, force=True)
    assert (found.act, found.reason, found.authority) == (Act.OBTAIN, Reason.FORCED, 0)


def test_one_that_is_revoked_is_replaced_at_once_whatever_came_just_now():
    held, now = replace(HELD, revoked=True), BORN + HOUR + MINUTE
    found = look(now, CAME, held=held)
    assert (found.act, found.reason, found.authority) == (Act.OBTAIN, Reason.REVOKED, 0)
    assert found.sentence.startswith("the certificate is revoked")
    failed = look(now, CAME, failure(now), held=held)
    assert (failed.act, failed.reason, failed.loudness) == (Act.OBTAIN, Reason.REVOKED, 1)
    assert failed.authority == 1, "as where there is none: the next one has its chance"
    everybody = [failure(now, one) for one in ALL]
    assert look(now, CAME, *everybody, held=held).reason is Reason.BACKOFF
    assert due(held, Window("ari.id", ENDS, DUE, ENDS), spread=0.5) == (BORN, False)


# By age


@pytest.mark.parametrize(
    ("life", "due"),
    [
        (LIFE, LIFE * 2 / 3),
        (timedelta(days=47), timedelta(days=47) * 2 / 3),
        (10 * DAY, 10 * DAY * 2 / 3),
        (160 * HOUR, 80 * HOUR),
    ],
)
def test_by_age(life, due):
    held = replace(HELD, not_after=BORN + life)
    before = look(BORN + due - MINUTE, CAME, held=held)
    assert (before.act, before.reason, before.at) == (Act.WAIT, Reason.FRESH, BORN + due)
    assert look(BORN + due, CAME, held=held).act is Act.OBTAIN


def test_spread_makes_it_up_to_a_twentieth_earlier():
    assert look(DUE - LIFE / 20, CAME, spread=0.999).act is Act.WAIT
    assert look(DUE - LIFE / 20 + 3 * HOUR, CAME, spread=0.999).act is Act.OBTAIN


@given(st.integers(0, 89 * 24), st.floats(0, 1, exclude_max=True))
def test_nobody_sleeps_past_the_next_look(hours, spread):
    now = BORN + hours * HOUR
    window = Window("ari.id", now + 7 * HOUR, note="nothing")
    found = look(now, CAME, window=window, spread=spread)
    if found.act is Act.WAIT:
        assert now < found.at <= window.again
    if found.reason is Reason.FRESH:
        assert found.at <= DUE


def test_it_has_ended():
    found = look(ENDS, CAME)
    assert (found.act, found.reason, found.loudness, found.replaces) == (Act.OBTAIN, Reason.EXPIRED, 3, "")


# By the authority's window


def window(start: datetime, end: datetime, again: datetime = ENDS) -> Window:
    return Window("ari.id", again, start, end)


def test_the_instant_in_the_window():
    asked = window(BORN + 10 * DAY, BORN + 20 * DAY, BORN + 15 * DAY)
    before = look(BORN + 14 * DAY, CAME, window=asked, spread=0.5)
    assert (before.act, before.at) == (Act.WAIT, BORN + 15 * DAY)
    found = look(BORN + 15 * DAY, CAME, window=asked, spread=0.5)
    assert (found.act, found.reason, found.authority) == (Act.OBTAIN, Reason.WINDOW, 0)
    assert found.replaces == "ari.id"


def test_a_window_in_the_past_means_now():
    found = look(BORN + 5 * DAY, CAME, window=window(BORN - 2 * DAY, BORN - DAY, BORN + 6 * DAY))
    assert (found.act, found.reason) == (Act.OBTAIN, Reason.WINDOW)


def test_no_window_keeps_a_certificate_until_it_ends():
    asked = window(ENDS + DAY, ENDS + 2 * DAY, ENDS)
    assert look(ENDS - LIFE / 6, CAME, window=asked).act is Act.OBTAIN


@pytest.mark.parametrize(
    ("known", "asks"),
    [
        (None, True),
        (Window("other.id", BORN + 3 * DAY), True),
        (Window("ari.id", BORN + 2 * DAY), True),
        (Window("ari.id", BORN + 2 * DAY + HOUR), False),
        (Window("ari.id", BORN + 50 * DAY), True),  # noted by a clock that was ahead
    ],
)
def test_when_the_authority_is_asked(known, asks):
    now = BORN + 2 * DAY
    found = plan(HELD, WANTED, History((CAME,)), known, ALL, now=now, spread=0)
    assert found.act is (Act.ASK_WINDOW if asks else Act.WAIT)


@pytest.mark.parametrize(
    "held",
    [
        replace(HELD, authority=UNKNOWN),
        replace(HELD, ari=""),
    ],
)
def test_whom_nobody_can_ask_is_not_asked(held):
    found = plan(held, WANTED, History((CAME,)), None, ALL, now=BORN + DAY, spread=0)
    assert found.act is Act.WAIT


def test_the_authority_that_gave_it_is_asked():
    held = replace(HELD, authority=SECOND.directory, profile="")
    found = plan(held, WANTED, History(), None, ALL, now=BORN + DAY, spread=0)
    assert (found.act, found.authority) == (Act.ASK_WINDOW, 1)


def test_nobody_is_asked_about_one_that_has_ended():
    found = plan(HELD, WANTED, History(), None, ALL, now=ENDS, spread=0)
    assert found.act is Act.OBTAIN


# Failures


@pytest.mark.parametrize(
    ("failures", "wait"), [(1, MINUTE), (2, 2 * MINUTE), (3, 4 * MINUTE), (9, 256 * MINUTE), (60, 6 * HOUR)]
)
def test_patience_doubles(failures, wait):
    now = DUE + DAY
    tries = [failure(now - 30 * DAY + n * HOUR / 2) for n in range(failures - 1)]
    tries += [failure(now, a) for a in (FIRST, SECOND, THIRD)]
    rest = [failure(now - HOUR * 2 - n * HOUR, a) for n in range(failures - 1) for a in (SECOND, THIRD)]
    held = replace(HELD, not_after=ENDS + 900 * DAY, not_before=BORN - 1800 * DAY, obtained=None)
    found = look(now, CAME, *rest, *tries, held=held)
    assert (found.act, found.reason) == (Act.WAIT, Reason.BACKOFF)
    assert found.at == now + wait
    assert "acme-x: it failed" in found.sentence


def test_patience_is_shorter_where_less_time_is_left():
    now = ENDS - 8 * HOUR
    tries = [failure(now - n * DAY, a) for n in range(9, -1, -1) for a in ALL]
    assert look(now, CAME, *tries).at == now + HOUR


@pytest.mark.parametrize("part", [3, 6, 10])
def test_patience_ends_where_it_gets_louder(part):
    rise = ENDS - LIFE / part
    now = rise - 30 * MINUTE
    tries = [failure(now - n * DAY, a) for n in range(9, -1, -1) for a in ALL]
    held = replace(HELD, names=frozenset({"a.test"}))
    quiet = look(now, CAME, *tries, held=held)
    assert quiet.at == rise
    found = look(rise, CAME, *tries, held=held)
    assert (found.act, found.loudness) == (Act.OBTAIN, quiet.loudness + 1)


def test_the_authority_s_own_word():
    now = DUE + DAY
    told = [failure(now, a, retry_at=now + n * HOUR) for n, a in enumerate(ALL, 5)]
    found = look(now + MINUTE, CAME, *told)
    assert (found.act, found.authority, found.at) == (Act.WAIT, 0, now + 5 * HOUR)
    assert look(now + 5 * HOUR, CAME, *told).act is Act.OBTAIN


def test_the_authority_s_own_word_is_bounded_by_the_time_left():
    now = ENDS - 8 * DAY
    tries = [failure(now, a, retry_at=now + 3000 * DAY) for a in ALL]
    assert look(now + 2 * DAY - MINUTE, CAME, *tries).act is Act.WAIT
    assert look(now + 2 * DAY, CAME, *tries).act is Act.OBTAIN


def test_without_a_certificate_the_authority_s_word_holds_for_a_day():
    told = [failure(BORN, a, retry_at=BORN + 9 * DAY) for a in ALL]
    assert look(BORN + DAY - MINUTE, *told, held=None).act is Act.WAIT
    assert look(BORN + DAY, *told, held=None).act is Act.OBTAIN


def test_never_more_tries_in_an_hour_than_an_authority_allows():
    tries = [failure(BORN + n * MINUTE, a) for n in range(PER_HOUR) for a in ALL]
    found = look(BORN + 30 * MINUTE, *tries, held=None)
    assert (found.act, found.at) == (Act.WAIT, BORN + HOUR)


def test_a_policy_that_was_mended_does_not_wait():
    tries = [failure(BORN + n * DAY) for n in range(3)]
    mended = replace(WANTED, names=("c.test",))
    assert look(BORN + 2 * DAY + MINUTE, *tries, held=None, wanted=mended).act is Act.OBTAIN
    told = failure(BORN + 2 * DAY, retry_at=BORN + 2 * DAY + HOUR)
    assert look(BORN + 2 * DAY + MINUTE, told, held=None, wanted=mended).act is Act.WAIT


def test_who_was_killed_in_an_attempt_failed():
    begun = Attempt(DUE, FIRST.directory, WISH, Outcome.BEGUN)
    assert look(DUE, CAME, begun).at == DUE + MINUTE
    assert look(DUE + MINUTE, CAME, begun).act is Act.OBTAIN


# The next authority


def test_the_next_after_three_failures():
    tries = [failure(DUE + n * 10 * MINUTE) for n in range(3)]
    assert look(DUE + 21 * MINUTE, CAME, *tries[:2]).authority == 0
    found = look(DUE + 21 * MINUTE, CAME, *tries)
    assert (found.act, found.authority, found.replaces) == (Act.OBTAIN, 1, "")


def test_the_next_in_the_last_third_where_one_is_not_to_be_asked_for_a_while():
    def told(at, authority=FIRST):
        return failure(at, authority, retry_at=at + DAY)

    now = ENDS - LIFE / 3 + HOUR
    assert look(now, CAME).authority == 0
    assert look(now, CAME, failure(now)).act is Act.WAIT
    assert look(now, CAME, told(now)).authority == 1
    assert look(now, CAME, told(now), told(now, SECOND)).authority == 2
    early = replace(HELD, names=frozenset({"a.test"}))
    assert look(DUE - DAY, CAME, told(DUE - DAY), held=early).act is Act.WAIT


def test_the_next_at_once_where_a_person_is_waited_for():
    waiting = failure(DUE, action=True)
    found = look(DUE, CAME, waiting)
    assert (found.act, found.authority) == (Act.OBTAIN, 1)
    others = [failure(DUE + MINUTE, a) for a in (SECOND, THIRD)] * 3
    found = look(DUE + HOUR, CAME, waiting, *others, *[failure(DUE + 50 * MINUTE, a) for a in ALL[1:]])
    assert found.authority != 0


def test_a_person_is_waited_for_aloud():
    found = look(BORN, failure(BORN, action=True), held=None)
    assert found.loudness == 1


def test_the_first_is_not_forgotten():
    """The one with the fewest failures, the first of several."""
    tries = [failure(DUE + n * HOUR) for n in range(3)] + [failure(DUE + 3 * HOUR, SECOND)] * 3
    found = look(
        DUE + 12 * HOUR, CAME, *tries, failure(DUE + 3 * HOUR, THIRD), failure(DUE + 4 * HOUR, THIRD)
    )
    assert found.authority == 2
    found = look(DUE + 12 * HOUR, CAME, *tries, *[failure(DUE + 4 * HOUR, THIRD)] * 3)
    assert found.authority == 0


def test_back_to_the_first_for_the_next_renewal():
    tries = [failure(DUE + n * HOUR) for n in range(3)]
    came = Attempt(DUE + 3 * HOUR, SECOND.directory, WISH, Outcome.OBTAINED, certificate="new")
    held = replace(
        HELD, not_before=DUE, not_after=DUE + LIFE, authority=SECOND.directory, profile="", obtained=came.at
    )
    found = look(DUE + LIFE * 2 / 3, CAME, *tries, came, held=held)
    assert (found.act, found.authority, found.replaces) == (Act.OBTAIN, 0, "")


def test_an_authority_that_refused_replaces_is_not_told_it_again():
    refused = replace(failure(DUE), code="acme-already-replaced")
    assert look(DUE + HOUR, CAME, failure(DUE)).replaces == "ari.id"
    assert look(DUE + HOUR, CAME, refused).replaces == ""


# How loud


@pytest.mark.parametrize(
    ("left", "loudness"), [(2.5, 0), (3, 1), (5.9, 1), (6, 2), (9.9, 2), (10, 3), (1000, 3)]
)
def test_loudness_by_the_time_left(left, loudness):
    now = ENDS - LIFE / left
    held = replace(HELD, names=frozenset({"a.test"}))
    assert look(now, CAME, failure(now), held=held).loudness == loudness
    assert look(now, CAME, held=held).loudness == (3 if now >= ENDS else 0)


def test_loudness_without_a_certificate_grows_with_the_failures():
    tries = [failure(BORN + n * DAY) for n in range(9)]
    assert [look(BORN + 9 * DAY, *tries[:n], held=None).loudness for n in (0, 1, 3, 4, 8)] == [0, 1, 1, 2, 3]


def test_a_window_that_moves_on_does_not_undo_a_renewal_in_the_last_third():
    now = ENDS - LIFE / 3 + HOUR
    later = window(now + 2 * DAY, now + 3 * DAY, now + HOUR)
    assert look(now, CAME, window=later).act is Act.WAIT
    found = look(now, CAME, failure(now - MINUTE), window=later)
    assert (found.act, found.loudness) == (Act.OBTAIN, 1)


# After a success


def test_one_that_came_and_does_not_help_is_not_asked_for_at_once_again():
    came = replace(CAME, at=DUE, certificate="unserved")
    found = look(DUE + MINUTE, CAME, came)
    assert (found.act, found.reason, found.at) == (Act.WAIT, Reason.JUST_OBTAINED, DUE + HOUR)
    assert f"the next is asked for by itself at {DUE + HOUR:%Y-%m-%d %H:%M} UTC" in found.sentence
    assert look(DUE + HOUR, CAME, came).act is Act.OBTAIN
    again = replace(came, at=DUE + HOUR)
    assert look(DUE + 2 * HOUR, CAME, came, again).at == DUE + 5 * HOUR


def test_a_changed_policy_does_not_wait_for_it():
    came = replace(CAME, at=DUE)
    assert look(DUE + MINUTE, came, wanted=replace(WANTED, names=("c.test",))).act is Act.OBTAIN


# Clocks


def test_a_clock_before_the_certificate_is_noticed():
    found = look(BORN - DAY, CAME)
    assert (found.act, found.reason, found.loudness) == (Act.WAIT, Reason.CLOCK, 2)
    assert found.at == BORN - DAY + 10 * MINUTE
    assert "2026-10-31 00:00 UTC" in found.sentence
    assert look(BORN - MINUTE, CAME).reason is Reason.FRESH


def test_a_clock_that_was_slow_when_the_certificate_came_is_reckoned_with():
    held = replace(HELD, obtained=BORN - 20 * DAY)
    came = replace(CAME, at=BORN - 20 * DAY)
    slow = DUE - 20 * DAY
    assert look(BORN - 19 * DAY, came, held=held).reason is Reason.FRESH
    assert look(slow - MINUTE, came, held=held).act is Act.WAIT
    assert look(slow, came, held=held).reason is Reason.TIME
    late = look(ENDS - LIFE / 6 - 20 * DAY, came, failure(slow), held=held)
    assert late.loudness == 2


def test_a_clock_far_ahead_spends_no_limits():
    """To it each certificate has ended already when it comes."""
    year = timedelta(days=365)
    held = replace(HELD, obtained=BORN + year)
    came = replace(CAME, at=BORN + year)
    found = look(BORN + year + MINUTE, came, held=held)
    assert (found.act, found.reason) == (Act.WAIT, Reason.CLOCK)
    assert "clock" in found.sentence


def test_attempts_of_a_clock_that_was_ahead_hold_nobody_up():
    tries = [failure(DUE + 400 * DAY, a, retry_at=DUE + 401 * DAY) for a in ALL]
    assert look(DUE, CAME, *tries).act is Act.OBTAIN


def test_a_clock_put_back_by_a_little_does_not_make_an_attempt_unseen():
    assert look(DUE, CAME, failure(DUE + MINUTE)).act is Act.WAIT


# Facts

INSTANTS = st.integers(1, 220_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))


def test_held_from_a_certificate():
    leaf = certificate(0x8765_4321, AKI)
    came = replace(CAME, certificate=fingerprint(leaf))
    held = held_from(leaf, noted(History(), came), placeholder=False)
    assert (held.authority, held.profile, held.obtained) == (FIRST.directory, "slow", came.at)
    assert (held.ari, held.key_type) == ("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE", "ecdsa-p256")
    assert held_from(leaf, History(), placeholder=False).authority == UNKNOWN
    assert held_from(leaf, History((came,)), placeholder=True).authority == PLACEHOLDER
    assert isinstance(leaf, x509.Certificate)


@pytest.mark.parametrize(("text", "spread"), [("", 0.0), ("0" * 64, 0.0), ("8" + "0" * 63, 0.5)])
def test_spread(text, spread):
    assert spread_of(text) == spread


@given(st.text("0123456789abcdef", min_size=64, max_size=64))
def test_spread_is_in_its_bounds(text):
    assert 0 <= spread_of(text) < 1


@given(
    INSTANTS,
    INSTANTS,
    INSTANTS,
    st.floats(),
)
def test_no_dates_raise(begins, ends, now, spread):
    held = replace(HELD, not_before=begins, not_after=ends)
    history = History((CAME, failure(begins, retry_at=ends), failure(ends, SECOND, retry_at=begins)))
    found = plan(held, WANTED, history, window(begins, ends, ends), ALL, now=now, spread=spread)
    assert found.at > now or found.act is not Act.WAIT
    assert Life(begins, ends).length > timedelta()


def test_while_no_certificate_counts_the_next_authority_is_asked_after_one_failure():
    held = replace(HELD, authority=PLACEHOLDER)
    found = look(BORN + HOUR, failure(BORN + HOUR), held=held)
    assert (found.act, found.authority) == (Act.OBTAIN, 1)
    assert look(BORN + HOUR, held=held).authority == 0
