"""What was tried for a site, with whom and how it went: ``<state>/acme/<site>/history.json``.

The history is what keeps us from asking an authority too often, so it is written before an attempt
(``begun``) and after it: who is killed in between finds an attempt that failed. It is bounded, and the last
certificate of each wish that was obtained is not forgotten: it tells whose the one in ``live/`` is. A file
that cannot be understood counts as empty, with a note; a renewal then happens early rather than never.

Instants that lie ahead of the present were written by a clock that was wrong. :func:`noted` moves them to the
present, with what hangs on them, so that nobody waits for a year that is not coming.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from sealgate._system.files import private_directory, write_atomic
from sealgate.acme.ari import Window
from sealgate.acme.order import Wanted
from sealgate.errors import SealgateError
from sealgate.pki.state import State, site_directory
from sealgate.policy.quoting import printable

__all__ = [
    "Attempt",
    "History",
    "Outcome",
    "failed",
    "history_path",
    "load",
    "noted",
    "origin",
    "save",
    "subject_of",
]

KEPT = 100
_LARGEST = 512 * 1024
_LONGEST = 300
_VERSION = 1
_ACTION = frozenset({"acme-action-required", "acme-external-account-required"})
"""Errors that no further try mends: a person must do something."""


class Outcome(StrEnum):
    """How an attempt went."""

    BEGUN = "begun"
    OBTAINED = "obtained"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to get a certificate.

    Attributes:
        at: when it ended; of one that is ``begun``, when it began.
        authority: address of the directory.
        subject: what was asked for, see :func:`subject_of`.
        code: of a failure's error (``acme-rate-limited``).
        sentence: the failure's fact, for people; escaped and shortened by :func:`noted`.
        retry_at: the authority's own word on when to try again.
        action: it waits for a person (terms to agree to, an account to be mended).
        certificate: of what was obtained: SHA-256 of its DER, lower-case hex.
        profile: that was asked for.
    """

    at: datetime
    authority: str
    subject: str
    outcome: Outcome
    code: str = ""
    sentence: str = ""
    retry_at: datetime | None = None
    action: bool = False
    certificate: str = ""
    profile: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """Attempts, the oldest first, and the authority's last word on the certificate's window.

    Both certificates of a site with two are in it: an authority counts what it is asked for either. Each has
    a window of its own.

    ``note`` is set where a file could not be read, or not as a whole: for the log, once.
    """

    attempts: tuple[Attempt, ...] = ()
    window: Window | None = None
    note: str = ""
    second_window: Window | None = None

    def window_of(self, index: int) -> Window | None:
        """Of one of the site's certificates."""
        return self.second_window if index else self.window

    def with_window(self, index: int, window: Window) -> History:
        """The authority's word on one of the site's certificates."""
        return replace(self, second_window=window) if index else replace(self, window=window)


@functools.lru_cache(maxsize=64)
def subject_of(wanted: Wanted) -> str:
    """Tells one wish from another: a policy that was mended does not wait for the failures before."""
    text = "\n".join([*sorted(name.lower() for name in wanted.names), wanted.key_type, wanted.challenge])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def failed(error: SealgateError, *, at: datetime, authority: str, subject: str, profile: str = "") -> Attempt:
    """What an error of an attempt is in the history."""
    told = error.details.get("retry_at")
    try:
        retry_at = _date(told) if told else None
    except ValueError:
        retry_at = None
    return Attempt(
        at=at,
        authority=authority,
        subject=subject,
        outcome=Outcome.FAILED,
        code=error.code,
        sentence=error.fact,
        retry_at=retry_at,
        action=error.code in _ACTION,
        profile=profile,
    )


def origin(history: History, fingerprint: str) -> Attempt | None:
    """The attempt that brought the certificate, by its SHA-256."""
    found = (a for a in reversed(history.attempts) if a.certificate == fingerprint)
    return next(found, None) if fingerprint else None


# Adding


def noted(history: History, attempt: Attempt) -> History:
    """The history with one attempt more; it takes the place of its own ``begun``.

    ``attempt.at`` is the present: what lies ahead of it is moved there.
    """
    before = [_settled(known, attempt.at) for known in history.attempts]
    last = before[-1] if before else None
    ends = attempt.outcome is not Outcome.BEGUN
    if ends and last and last.outcome is Outcome.BEGUN and _whose(last) == _whose(attempt):
        before.pop()
    short = replace(attempt, sentence=printable(attempt.sentence[:_LONGEST]), code=attempt.code[:_LONGEST])
    return replace(history, attempts=_trimmed([*before, short]))


def _whose(attempt: Attempt) -> tuple[str, str]:
    return attempt.authority, attempt.subject


