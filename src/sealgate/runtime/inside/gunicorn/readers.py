"""Readers that take their answers slowly: how much is kept for them, how many are waited for, who goes.

Theory: an answer that is ready costs nothing but memory, so up to `patience` bytes of each are kept and the
thread goes on. Beyond that it waits, without a turn (``turns.py``). Waiting threads cost too, so there
are bounds on their number and on the bytes that they hold. Past them the slowest reader goes, not the newest:
else a few who never read would decide that nobody else may. What is slow is seen over the whole answer, so a
byte now and then buys no time. As many as there are turns are always waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["LEAST", "PATIENCE", "Reader", "Readers"]

PATIENCE = 512 * 1024
"""Bytes of an answer, unsent, before its thread waits."""

LEAST = 32 * 1024
"""The same where memory for all of them together is short."""

_TOGETHER = 64 * 1024 * 1024
_MOST_WAITING = 512
_MOST_HELD = 256 * 1024 * 1024
_SAID_EVERY = 60.0


class Reader(Protocol):
    """A connection with an answer under way.

    Attributes:
        taken: bytes of it that the client's side took.
        answering: when its first byte was ready, monotonic.
    """

    taken: int
    answering: float

    def abort(self) -> None:
        """End it."""


class Readers:
    """Those of one process.

    Args:
        always: how many may be waited for in any case.
        say: tells the operator.

    Attributes:
        patience: bytes kept for each reader, now.
    """

    def __init__(self, always: int, say: Callable[[str], None]) -> None:
        self._always, self._say = always, say
        self._lock = threading.Lock()
        self._waiting: dict[Reader, int] = {}
        self._said = 0.0
        self.patience = PATIENCE

    def measure(self, unsent: Iterable[int]) -> None:
        """How much is kept for all of them."""
        self.patience = PATIENCE if sum(unsent) < _TOGETHER else LEAST

    @contextmanager
    def waiting(self, reader: Reader, held: int) -> Iterator[None]:
        """A thread waits for this one, holding so many bytes; another may have to go for it."""
        with self._lock:
            self._waiting[reader] = held
            slowest = self._one_too_many(time.monotonic())
        if slowest is not None:
            slowest.abort()
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(reader, None)

    def _one_too_many(self, now: float) -> Reader | None:
        count, held = len(self._waiting), sum(self._waiting.values())
        if count <= self._always or (count <= _MOST_WAITING and held <= _MOST_HELD):
            return None
        slowest = min(self._waiting, key=lambda reader: reader.taken / max(now - reader.answering, 1.0))
        del self._waiting[slowest]
        if now - self._said > _SAID_EVERY:
            self._said = now
            self._say(f"{count} clients read too slowly; the slowest are cut off (timeouts.idle ends others)")
        return slowest
