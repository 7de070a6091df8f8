"""How long an authority is left alone after a try. Pure: the history and the time in, instants out.

- After a failure one minute, doubled with each in a row up to six hours, or up to an eighth of the time left
  where that is less (but a quarter of an hour is always waited in the end), and never past an instant at
  which a renewal that fails gets louder.
- The authority's own word (Retry-After) counts for more, up to a quarter of the time left: an authority that
  says "in a year" is not let to end the site.
- Never more than four tries in an hour, whatever else holds: Let's Encrypt allows five failed validations of
  a name in an hour, and one is left for the person who mends things.
- After a success an hour, four, sixteen …, up to a quarter of the life: where another certificate is due
  right after one came (a clock far ahead, a server that does not serve it, an authority that revokes each),
  its limits must not be spent on it.

Each authority has a row of its own. What was tried with other wishes counts for the last three rules only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sealgate.acme.history import Attempt, History, Outcome

__all__ = ["PER_HOUR", "Life", "Row", "brake", "row"]

PER_HOUR = 4
_HOUR = timedelta(hours=1)
_LEAST, _MOST, _LATE = timedelta(minutes=1), timedelta(hours=6), timedelta(minutes=15)
_UNKNOWN = timedelta(days=1)
"""The longest wait for an authority's word where nothing says how much time is left."""
_WEEK = timedelta(days=7)
_AHEAD = timedelta(hours=1)
"""An attempt further ahead of the present was noted by a clock that was wrong: it says nothing."""


@dataclass(frozen=True, slots=True)
class Life:
    """From when until when the certificate in force counts."""

    begins: datetime
    ends: datetime

    @property
    def length(self) -> timedelta:
        """Never less than a second: some divide by it."""
        return max(self.ends - self.begins, timedelta(seconds=1))

    def with_left(self, part: int) -> datetime:
        """The instant at which one ``part``-th of the life is left."""
        return self.ends - self.length / part

    @property
    def rises(self) -> tuple[datetime, datetime, datetime]:
        """When a renewal that fails gets louder."""
        return self.with_left(3), self.with_left(6), self.with_left(10)

    def next_rise(self, after: datetime) -> datetime | None:
        """The first of them after an instant."""
        return next((rise for rise in self.rises if rise > after), None)


@dataclass(frozen=True, slots=True)
class Row:
    """One authority since the last certificate of this wish came.

    Attributes:
        failures: with this wish.
        action: one of them waits for a person.
        last: the last failure of them.
        free_at: when it may be asked again; None: at any time.
    """

    failures: int
    action: bool
    last: Attempt | None
    free_at: datetime | None


def _known(history: History, now: datetime) -> list[Attempt]:
    return [attempt for attempt in history.attempts if attempt.at <= now + _AHEAD]


def _since(attempts: list[Attempt], subject: str | None) -> list[Attempt]:
    """What came after the last success, with this wish or (None) any."""
    for index in range(len(attempts) - 1, -1, -1):
        found = attempts[index]
        if found.outcome is Outcome.OBTAINED and subject in {None, found.subject}:
            return attempts[index + 1 :]
    return attempts


def row(
    history: History, authority: str, subject: str, *, life: Life | None, now: datetime, spread: float
) -> Row:
    """How it stands with one authority.

    Args:
        history: all attempts.
        authority: address of the directory.
        subject: the wish.
        life: of the certificate in force; None where there is none that counts.
        now: the present.
        spread: in [0, 1): shortens waits by up to a quarter.
    """
    known = _known(history, now)
    ours = [a for a in known if a.authority == authority]
    fails = [a for a in _since(known, subject) if a.authority == authority and a.subject == subject]
    last = fails[-1] if fails else None
    action = any(a.action for a in fails)
    bounds = [_told(a, life) for a in _since(ours, None) if a.retry_at is not None]
    if last is not None:
        bounds.append(_failed(last, len(fails), life, spread, action=last.action))
    if len(ours) >= PER_HOUR:
        bounds.append(ours[-PER_HOUR].at + _HOUR)
    return Row(len(fails), action, last, max(bounds, default=None))


def _left(at: datetime, life: Life | None) -> timedelta | None:
    """Time left then; after the end, the time gone by: what failed for weeks may wait for hours."""
    return abs(life.ends - at) if life else None


def _told(attempt: Attempt, life: Life | None) -> datetime:
    """The authority's own word, within bounds."""
    left = _left(attempt.at, life)
    longest = max(left / 4, _HOUR) if left is not None else _UNKNOWN
    assert attempt.retry_at is not None  # noqa: S101 - asked for those that have it
    return min(attempt.retry_at, attempt.at + min(longest, timedelta(days=30)))


def _failed(last: Attempt, failures: int, life: Life | None, spread: float, *, action: bool) -> datetime:
    """Our own patience."""
    left = _left(last.at, life)
    most = min(_MOST, max(left / 8, _LATE)) if left is not None else _MOST
    wait = most if action else min(_LEAST * 2 ** min(failures - 1, 20), most)
    at = last.at + max(wait * (1 - spread / 4), _LEAST)
    rise = life.next_rise(last.at) if life else None
    return max(min(at, rise), last.at + _LEAST) if rise else at


def brake(history: History, subject: str, *, life: Life | None, now: datetime) -> datetime | None:
    """Until when no other certificate of this wish is asked for, as one came just now."""
    recent = [
        a.at
        for a in _known(history, now)
        if a.outcome is Outcome.OBTAINED and a.subject == subject and a.at > now - _WEEK
    ]
    if not recent:
        return None
    longest = life.length / 4 if life else _UNKNOWN
    return recent[-1] + min(_HOUR * (1 << 2 * min(len(recent) - 1, 10)), longest)