def _settled(attempt: Attempt, now: datetime) -> Attempt:
    if attempt.at <= now:
        return attempt
    retry_at = attempt.retry_at
    return replace(
        attempt, at=now, retry_at=_moved(retry_at, now - attempt.at) if retry_at is not None else None
    )


def _moved(instant: datetime, by: timedelta) -> datetime | None:
    try:
        return instant + by
    except OverflowError:
        return None


def _trimmed(attempts: list[Attempt]) -> tuple[Attempt, ...]:
    """The last hundred, and before them the last two that brought something, for each of two wishes."""
    recent, kept = attempts[-KEPT + 2 :], list[Attempt]()
    for one in reversed([a for a in attempts[: -KEPT + 2] if a.outcome is Outcome.OBTAINED]):
        subjects = [a.subject for a in kept]
        if subjects.count(one.subject) < 2 and len({*subjects, one.subject}) <= 2:
            kept.append(one)
    return (*reversed(kept), *recent)


# Keeping


def history_path(state: State, site: str) -> Path:
    """The site's file; ``site`` is its first name."""
    return state.path / "acme" / site_directory(site) / "history.json"


def save(path: Path, history: History) -> None:
    """Write it, 0600, in one step.

    Raises:
        StateError: it cannot be written; the attempt counts all the same: keep it in memory.
    """
    private_directory(path.parent.parent)
    private_directory(path.parent)
    data = {
        "version": _VERSION,
        "window": _plain(history.window) if history.window else None,
        **({"second_window": _plain(history.second_window)} if history.second_window else {}),
        "attempts": [_plain(attempt) for attempt in history.attempts],
    }
    write_atomic(path, json.dumps(data, indent=1).encode() + b"\n", mode=0o600)


def _plain(value: Attempt | Window) -> dict[str, object]:
    """Only what is set."""
    fields = {name: getattr(value, name) for name in type(value).__slots__}
    return {
        name: field.isoformat() if isinstance(field, datetime) else field
        for name, field in fields.items()
        if field not in (None, "", False)
    }


def load(path: Path) -> History:
    """Read it; a file that is not there is an empty history, one that makes no sense too, with a note."""
    try:
        body = _bytes(path)
    except FileNotFoundError:
        return History()
    except (OSError, ValueError) as error:
        return _empty(path, error)
    try:
        return _parsed(body)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        return _empty(path, error)


def _empty(path: Path, error: Exception) -> History:
    reason = printable(str(error)[:_LONGEST]) or type(error).__name__
    return History(note=f"{path} counts as empty: {reason}")


def _bytes(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is no regular file")
        if facts.st_uid not in {0, os.geteuid()} or facts.st_mode & 0o022:
            raise ValueError("others may have written it")
        body = file.read(_LARGEST + 1)
    if len(body) > _LARGEST:
        raise ValueError("it is larger than 512 KiB")
    return body


def _parsed(body: bytes) -> History:
    data = json.loads(body)
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise ValueError("it is of another form")
    attempts = data.get("attempts")
    if not isinstance(attempts, list):
        raise ValueError("it has no attempts")
    window, second = data.get("window"), data.get("second_window")
    return History(
        attempts=_trimmed([_attempt(item) for item in attempts]),
        window=_window(window) if window is not None else None,
        second_window=_window(second) if second is not None else None,
    )


def _attempt(item: Mapping[str, Any]) -> Attempt:
    return Attempt(
        at=_date(item["at"]),
        outcome=Outcome(item["outcome"]),
        retry_at=_date(item["retry_at"]) if "retry_at" in item else None,
        action=item.get("action", False) is True,
        **_texts(item, ("authority", "subject", "code", "sentence", "certificate", "profile")),
    )


def _window(item: Mapping[str, Any]) -> Window:
    start, end = (_date(item[name]) if name in item else None for name in ("start", "end"))
    if (start is None) != (end is None) or (start and end and end <= start):
        raise ValueError("its window has no two ends")
    texts = _texts(item, ("certificate", "explanation", "note"))
    return Window(texts["certificate"], _date(item["again"]), start, end, texts["explanation"], texts["note"])


def _texts(item: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    if not isinstance(item, dict):
        raise ValueError("a table is none")
    return {name: printable(_text(item.get(name, ""))) for name in names}


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 8 * _LONGEST:
        raise ValueError("a text is none, or too long")
    return value


def _date(value: object) -> datetime:
    date = datetime.fromisoformat(_text(value))
    if date.tzinfo is None or not 1970 <= date.year <= 9000:
        raise ValueError("a date without its zone, or out of time")
    return date.astimezone(UTC)
