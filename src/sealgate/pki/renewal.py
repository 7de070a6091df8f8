"""When is a certificate due? Pure: facts and the time in, a decision with its reason out."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["Decision", "Held", "Reason", "Wanted", "decide", "due_at"]

_SHORT = timedelta(days=10)


class Reason(enum.Enum):
    """Stable names of why a certificate is due, or is not."""

    FRESH = "fresh"
    MISSING = "missing"
    FORCED = "forced"
    EXPIRED = "expired"
    TIME = "time"
    NAMES = "names"
    KEY_TYPE = "key-type"
    AUTHORITY = "authority"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Held:
    """The certificate there is."""

    not_before: datetime
    not_after: datetime
    names: frozenset[str]
    key_type: str
    issuer: str
    """Any text that tells one issuing key from another."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the policy asks for."""

    names: frozenset[str]
    key_type: str
    issuer: str


@dataclass(frozen=True, slots=True)
class Decision:
    """``due``: get another one now. ``at``: when time alone makes it due."""

    due: bool
    reason: Reason
    sentence: str
    at: datetime | None = None


def due_at(not_before: datetime, not_after: datetime) -> datetime:
    """When a certificate should be renewed: at 2/3 of its life, at half of one shorter than ten days."""
    life = not_after - not_before
    return not_before + (life / 2 if life < _SHORT else life * 2 / 3)


def decide(held: Held | None, wanted: Wanted, *, now: datetime, force: bool = False) -> Decision:
    """Is another certificate due?

    A clock before notBefore is a decision of its own (:attr:`Reason.CLOCK`, not due): a new certificate would
    be made with that same wrong clock.
    """
    if held is None:
        return Decision(due=True, reason=Reason.MISSING, sentence="there is no certificate yet")
    at = due_at(held.not_before, held.not_after)
    if now < held.not_before:
        begins = f"{held.not_before:%Y-%m-%d %H:%M} UTC"
        sentence = f"the clock says {now:%Y-%m-%d %H:%M} UTC, but the certificate begins at {begins}"
        return Decision(due=False, reason=Reason.CLOCK, sentence=sentence, at=at)
    for reason, sentence in _grounds(held, wanted, now, at, force=force):
        return Decision(due=True, reason=reason, sentence=sentence, at=at)
    return Decision(
        due=False, reason=Reason.FRESH, sentence=f"it is good until {at:%Y-%m-%d %H:%M} UTC", at=at
    )


def _grounds(
    held: Held, wanted: Wanted, now: datetime, at: datetime, *, force: bool
) -> list[tuple[Reason, str]]:
    """Every ground for another certificate, the weightiest first."""
    missing, extra = sorted(wanted.names - held.names), sorted(held.names - wanted.names)
    grounds = (
        (now > held.not_after, Reason.EXPIRED, f"it ended at {held.not_after:%Y-%m-%d %H:%M} UTC"),
        (bool(missing), Reason.NAMES, f"it lacks {', '.join(missing)}"),
        (bool(extra), Reason.NAMES, f"it has {', '.join(extra)}, which the policy no longer names"),
        (held.issuer != wanted.issuer, Reason.AUTHORITY, "its authority was replaced"),
        (
            held.key_type != wanted.key_type,
            Reason.KEY_TYPE,
            f"the policy asks for a key of type {wanted.key_type}",
        ),
        (
            now >= at,
            Reason.TIME,
            f"it was due at {at:%Y-%m-%d %H:%M} UTC and ends at {held.not_after:%Y-%m-%d %H:%M} UTC",
        ),
        (force, Reason.FORCED, "it was asked for"),
    )
    return [(reason, sentence) for holds, reason, sentence in grounds if holds]
