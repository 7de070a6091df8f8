"""What becomes of the guard's word on a refusal: a log line with the time, and a count of its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sealgate._system.clock import system_clock
from sealgate.guard.log import Log, to_stderr

__all__ = ["counted_log", "log_denial"]


def counted_log(denied: Callable[[str], None]) -> Log:
    """:func:`log_denial`, which also tells the code to whoever counts (``engines/counts.py``)."""

    def log(event: Mapping[str, object]) -> None:
        denied(str(event["code"]))
        log_denial(event)

    return log


def log_denial(event: Mapping[str, object]) -> None:
    """One JSON line on standard error, its time written as the engines write it."""
    now = system_clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    to_stderr({"time": now, **event})
