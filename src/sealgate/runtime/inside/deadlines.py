"""When an HTTP/1.1 connection's time has run out, and the one timer that says so.

The timer is moved lazily: armed again only where the new deadline is earlier than the armed one, so that a
request that comes and goes quickly costs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from sealgate.engines.servers.uvicorn.settings import Settings

__all__ = ["BODY", "HEADER", "NONE", "Alarm", "Answering", "due"]

NONE, HEADER, BODY = 0, 1, 2
"""What is being received: nothing, a request's header, its body."""

_NEVER = float("inf")


class Answering(Protocol):
    """An exchange under way.

    Attributes:
        whole: when the request was complete; 0: it is not yet.
        response_started, response_complete: as uvicorn has them.
    """

    whole: float
    response_started: bool
    response_complete: bool


def due(
    stage: int, running: Answering | None, times: Settings, *, began: float, moved: float
) -> tuple[float, str]:
    """The next deadline, and the problem it would be; no problem: the connection just ends.

    Args:
        stage: what is being received.
        running: what is being answered.
        times: of the site.
        began: when the first byte of the request came.
        moved: when anything last moved.
    """
    end, slug = moved + times.idle, ""
    if running is not None and not running.response_complete and not running.response_started:
        end, slug = (running.whole + times.request, "app-timeout") if running.whole else (_NEVER, "")
    if stage == HEADER and began + times.header < end:
        end, slug = began + times.header, "request-timeout"
    elif stage == BODY and began + times.request < end:
        end, slug = began + times.request, "request-timeout"
    return end, slug


class Alarm:
    """One timer.

    Args:
        loop: whose clock counts.
        ring: called when it is time, or earlier: look again.
    """

    __slots__ = ("_at", "_handle", "_loop", "_ring")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._at = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def at(self, deadline: float) -> None:
        """Not later than this."""
        if self._handle is not None:
            if self._at <= deadline:
                return
            self._handle.cancel()
        self._at = deadline
        self._handle = self._loop.call_at(deadline, self._rings)

    def instead(self, seconds: float, last: Callable[[], None]) -> None:
        """Nothing else any more but this."""
        self.cancel()
        self._handle = self._loop.call_later(seconds, last)

    def cancel(self) -> None:
        """Not at all."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _rings(self) -> None:
        self._handle = None
        self._ring()
