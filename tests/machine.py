"""Did the machine itself stand still? Then a test that counts seconds has measured the machine.

A virtual machine is stopped by its host, sometimes for more than a second, and a timeout of one second
strikes in the middle of a handshake. A small process beside the tests notes when it woke late, and the kernel
counts the time that others took ("steal", proc(5)). A test that fails while neither happened has failed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["LATE_SECONDS", "STOLEN_SHARE", "Mark", "Watch"]

LATE_SECONDS = 0.3
"""How late a process that only sleeps must wake: at ten times the work that two cores can do it is 0.05."""
STOLEN_SHARE = 0.1
"""Of the processors' time between two looks."""

_SLEEPER = """
import select, sys, time
last = time.monotonic()
print(0, flush=True)  # it is awake
while not select.select([0], [], [], 0.05)[0]:  # the end of its input is the end of the tests
    now = time.monotonic()
    if now - last > {late}:
        print(now, flush=True)
    last = now
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: seconds of the monotonic clock, and the processors' ticks until then."""

    at: float
    stolen: int
    ticks: int

    @classmethod
    def now(cls) -> Self:
        with Path("/proc/stat").open(encoding="ascii") as stat:
            user, nice, system, idle, wait, irq, soft, stolen = map(int, stat.readline().split()[1:9])
        return cls(time.monotonic(), stolen, user + nice + system + idle + wait + irq + soft + stolen)


class Watch:
    """Looks at the machine until `close`."""

    def __init__(self) -> None:
        argv = [sys.executable, "-I", "-S", "-c", _SLEEPER.format(late=LATE_SECONDS)]
        self._sleeper = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._sleeper.stdout is not None
        os.set_blocking(self._sleeper.stdout.fileno(), False)
        self._woke = -1.0

    def stood_still_since(self, mark: Mark) -> bool:
        """The machine was stopped, or others took a good part of it."""
        now = Mark.now()
        stolen = (now.stolen - mark.stolen) / max(1, now.ticks - mark.ticks)
        return stolen > STOLEN_SHARE or self._last_late() > mark.at

    def awake(self) -> bool:
        """It looks by now."""
        return self._last_late() >= 0

    def _last_late(self) -> float:
        """When it last woke late; 0 for never."""
        assert self._sleeper.stdout is not None
        with contextlib.suppress(BlockingIOError):  # no news
            *_, last = os.read(self._sleeper.stdout.fileno(), 1 << 16).split()  # a line is written at once
            self._woke = float(last)
        return self._woke

    def close(self) -> None:
        assert self._sleeper.stdin is not None
        assert self._sleeper.stdout is not None
        self._sleeper.stdin.close()
        self._sleeper.wait(20)
        self._sleeper.stdout.close()
