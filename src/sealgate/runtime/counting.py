"""What engine and workers count, as sums that only grow while a keeper lives.

A server that was started anew begins at nothing; for who watches, it goes on where it was. Names and labels
are closed lists where they are made; here their number is bounded all the same, as the server makes some.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from sealgate.engines.contract import Counting
from sealgate.engines.counts import Counters, counters_of
from sealgate.errors import SealgateError

__all__ = ["Sums", "counters"]

_MOST = 400
_LONGEST = 64


@dataclass(slots=True)
class Sums:
    """Counters of an engine over its lives."""

    _before: dict[tuple[str, str], int] = field(default_factory=dict)
    _last: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, counters: Counters) -> None:
        """What it says now; a number that is less than before was begun anew."""
        now = {(name, label): value for name, label, value in counters}
        for key in (*self._last, *now):
            last, value = self._last.get(key), now.get(key, 0)
            if last is None:
                if len(self._last) >= _MOST or len(key[1]) > _LONGEST:
                    continue
            elif value < last:
                self._before[key] = self._before.get(key, 0) + last
            self._last[key] = value

    def counters(self) -> Counters:
        """All of them."""
        return tuple((*key, self._before.get(key, 0) + value) for key, value in self._last.items())


async def counters(driver: object, sums: Sums, workers: list[int], *, running: bool) -> Counters:
    """What engine and workers have counted; what the engine tells is not told again by workers.

    Args:
        driver: the engine's.
        sums: of the engine so far; taken further.
        workers: of those that are processes of the keeper's (`Pool.counted`).
        running: does the engine?
    """
    if running and isinstance(driver, Counting):
        # It is busy, or just ends: what it said last counts.
        with contextlib.suppress(SealgateError, ValueError):
            sums.add(await driver.counters())
    own = counters_of(workers, "worker_seconds") if workers else ()
    if isinstance(driver, Counting):
        own = tuple(one for one in own if one[0] != "requests")
    return sums.counters() + own
