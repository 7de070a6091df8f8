"""What was wrong, what is wrong now -> who is told what, and when again. Pure; JSON both ways.

An alert is told once when it has lasted, again when it got worse, and once when it is over. Each telling is
an :class:`Event` with an id of its own that stays the same over all tries: a receiver that sees one twice (a
try whose answer was lost, a restart) can tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from sealgate.monitor.judge import Alert, Severity
from sealgate.monitor.snapshot import loads, to_json

__all__ = ["Delivery", "Event", "Known", "Notes", "advance", "answered", "due", "from_text", "to_text"]

_FIRST, _LONGEST = 5.0, 900.0  # seconds between tries
_GIVE_UP = timedelta(days=1)
_TRIES = 120  # more than a day has, where the clock was set back by years meanwhile
_MOST_KNOWN, _MOST_WAITING = 100, 200
_SENTENCE = 400
_SEVERITIES = frozenset(Severity)


@dataclass(frozen=True, slots=True)
class Known:
    """Something that is wrong.

    Attributes:
        since: first seen.
        told: the worst severity that was told; 0: nobody was told yet.
    """

    code: str
    key: str
    severity: int
    sentence: str
    since: datetime
    told: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One telling. ``severity`` is a name: `warning`, `error`, `critical`."""

    id: str
    state: Literal["firing", "resolved"]
    code: str
    key: str
    severity: str
    sentence: str
    since: datetime
    at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to one webhook.

    Attributes:
        hook: the webhook's address.
        tries: made so far.
        next: when it is tried next.
    """

    hook: str
    event: Event
    tries: int
    next: datetime


@dataclass(frozen=True, slots=True)
class Notes:
    """All that must outlive the process.

    Attributes:
        known: what is wrong.
        waiting: what is still to be told, in order.
        lost: tellings given up since the notes were begun.
    """

    known: tuple[Known, ...] = ()
    waiting: tuple[Delivery, ...] = ()
    lost: int = 0


def to_text(notes: Notes) -> str:
    """For the file."""
    return json.dumps(to_json(notes), ensure_ascii=False, separators=(",", ":"))


def from_text(text: str) -> Notes:
    """From the file; damaged ones are begun anew: at worst something is told twice.

    Who wrote the file owns the state directory, but half a disk may have gone since.
    """
    try:
        notes = loads(Notes, text) if text else Notes()
    except ValueError:
        return Notes()
    sound = all(one.severity in _SEVERITIES and one.told in {0, *_SEVERITIES} for one in notes.known)
    return notes if sound else Notes()


def advance(
    notes: Notes,
    alerts: Sequence[Alert],
    now: datetime,
    *,
    hooks: Sequence[str],
    new_id: Callable[[], str],
) -> tuple[Notes, tuple[Event, ...]]:
    """Take in what is wrong now.

    Args:
        notes: from before.
        alerts: everything that is wrong now.
        now: the present.
        hooks: addresses to tell.
        new_id: makes ids for events.

    Returns:
        the new notes, and what is to be said in the log.
    """
    before = {one.key: one for one in notes.known}
    current: dict[str, Alert] = {}
    for one in alerts[:_MOST_KNOWN]:  # the worst first: of several with one key that one counts
        current.setdefault(one.key, one)
    events: list[Event] = []
    known = []
    for key, alert in current.items():
        entry = _entry(before.get(key), alert, now)
        lasted = (now - entry.since).total_seconds() >= alert.patience
        if lasted and entry.severity > entry.told:
            entry = replace(entry, told=entry.severity)
            events.append(_event(entry, "firing", now, new_id()))
        known.append(entry)
    over = [one for key, one in before.items() if key not in current and one.told]
    events += [_event(one, "resolved", now, new_id()) for one in over]
    waiting = [one for one in notes.waiting if one.hook in hooks]
    waiting += [Delivery(hook, event, 0, now) for event in events for hook in hooks]
    lost = max(0, len(waiting) - _MOST_WAITING)
    return Notes(tuple(known), tuple(waiting[lost:]), notes.lost + lost), tuple(events)


def _entry(before: Known | None, alert: Alert, now: datetime) -> Known:
    sentence = alert.sentence[:_SENTENCE]
    # A clock that was set back must not make something last for ever to come.
    since = min(before.since, now) if before else now
    told = before.told if before else 0
    # Better than what was told: no news, but worse again would be.
    return Known(alert.code, alert.key, int(alert.severity), sentence, since, min(told, int(alert.severity)))


def _event(entry: Known, state: Literal["firing", "resolved"], now: datetime, identity: str) -> Event:
    severity = Severity(entry.severity).name.lower()
    return Event(identity, state, entry.code, entry.key, severity, entry.sentence, entry.since, now)


def due(notes: Notes, now: datetime) -> tuple[Delivery, ...]:
    """What is to be tried now: of each webhook the first that waits, so that none overtakes another.

    One that is to wait for longer than anything waits was put off by a clock that has been set back since.
    """
    first: dict[str, Delivery] = {}
    for one in notes.waiting:
        first.setdefault(one.hook, one)
    longest = timedelta(seconds=_LONGEST)
    return tuple(one for one in first.values() if not timedelta() < one.next - now <= longest)


def answered(notes: Notes, delivery: Delivery, *, ok: bool, now: datetime) -> Notes:
    """What became of a try.

    The next one is 5 s later, then twice as long each time, at most 15 minutes; after a day it is given up.
    """
    rest = []
    lost = notes.lost
    for one in notes.waiting:
        if (one.hook, one.event.id) != (delivery.hook, delivery.event.id):
            rest.append(one)
        elif not ok and now - one.event.at < _GIVE_UP and one.tries < _TRIES:
            wait = min(_LONGEST, _FIRST * 2 ** min(one.tries, 20))
            rest.append(replace(one, tries=one.tries + 1, next=now + timedelta(seconds=wait)))
        elif not ok:
            lost += 1
    return replace(notes, waiting=tuple(rest), lost=lost)
