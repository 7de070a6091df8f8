"""Plain HTTP beside a Gunicorn that nobody of ours watches: its process is started again when it ends.

An arbiter reaps every child and has no hook for one that is not its worker, so it is looked at in the
arbiter's own round, about once a second. What ends again and again is started less and less often, and each
end is a line in Gunicorn's error log: HTTPS goes on meanwhile, and the listeners stay, so that clients wait
for a while and are not refused.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from sealgate.engines.redirect import Redirect, command
from sealgate.runtime.inside.budget import Budget

__all__ = ["Beside"]

_FIRST, _LONGEST, _STEADY = 0.5, 30.0, 60.0

Say = Callable[..., None]


def _started(orders: Redirect) -> subprocess.Popen[bytes]:
    """A process with these orders. Raises OSError: there is none."""
    process = subprocess.Popen(command(sys.executable), stdin=subprocess.PIPE, pass_fds=orders.descriptors)
    assert process.stdin is not None  # noqa: S101 - asked for
    with contextlib.suppress(OSError):  # it has ended already: the next round tells
        process.stdin.write(orders.to_json().encode())
        process.stdin.close()
    return process


class Beside:
    """The process, or none.

    Args:
        start: makes one; raises OSError.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        start: Callable[[Redirect], subprocess.Popen[bytes]] = _started,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start, self._clock = start, clock
        self._orders: Redirect | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._due = 0.0
        self._ends = 0

    def begin(self, orders: Redirect, say: Say) -> None:
        """Start one by these orders; the one before ends when it has finished what it has."""
        old, self._process = self._process, None
        self._orders, self._ends = orders, 0
        self._try(say)
        if old is not None:
            old.terminate()

    def end(self) -> None:
        """No more of it."""
        old, self._process, self._orders = self._process, None, None
        if old is not None:
            old.terminate()

    def keep(self, server: Any) -> None:  # noqa: ANN401 - Gunicorn's arbiter
        """Look after it in the arbiter's round from now on."""
        if "manage_workers" in vars(server):
            return
        original: Callable[[], None] = server.manage_workers

        def manage_workers() -> None:
            self.look(server.log.error)
            original()

        server.manage_workers = manage_workers

    def leave(self, server: Any) -> None:  # noqa: ANN401 - same
        """The arbiter's round as it was."""
        vars(server).pop("manage_workers", None)

    def look(self, say: Say) -> None:
        """Is it there; if not, and it is time: another one."""
        if self._orders is None:
            return
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._process = None
            if self._orders.budget >= 0:  # what it had counted is no more
                Budget(0, fd=self._orders.budget).clear(self._orders.place)
            self._failed(say, "ended")
        elif self._clock() >= self._due:
            self._try(say)

    def _try(self, say: Say) -> None:
        assert self._orders is not None  # noqa: S101 - both callers looked
        self._began = self._clock()
        try:
            self._process = self._start(self._orders)
        except OSError as error:
            self._failed(say, f"could not be started ({error.strerror})")

    def _failed(self, say: Say, what: str) -> None:
        now = self._clock()
        self._ends = 0 if now - self._began > _STEADY else self._ends + 1
        wait = min(_LONGEST, _FIRST * 2.0 ** max(0, self._ends - 1))
        self._due = now + wait
        say("sealgate: the process for plain HTTP %s; another one in %g s, HTTPS goes on", what, wait)
