"""When to start a child again: at once after a long life, later and later after short ones. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff"]

_FIRST, _LONGEST, _HEALTHY = 0.1, 10.0, 30.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often in a row a child ended soon after its start."""

    failures: int = 0

    def ended(self, lived: float) -> tuple[Backoff, float]:
        """A child ended after `lived` seconds: the next state, and the seconds to wait before another start.

        0.1 s, doubled each time, at most 10 s; a life of 30 s makes all good again.
        """
        failures = 1 if lived >= _HEALTHY else self.failures + 1
        return Backoff(failures), min(_LONGEST, _FIRST * 2 ** min(failures - 1, 20))
