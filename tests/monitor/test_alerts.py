"""Told once, told when worse, told when over; nothing forgotten or repeated by a restart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.monitor.alerts import Event, Notes, advance, answered, due, from_text, to_text
from sealgate.monitor.judge import Alert, Severity
from tests.monitor.made import NOW

HOOKS = ("https://a.test/", "https://b.test/")
_numbers = count()


def alert(key: str = "k", severity: Severity = Severity.WARNING, patience: float = 0.0) -> Alert:
    return Alert("drift", key, severity, "it differs; mend it", patience)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def step(
    notes: Notes, alerts: Sequence[Alert], seconds: float, hooks: Sequence[str] = HOOKS
) -> tuple[Notes, tuple[Event, ...]]:
    return advance(notes, alerts, at(seconds), hooks=hooks, new_id=lambda: str(next(_numbers)))


def said(events: Sequence[Event]) -> list[tuple[str, str, str]]:
    return [(event.state, event.key, event.severity) for event in events]


def test_told_once_while_it_lasts_and_once_when_it_is_over() -> None:
    notes, events = step(Notes(), [alert()], 0)
    assert said(events) == [("firing", "k", "warning")]
    notes, events = step(notes, [alert()], 5)
    assert events == ()
    notes, events = step(notes, [], 10)
    assert said(events) == [("resolved", "k", "warning")]
    assert events[0].since == at(0)
    assert step(notes, [], 15)[1] == ()


def test_told_again_when_it_is_worse_and_not_when_it_is_better() -> None:
    notes = Notes()
    told = []
    for second, severity in enumerate((1, 2, 2, 1, 2, 3)):
        notes, events = step(notes, [alert(severity=Severity(severity))], second)
        told.append([event.severity for event in events])
    assert told == [["warning"], ["error"], [], [], ["error"], ["critical"]]


def test_what_flickers_is_not_told() -> None:
    notes, events = step(Notes(), [alert(patience=20)], 0)
    assert events == ()
    notes, events = step(notes, [], 19)
    assert events == ()
    notes, events = step(notes, [alert(patience=20)], 30)
    notes, events = step(notes, [alert(patience=20)], 49)
    assert events == ()
    notes, events = step(notes, [alert(patience=20)], 50)
    assert said(events) == [("firing", "k", "warning")]


def test_a_clock_that_is_set_back_makes_nothing_last_for_ever() -> None:
    notes, _ = step(Notes(), [alert(patience=20)], 0)
    notes, _ = step(notes, [alert(patience=20)], -86400)
    assert step(notes, [alert(patience=20)], -86400 + 21)[1] != ()


def test_each_webhook_gets_each_event_in_order() -> None:
    notes, _ = step(Notes(), [alert()], 0)
    notes, _ = step(notes, [], 1)
    first = due(notes, at(2))
    assert [(one.hook, one.event.state) for one in first] == [(HOOKS[0], "firing"), (HOOKS[1], "firing")]
    notes = answered(notes, first[0], ok=True, now=at(2))
    assert {(one.hook, one.event.state) for one in due(notes, at(2))} == {
        (HOOKS[0], "resolved"),
        (HOOKS[1], "firing"),
    }


def test_tries_are_further_and_further_apart_and_end_after_a_day() -> None:
    notes, _ = step(Notes(), [alert()], 0, HOOKS[:1])
    identity = notes.waiting[0].event.id
    times, now = [], 0.0
    while waiting := due(notes, at(now)):
        times.append(now)
        assert waiting[0].event.id == identity
        notes = answered(notes, waiting[0], ok=False, now=at(now))
        if notes.waiting:
            now = (notes.waiting[0].next - NOW).total_seconds()
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:4] == [5, 10, 20, 40]
    assert max(gaps) == 900
    assert 86400 <= times[-1] < 86400 + 901
    assert (notes.waiting, notes.lost) == ((), 1)


def test_a_webhook_that_was_taken_out_is_not_waited_for() -> None:
    notes, _ = step(Notes(), [alert()], 0)
    notes, _ = step(notes, [alert()], 1, HOOKS[1:])
    assert {one.hook for one in notes.waiting} == {HOOKS[1]}


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    notes = Notes()
    for number in range(150):
        notes, _ = step(notes, [alert(f"k{number}")], number)
    assert len(notes.waiting) <= 200
    assert notes.lost > 0
    assert notes.waiting[-1].event.key in {"k148", "k149"}


def test_a_flood_of_alerts_is_bounded() -> None:
    notes, events = step(Notes(), [alert(f"k{number}") for number in range(1000)], 0, ())
    assert len(notes.known) == len(events) == 100


def test_the_largest_notes_there_can_be_are_kept() -> None:
    hooks = tuple(f"https://{number}.test/" + "x" * 200 for number in range(8))
    worst = [
        Alert("drift", f"{number:03}" + "\x00" * 117, Severity.ERROR, "\x00" * 5000) for number in range(300)
    ]
    notes, _ = step(Notes(), worst, 0, hooks)
    assert len(to_text(notes).encode()) < 2 * 1024 * 1024
    assert from_text(to_text(notes)) == notes


def test_a_restart_repeats_nothing_and_forgets_nothing() -> None:
    notes, _ = step(Notes(), [alert()], 0)
    again = from_text(to_text(notes))
    assert again == notes
    assert step(again, [alert()], 5)[1] == ()
    assert len(again.waiting) == 2
    assert said(step(again, [], 5)[1]) == [("resolved", "k", "warning")]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"known": 1}', '{"lost": "many"}', "\x00", "[" * 99999]
)
def test_damaged_notes_are_begun_anew(text: str) -> None:
    assert from_text(text) == Notes()


@given(st.integers(0, 10_000))
def test_half_a_file_is_the_whole_or_nothing(cut: int) -> None:
    notes, _ = step(Notes(), [alert(), alert("other")], 0)
    text = to_text(notes)
    assert from_text(text[:cut]) in {Notes(), notes}


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(Severity)), max_size=4), max_size=12)
)
def test_every_end_follows_a_beginning(steps: list[list[tuple[str, Severity]]]) -> None:
    """For each key: firing (perhaps several, worse each time), then resolved, and so on."""
    notes, open_now = Notes(), dict[str, str]()
    for second, now in enumerate(steps):
        notes, events = step(
            from_text(to_text(notes)), [alert(k, s) for k, s in dict(now).items()], second, ()
        )
        for event in events:
            if event.state == "resolved":
                assert open_now.pop(event.key)
            else:
                open_now[event.key] = event.severity
        assert set(open_now) == set(dict(now))


def test_of_several_with_one_key_the_worst_counts() -> None:
    """Two lists of one authority: what is critical must not pass for a warning."""
    both = (alert(severity=Severity.CRITICAL), alert(severity=Severity.WARNING))
    assert said(step(Notes(), both, 0)[1]) == [("firing", "k", "critical")]


def test_a_try_that_was_put_off_by_a_clock_from_the_future_is_made_now() -> None:
    year = 365 * 86400.0
    notes, _ = step(Notes(), [alert()], year, HOOKS[:1])
    notes = answered(notes, notes.waiting[0], ok=False, now=at(year))
    assert due(notes, at(year)) == ()
    assert due(notes, at(0)) == notes.waiting


def test_what_was_begun_in_the_future_is_given_up_too() -> None:
    notes, _ = step(Notes(), [alert()], 50 * 365 * 86400.0, HOOKS[:1])
    for number in range(200):
        if not notes.waiting:
            break
        notes = answered(notes, notes.waiting[0], ok=False, now=at(number))
    assert (notes.waiting, notes.lost) == ((), 1)


@pytest.mark.parametrize(
    "change", ['"severity":1|"severity":99', '"told":1|"told":-1', '"severity":1|"severity":0']
)
def test_notes_with_what_cannot_be_are_begun_anew(change: str) -> None:
    old, new = change.split("|")
    text = to_text(step(Notes(), [alert()], 0)[0])
    assert old in text
    assert from_text(text.replace(old, new)) == Notes()


def test_a_date_that_has_no_utc_is_no_date() -> None:
    text = to_text(step(Notes(), [alert()], 0)[0])
    assert from_text(text.replace(NOW.isoformat(), "0001-01-01T00:00:00+23:59")) == Notes()
