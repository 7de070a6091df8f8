"""When is a certificate asked for, with whom, and how loudly? Pure: facts and the time in, a plan out.

The keeper calls :func:`plan`, does what it says (``obtain``, ``ask-window``, or ``wait`` until ``at``), notes
what came of it (``history.py``), and calls again. Everything that is waited for is in the plan's ``at``: who
sleeps until then misses nothing but a change of the policy.

Loudness is for logs, metrics and alerts: 0 nothing to say; 1, 2 and 3 where a renewal has failed and a
third, a sixth, a tenth of the life is left. Without a certificate that counts it grows with the failures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sealgate.acme.ari import Window, chosen
from sealgate.acme.authority import Authority
from sealgate.acme.backoff import Life, Row, brake, row
from sealgate.acme.held import PLACEHOLDER, UNKNOWN, Held
from sealgate.acme.history import History, subject_of
from sealgate.acme.order import Wanted
from sealgate.policy.quoting import printable

__all__ = ["Act", "Plan", "Reason", "due", "plan"]

_SHORT = timedelta(days=10)
_SKEW = timedelta(minutes=5)
_CENTURY = timedelta(days=36525)
_LONGEST = timedelta(days=1)
_LOOK_AGAIN = timedelta(minutes=10)
_SOON = timedelta(minutes=5)
_FAILURES = 3
"""In a row, before the next authority is asked."""
_LOUD_FAILURES = (1, 4, 8)
_HEEDED = 5
"""How many attempts back an authority's refusal of ``replaces`` is heeded."""


class Act(StrEnum):
    """What to do now."""

    OBTAIN = "obtain"
    WAIT = "wait"
    ASK_WINDOW = "ask-window"


class Reason(StrEnum):
    """Stable names of why; those of ``pki.renewal`` where they mean the same."""

    FRESH = "fresh"
    MISSING = "missing"
    PLACEHOLDER = "placeholder"
    REVOKED = "revoked"
    FORCED = "forced"
    EXPIRED = "expired"
    TIME = "time"
    WINDOW = "window"
    NAMES = "names"
    KEY_TYPE = "key-type"
    PROFILE = "profile"
    AUTHORITY = "authority"
    CLOCK = "clock"
    BACKOFF = "backoff"
    """Due, but every authority is to be left alone for now."""
    JUST_OBTAINED = "just-obtained"
    """Due, although a certificate came a short time ago."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        act: see :class:`Act`.
        authority: index of the authority to ask; of one that is waited for.
        at: when to look again; for what is to be done now, the present.
        reason: stable.
        sentence: for people, without a final stop; escaped.
        loudness: 0 to 3.
        replaces: for the order, the id of the certificate that it takes the place of (RFC 9773 §5); or empty.
    """

    act: Act
    authority: int
    at: datetime
    reason: Reason
    sentence: str
    loudness: int = 0
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    """All that a plan is made from. ``clock`` is the machine's; ``now`` is put right where that is slow."""

    held: Held | None
    wanted: Wanted
    history: History
    window: Window | None
    authorities: Sequence[Authority]
    clock: datetime
    spread: float
    force: bool

    @property
    def slow(self) -> timedelta:
        """By how much the clock was behind the authority's when the certificate came (at least)."""
        held = self.held
        if held is None or held.obtained is None or held.obtained > self.clock + _SKEW:
            return timedelta()
        behind = held.not_before - held.obtained
        return min(behind, _CENTURY) if behind > _SKEW else timedelta()

    @property
    def now(self) -> datetime:
        return self.clock + self.slow

    @property
    def life(self) -> Life | None:
        """Of a certificate that clients trust; a stand-in, or one that is revoked, has none to be saved."""
        held = self.held
        if held is None or held.authority == PLACEHOLDER or held.revoked:
            return None
        return Life(held.not_before - self.slow, held.not_after - self.slow)

    @property
    def subject(self) -> str:
        return subject_of(self.wanted)

    @property
    def own(self) -> int | None:
        """Index of the authority that gave the certificate."""
        found = (
            i for i, a in enumerate(self.authorities) if self.held and a.directory == self.held.authority
        )
        return next(found, None)

    def rows(self) -> list[Row]:
        return [
            row(
                self.history,
                authority.directory,
                self.subject,
                life=self.life,
                now=self.clock,
                spread=self.spread,
            )
            for authority in self.authorities
        ]


