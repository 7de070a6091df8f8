"""When a list is asked for again, and whether the one in force still counts. Pure: facts in, instants out.

- Never asked: at once.
- After one that counts: at half of the life that is left, at least every four hours, never within a minute.
- After a failure one minute, doubled with each in a row, up to an hour (a quarter of one while there is no
  list that counts, or up to a quarter of the life that is left, where that is less).
- The server's word (Retry-After) counts for more than that, up to six hours, or half of the life that is
  left; with no list that counts, up to an hour: a server that says "in a year" does not end the clients.
- An answer that brings nothing new past nextUpdate is a failure: who asks every minute helps nobody.
- Each wait is shortened by a random part, up to a quarter, so that machines do not all ask at once.
- A clock that was set back does not make us wait until it has caught up.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

__all__ = ["LEAST", "MOST", "Facts", "Standing", "due", "extended", "failed", "standing", "took"]

LEAST = timedelta(minutes=1)
"""Never again within it, whatever else holds."""
MOST = timedelta(hours=6)
"""Never later than it, whatever else holds."""
_REGULAR, _PATIENT, _PRESSED = timedelta(hours=4), timedelta(hours=1), timedelta(minutes=15)


class Standing(enum.Enum):
    """What the list in force is worth.

    ``UNKNOWN``: there never was one, nobody can be judged (503). ``STALE``: past nextUpdate and grace.
    """

    GOOD = "good"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one distribution point.

    Attributes:
        next_update: of the list in force; None: there never was one.
        asked: when it was last asked for; None: never.
        failures: since the last answer that counted.
        retry_at: the server's word with the last failure.
    """

    next_update: datetime | None = None
    asked: datetime | None = None
    failures: int = 0
    retry_at: datetime | None = None


def took(facts: Facts, next_update: datetime, *, at: datetime) -> Facts:
    """The facts after a list came that counts, or the server said that the one in force is the newest.

    Args:
        facts: before.
        next_update: of the list that is in force now.
        at: the present.
    """
    nothing_new = next_update <= at
    return Facts(next_update, at, facts.failures + 1 if nothing_new else 0)


def failed(facts: Facts, *, at: datetime, retry_after: timedelta | None = None) -> Facts:
    """The facts after no answer, or one that does not count."""
    longest = min(retry_after, MOST) if retry_after is not None else None  # before adding: dates have an end
    then = at + longest if longest is not None else None
    return replace(facts, asked=at, failures=facts.failures + 1, retry_at=then)


def due(facts: Facts, *, now: datetime, spread: float) -> datetime:
    """When to ask.

    Args:
        facts: of the point.
        now: the present.
        spread: random in [0, 1), drawn once for each try, so that the instant stays while it is waited for.
    """
    asked = facts.asked
    if asked is None or asked > now + LEAST:  # noted by a clock that was ahead: it says nothing
        return now
    left = facts.next_update - asked if facts.next_update is not None else timedelta()
    left = max(left, timedelta())
    wait = _after_failure(facts.failures, left) if facts.failures else min(left / 2, _REGULAR)
    wait = max(wait * (1 - spread / 4), LEAST)
    if facts.retry_at is not None:
        longest = min(left / 2, MOST) if left else _PATIENT
        wait = max(wait, min(facts.retry_at - asked, longest))
    return asked + wait


def _after_failure(failures: int, left: timedelta) -> timedelta:
    most = min(_PATIENT, max(left / 4, LEAST)) if left else _PRESSED
    return min(LEAST * (1 << min(failures - 1, 10)), most)


def extended(until: datetime, grace: timedelta) -> datetime:
    """The end of the grace; of an end that is as far as dates go, that end."""
    try:
        return until + grace
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def standing(next_update: datetime | None, *, grace: timedelta, now: datetime) -> Standing:
    """What counts: good until nextUpdate and grace, then stale.

    Args:
        next_update: of the list in force; None: there never was one.
        grace: for how long it still counts.
        now: the present.
    """
    if next_update is None:
        return Standing.UNKNOWN
    return Standing.GOOD if now - grace <= next_update else Standing.STALE
