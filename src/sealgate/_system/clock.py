"""The only place that reads the time of day.

Everything that judges dates takes a :data:`Clock`, so that tests and replays decide what time it is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["Clock", "system_clock"]

Clock = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""


def system_clock() -> datetime:
    """The machine's time of day, aware, in UTC."""
    return datetime.now(UTC)