def plan(
    held: Held | None,
    wanted: Wanted,
    history: History,
    window: Window | None,
    authorities: Sequence[Authority],
    *,
    now: datetime,
    spread: float,
    force: bool = False,
) -> Plan:
    """What to do about a site's certificate now.

    Args:
        held: the one in ``live/``; None: none.
        wanted: by the policy. Its profile does not count: each authority has its own.
        history: what was tried.
        window: the authority's last word on when, from ``history.window``.
        authorities: in the order in which they are asked; at least one.
        now: the present.
        spread: in [0, 1), fixed for the certificate (:func:`spread_of`).
        force: somebody asked for another certificate: no reason is needed and nothing is waited for.
    """
    case = _Case(held, wanted, history, window, authorities, now, min(max(0.0, spread), 1.0), force)
    if held is not None and case.now < held.not_before - _SKEW and not force:
        return _clock_behind(held, now)
    need = _need(case)
    return _quiet(case) if need is None else _wanting(case, *need)


def due(held: Held, window: Window | None, *, spread: float) -> tuple[datetime, bool]:
    """When a certificate is renewed, and whether the authority said so.

    By age: at two thirds of its life, half of one under ten days, or up to a twentieth earlier.
    The authority's word may be later than that, but not past the point where a sixth is left. One that is
    revoked was due since it was there.
    """
    life = held.life
    if held.revoked:
        return life.begins, False
    if (instant := chosen(window, held.ari, spread=spread)) is not None:
        return min(instant, life.with_left(6)), True
    part = life.length / 2 if life.length < _SHORT else life.length * 2 / 3
    return life.begins + part - life.length * spread / 20, False


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _clock_behind(held: Held, now: datetime) -> Plan:
    """A clock before notBefore: nobody knows how much time is left; a new one would not tell either."""
    sentence = f"the clock says {_day(now)}, but the certificate begins at {_day(held.not_before)}"
    return Plan(Act.WAIT, 0, now + _LOOK_AGAIN, Reason.CLOCK, sentence, loudness=2)


# Is another one needed?


def _need(case: _Case) -> tuple[Reason, str] | None:
    held = case.held
    if held is None:
        return Reason.MISSING, "there is no certificate yet"
    if held.authority == PLACEHOLDER:
        return Reason.PLACEHOLDER, "a private certificate stands in until an authority's is there"
    if held.revoked:
        return Reason.REVOKED, "the certificate is revoked: who looks it up does not trust it"
    return _changed(case, held) or _aged(case, held) or (_forced() if case.force else None)


def _forced() -> tuple[Reason, str]:
    return Reason.FORCED, "it was asked for"


def _changed(case: _Case, held: Held) -> tuple[Reason, str] | None:
    """Is it another one than the policy asks for?"""
    wanted, have = {name.lower() for name in case.wanted.names}, {name.lower() for name in held.names}
    if missing := sorted(wanted - have):
        return Reason.NAMES, f"the certificate lacks {printable(', '.join(missing))}"
    if extra := sorted(have - wanted):
        return (
            Reason.NAMES,
            f"the certificate has {printable(', '.join(extra))}, which the policy no longer names",
        )
    if held.key_type != case.wanted.key_type:
        return Reason.KEY_TYPE, f"the policy asks for a key of type {case.wanted.key_type}"
    if held.authority == UNKNOWN:
        return None
    if case.own is None:
        return Reason.AUTHORITY, f"the policy no longer names {printable(held.authority)}, which gave it"
    if held.profile != case.authorities[case.own].profile:
        wish = case.authorities[case.own].profile
        return Reason.PROFILE, f"the policy asks for the profile {wish or '(none)'}"
    return None


def _aged(case: _Case, held: Held) -> tuple[Reason, str] | None:
    """Is it time?"""
    ends = f"it ends at {_day(held.not_after)}"
    if case.now >= held.not_after:
        return Reason.EXPIRED, f"the certificate ended at {_day(held.not_after)}"
    at, by_window = due(held, case.window, spread=case.spread)
    if case.now >= at:
        if by_window:
            return Reason.WINDOW, f"the authority asks for its renewal at {_day(at)}; {ends}"
        return Reason.TIME, f"the certificate was due at {_day(at)}; {ends}"
    if _begun(case, held):
        return Reason.TIME, f"its renewal was begun and is not done; {ends}"
    return None


def _begun(case: _Case, held: Held) -> bool:
    """Did a renewal fail in the last third? Then no window that moves on makes it undone again."""
    third = held.life.with_left(3) - case.slow
    return case.clock >= third and any(
        r.last is not None and third <= r.last.at <= case.clock for r in case.rows()
    )


# Nothing is needed


def _quiet(case: _Case) -> Plan:
    held = case.held
    assert held is not None  # noqa: S101 - else there is a need
    at, _ = due(held, case.window, spread=case.spread)
    if case.own is not None and held.ari and _stale(case, held):
        sentence = (
            f"the certificate is good; its renewal is due at {_day(at)},"
            " unless the authority, which is asked next, wishes another time"
        )
        return Plan(Act.ASK_WINDOW, case.own, case.clock, Reason.FRESH, sentence)
    looks = [at - case.slow, case.clock + _LONGEST]
    if case.own is not None and held.ari and case.window is not None:
        looks.append(case.window.again)
    sentence = f"the certificate is good; its renewal is due at {_day(at)}"
    return Plan(Act.WAIT, case.own or 0, max(min(looks), case.clock), Reason.FRESH, sentence)


