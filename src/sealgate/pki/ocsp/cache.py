"""What is known of one authority's certificates, and what is asked next. Pure: instants and chance come in.

One of these for each authority. The rules:

- who was never asked about waits: :attr:`Standing.UNASKED` (503), and is asked about behind the request's
  back. A certificate that is known is never waited for, whatever goes on;
- what is known is kept until its end, and asked anew before, as lists are (pki/lists/schedule), while its
  client is seen once a day (:attr:`Bounds.gone`): nobody is asked about clients that are gone;
- ``unknown`` is asked again as after a failure: a responder may learn of a new certificate a little later;
- revoked for good stays so: no later answer takes it back (RFC 5280 §5.3.1), since of several responders
  one may be behind. Nobody is asked about it any more;
- newcomers and the known have places of their own in everything: table, questions under way, questions in a
  second. So a flood of new certificates lets nothing known lapse, memory has a bound, and a responder gets no
  more than so many questions in a second, whoever causes them;
- where the table is full of the known, newcomers wait: nobody good who was seen within a day is driven out.
  Who lapsed makes room, then who is unknown, who is revoked (the guard's table has those), who is gone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealgate.pki.lists import schedule
from sealgate.pki.ocsp.asking import Digest
from sealgate.pki.ocsp.judging import Accepted, State

__all__ = ["Ask", "Bounds", "Cache", "Key", "Standing"]

_LOST = timedelta(minutes=2)
"""A question that nobody brought back an answer or a failure for."""
_SHORT = timedelta(minutes=10)
"""For so long a newcomer that is not seen again is remembered."""


class Standing(enum.Enum):
    """What a certificate is worth at this moment.

    ``UNASKED``: nothing is known (503, come again). ``UNKNOWN``: its responder does not know it.
    ``STALE``: it was good, and nobody said so since. All but ``GOOD`` are refused.
    """

    UNASKED = "unasked"
    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Key:
    """``issuer``: SHA-256 of its SubjectPublicKeyInfo. ``serial``: of the certificate."""

    issuer: bytes
    serial: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one authority may cost.

    Attributes:
        known, waiting: certificates.
        at_once: questions under way, half of them for newcomers.
        per_second: questions, half of them for newcomers where both are due.
        gone: who was not seen for so long is asked about no more.
    """

    known: int = 10_000
    waiting: int = 256
    at_once: int = 8
    per_second: int = 10
    gone: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that is due.

    Attributes:
        digest: by which the issuer is named.
        before: ``this_update`` of the answer in force.
    """

    key: Key
    digest: Digest
    before: datetime | None


@dataclass(slots=True)
class _Entry:
    """``due``: None: never again. ``asking``: since when a question is under way."""

    facts: schedule.Facts
    seen: datetime
    due: datetime | None
    answer: Accepted | None = None
    digest: Digest = Digest.SHA1
    asking: datetime | None = None


class Cache:
    """Of one authority. Not for several threads.

    Args:
        grace: for how long an answer still counts past its end.
        bounds: what it may cost.
    """

    __slots__ = ("_bounds", "_filled", "_grace", "_known", "_new_first", "_tokens", "_waiting")

    def __init__(self, *, grace: timedelta = timedelta(), bounds: Bounds | None = None) -> None:
        self._grace = grace
        self._bounds = bounds or Bounds()
        self._known: dict[Key, _Entry] = {}
        self._waiting: dict[Key, _Entry] = {}
        self._tokens = float(self._bounds.per_second)
        self._filled: datetime | None = None
        self._new_first = False

    def look(self, key: Key, *, now: datetime) -> Standing:
        """What a certificate is worth: a look into a table, for the request's path. It is noted as seen."""
        if (entry := self._known.get(key)) is not None:
            entry.seen = now
            return self._standing(entry, now)
        if (entry := self._waiting.get(key)) is not None:
            entry.seen = now
        elif len(self._waiting) < self._bounds.waiting or self._yielded():
            self._waiting[key] = _Entry(schedule.Facts(), seen=now, due=now)
        return Standing.UNASKED

    def due(self, *, now: datetime) -> tuple[Ask, ...]:
        """What is to be asked at this moment, to be called about once a second.

        Each of them is under way then, until :meth:`took` or :meth:`failed` (or two minutes are over).
        """
        self._forget(now)
        self._fill(now)
        both = [self._ready(self._known, now), self._ready(self._waiting, now) if self._has_room(now) else []]
        if self._new_first:
            both.reverse()
        self._new_first = not self._new_first
        asks = []
        for key, entry in _in_turn(*both)[: int(self._tokens)]:
            entry.asking = now
            asks.append(Ask(key, entry.digest, entry.answer.this_update if entry.answer else None))
        self._tokens -= len(asks)
        return tuple(asks)

    def took(self, answer: Accepted, *, now: datetime, spread: float) -> Standing:
        """An answer that counts has come. Returns what the certificate is worth then.

        Args:
            answer: as it was judged.
            now: the present.
            spread: random in [0, 1).
        """
        key = Key(answer.issuer, answer.serial)
        entry = self._known.get(key) or self._waiting.pop(key, None)
        if entry is None:
            entry = _Entry(schedule.Facts(), seen=now, due=now)
        entry.asking = None
        if not _replaces(answer, entry.answer):
            self._later(entry, now, spread)
            return self._standing(entry, now)
        entry.answer = answer
        if answer.state is State.UNKNOWN:
            entry.facts = schedule.failed(schedule.Facts(failures=entry.facts.failures), at=now)
        else:
            entry.facts = schedule.took(entry.facts, answer.until, at=now)
        entry.due = None if _for_good(answer) else schedule.due(entry.facts, now=now, spread=spread)
        if key not in self._known and not self._place(key, entry, now):
            return Standing.UNASKED
        return self._standing(entry, now)

    def failed(
        self,
        key: Key,
        *,
        now: datetime,
        spread: float,
        retry_after: timedelta | None = None,
        not_understood: bool = False,
    ) -> None:
        """No answer has come that counts; what is known stays as it is.

        Args:
            key: of the certificate.
            now: the present.
            spread: random in [0, 1).
            retry_after: the server's word.
            not_understood: ``malformed-request``, ``unauthorized``: the next try names the issuer otherwise.
        """
        entry = self._known.get(key) or self._waiting.get(key)
        if entry is None:
            return
        entry.asking = None
        if not_understood:
            entry.digest = entry.digest.other
        self._later(entry, now, spread, retry_after)

    def held(self) -> Iterator[tuple[Accepted, datetime]]:
        """Everything known with when it was last seen, to be kept over a restart where nobody else writes."""
        for entry in self._known.values():
            if entry.answer is not None:
                yield entry.answer, entry.seen

    def restore(
        self, held: Iterable[tuple[Accepted, datetime]], *, now: datetime, spread: Callable[[], float]
    ) -> None:
        """Take over what :meth:`held` gave, ended or not: an older answer must not count after it.

        All are asked about soon: how long ago they were is not known.
        """
        for answer, seen in held:
            self.took(answer, now=now, spread=spread())
            if (entry := self._known.get(Key(answer.issuer, answer.serial))) is not None:
                entry.seen = min(seen, now)
                entry.due = None if entry.due is None else now

    def standings(self, *, now: datetime) -> Iterator[tuple[Key, Standing]]:
        """Of everyone known."""
        for key, entry in self._known.items():
            yield key, self._standing(entry, now)

    def __contains__(self, key: Key) -> bool:
        """Is it known, or does it wait?"""
        return key in self._known or key in self._waiting

    @property
    def counts(self) -> tuple[int, int]:
        """How many are known, how many wait."""
        return len(self._known), len(self._waiting)

    def _standing(self, entry: _Entry, now: datetime) -> Standing:
        if entry.answer is None:
            return Standing.UNASKED
        if entry.answer.state is not State.GOOD:
            return Standing.REVOKED if entry.answer.state is State.REVOKED else Standing.UNKNOWN
        return Standing.GOOD if now - self._grace <= entry.answer.until else Standing.STALE

    def _later(
        self, entry: _Entry, now: datetime, spread: float, retry_after: timedelta | None = None
    ) -> None:
        entry.facts = schedule.failed(entry.facts, at=now, retry_after=retry_after)
        if entry.due is not None:
            entry.due = schedule.due(entry.facts, now=now, spread=spread)

    def _ready(self, entries: dict[Key, _Entry], now: datetime) -> list[tuple[Key, _Entry]]:
        """Who is due, the longest first, as many as there are places."""
        places = max(self._bounds.at_once // 2, 1) - sum(one.asking is not None for one in entries.values())
        if places <= 0:
            return []
        found = [
            (entry.due, number, key, entry)
            for number, (key, entry) in enumerate(entries.items())
            if entry.asking is None
            and entry.due is not None
            and entry.due <= now
            and now - entry.seen <= self._bounds.gone
        ]
        return [(key, entry) for _, _, key, entry in sorted(found)[:places]]

    def _forget(self, now: datetime) -> None:
        for key in [key for key, entry in self._known.items() if self._is_over(entry, now)]:
            del self._known[key]
        for key in [key for key, entry in self._waiting.items() if now - entry.seen > _SHORT]:
            del self._waiting[key]
        for entry in (*self._known.values(), *self._waiting.values()):
            # A clock that was set back must not hold a place for as long as it takes to catch up.
            if entry.asking is not None and not timedelta() <= now - entry.asking < _LOST:
                entry.asking = None
            asked = entry.facts.asked
            if entry.due is not None and (asked is None or asked > now + schedule.LEAST):
                entry.due = min(entry.due, now)

    def _is_over(self, entry: _Entry, now: datetime) -> bool:
        if now - entry.seen <= self._bounds.gone:
            return False
        return self._standing(entry, now) is not Standing.GOOD and entry.due is not None

    def _fill(self, now: datetime) -> None:
        most = float(self._bounds.per_second)
        past = (now - self._filled).total_seconds() if self._filled is not None else 0.0
        self._tokens = min(most, self._tokens + max(past, 0.0) * most)
        self._filled = now

    def _yielded(self) -> bool:
        """One who waits and was asked about in vain has made room."""
        for key, entry in self._waiting.items():
            if entry.asking is None and entry.facts.failures:
                del self._waiting[key]
                return True
        return False

    def _has_room(self, now: datetime) -> bool:
        return len(self._known) < self._bounds.known or self._least(now) is not None

    def _place(self, key: Key, entry: _Entry, now: datetime) -> bool:
        if len(self._known) >= self._bounds.known:
            if (least := self._least(now)) is None:
                return False
            del self._known[least]
        self._known[key] = entry
        return True

    def _least(self, now: datetime) -> Key | None:
        """Who makes room; None: all of them are good."""
        worth = {Standing.STALE: 0, Standing.UNKNOWN: 1, Standing.REVOKED: 2, Standing.GOOD: 3}
        found = (
            (worth[standing], number, key)
            for number, (key, entry) in enumerate(self._known.items())
            if (standing := self._standing(entry, now)) is not Standing.GOOD
            or now - entry.seen > self._bounds.gone
        )
        return min(found, default=(0, 0, None))[2]


def _in_turn(some: list[tuple[Key, _Entry]], others: list[tuple[Key, _Entry]]) -> list[tuple[Key, _Entry]]:
    """One of each, then who is left."""
    both = [one for pair in zip(some, others, strict=False) for one in pair]
    shorter = len(both) // 2
    return both + some[shorter:] + others[shorter:]


def _for_good(answer: Accepted) -> bool:
    return answer.revoked is not None and answer.revoked.for_good


def _replaces(answer: Accepted, before: Accepted | None) -> bool:
    if before is None:
        return True
    return answer.this_update >= before.this_update and (not _for_good(before) or _for_good(answer))