def _stale(case: _Case, held: Held) -> bool:
    """May the authority be asked? What it said a day ahead of now was noted by a clock that was wrong."""
    window = case.window
    if window is None or window.certificate != held.ari:
        return True
    return not case.clock < window.again <= case.clock + _LONGEST + _SKEW


# Another one is needed


def _wanting(case: _Case, reason: Reason, sentence: str) -> Plan:
    rows = case.rows()
    loudness = _loudness(case, reason, rows)
    if case.force:
        return _obtain(case, 0, Reason.FORCED, _forced()[1], loudness)
    # One that was revoked since it came is no word on the next: it is not saved by waiting.
    braked = reason is not Reason.REVOKED
    until = brake(case.history, case.subject, life=case.life, now=case.clock) if braked else None
    if until is not None and until > case.clock:
        return _braked(case, until, sentence, loudness)
    eligible = _eligible(case, rows)
    free = [index for index in eligible if (rows[index].free_at or case.clock) <= case.clock]
    if free:
        return _obtain(case, min(free, key=lambda i: (rows[i].failures, i)), reason, sentence, loudness, rows)
    return _backed_off(case, rows, eligible, sentence, loudness)


def _loudness(case: _Case, reason: Reason, rows: Sequence[Row]) -> int:
    failures = sum(r.failures for r in rows)
    if case.life is not None:
        rises = sum(case.clock >= rise for rise in case.life.rises)
        return rises if failures or reason is Reason.EXPIRED else 0
    return max(sum(failures >= n for n in _LOUD_FAILURES), int(any(r.action for r in rows)))


def _eligible(case: _Case, rows: Sequence[Row]) -> list[int]:
    """The first, and each that comes after those that had their chances: one, while no certificate counts."""
    late = case.life is not None and case.clock >= case.life.with_left(3)
    found = [0]
    for index in range(1, len(rows)):
        before = rows[index - 1]
        if not _spent(before, late=late) and not (case.life is None and before.failures):
            break
        found.append(index)
    return found


def _spent(row: Row, *, late: bool) -> bool:
    """Had it its chances? In the last third nobody waits for one that is not to be asked for a while."""
    if row.last is None:
        return False
    waits = row.free_at is not None and row.free_at - row.last.at > _SOON
    return row.failures >= _FAILURES or row.action or (late and waits)


def _obtain(
    case: _Case, index: int, reason: Reason, sentence: str, loudness: int, rows: Sequence[Row] = ()
) -> Plan:
    failed = sum(r.failures for r in rows)
    told = f"{sentence}; {failed} {'try' if failed == 1 else 'tries'} failed so far" if failed else sentence
    return Plan(Act.OBTAIN, index, case.clock, reason, told, loudness, _replaces(case, index))


def _replaces(case: _Case, index: int) -> str:
    """Only for the authority that gave it, and only until it has said that something replaced it already."""
    held = case.held
    if held is None or case.own != index or case.now >= held.not_after:
        return ""
    tried = [a for a in case.history.attempts if a.subject == case.subject]
    refused = any("already-replaced" in a.code for a in tried[-_HEEDED:])
    return "" if refused else held.ari


def _braked(case: _Case, until: datetime, sentence: str, loudness: int) -> Plan:
    held = case.held
    reason = Reason.JUST_OBTAINED
    why = "the authority gave one a short time ago and counts them: the next is asked for by itself"
    if held is not None and held.obtained is not None and held.obtained >= held.life.with_left(3):
        reason = Reason.CLOCK
        why = "it was so when it came: set this machine's clock, or the authority's is wrong; the next try is"
        loudness = max(loudness, 2)
    at = min(until, _next_rise(case) or until)
    told = f"{sentence}, but {why} at {_day(until)} (sooner: sealgate cert renew)"
    return Plan(Act.WAIT, case.own or 0, at, reason, told, loudness)


def _next_rise(case: _Case) -> datetime | None:
    return case.life.next_rise(case.clock) if case.life else None


def _backed_off(
    case: _Case, rows: Sequence[Row], eligible: Sequence[int], sentence: str, loudness: int
) -> Plan:
    index = min(eligible, key=lambda i: rows[i].free_at or case.clock)
    last, free_at = rows[index].last, rows[index].free_at or case.clock
    why = f" ({printable(last.code)}: {printable(last.sentence)})" if last and last.code else ""
    told = f"{sentence}; {sum(r.failures for r in rows)} tries failed{why}, the next is at {_day(free_at)}"
    at = min(free_at, _next_rise(case) or free_at)
    return Plan(Act.WAIT, index, at, Reason.BACKOFF, told, loudness)
