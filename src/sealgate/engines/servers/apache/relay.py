"""Passes on what Apache says: access log to standard output, errors as lines for people.

Two threads, because standard output may be slow: then Apache waits, never the keeper. Apache opens both pipes
by name (``/proc/self/fd/1``), which the kernel allows to their owner only.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from sealgate._system.pipes import gathered
from sealgate.engines.servers.apache.access_log import as_json

__all__ = ["Relay"]

_CHUNK = 1 << 16
_SERVES = b"AH00489:"  # "configured -- resuming normal operations": at the start and after each graceful one
# Before it has read its files, lines have the default form: time, module, pid.
_LINE = re.compile(rb"(?:\[[^\]]*\] )+(.*)")
# What a client did wrong, of which the access log has the status; who sends much of it writes no other log.
_CALLERS = (
    *(b"AH10244:", b"AH01095:", b"AH01091:", b"AH01084:", b"AH01097:", b"AH00126:", b"AH00127:", b"AH00128:"),
    *(b"AH02008:", b"AH02039:", b"AH02261:", b"AH02033:", b"AH01585:", b"AH01587:", b"AH01588:", b"AH01591:"),
)
# Starts and ends, the command line, and a variable that is mod_proxy's and not the configuration's.
_QUIET = (
    *_CALLERS,
    *(b"AH00489:", b"AH00490:", b"AH00491:", b"AH00492:", b"AH00493:", b"AH00094:"),
    b"AH03492:",
    b"AH00111: Config variable ${SEALGATE_WORKER}",
)


def _at_once(end: int) -> Iterator[bytes]:
    """Whatever comes, when it comes: the driver waits for some of it."""
    while piece := os.read(end, _CHUNK):
        yield piece


class Relay:
    """The reading ends of both pipes.

    Attributes:
        output, errors: writing ends, for the process to be started; closed by :meth:`began`.
        generations: how often Apache said that it serves.
    """

    def __init__(self, uid: int) -> None:
        out, self.output = os.pipe()
        err, self.errors = os.pipe()
        self.generations = 0
        self._log: list[str] = []
        self._threads = [
            threading.Thread(target=self._lines, args=(out, gathered, self._access), daemon=True),
            threading.Thread(target=self._lines, args=(err, _at_once, self._said), daemon=True),
        ]
        for end in (self.output, self.errors):
            if uid >= 0:
                os.fchown(end, uid, -1)

    def began(self) -> None:
        """The process has its ends."""
        os.close(self.output)
        os.close(self.errors)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """After the end of the process: wait for the rest."""
        for thread in self._threads:
            thread.join(2)

    @property
    def last(self) -> str:
        """The latest line, for error messages."""
        return self._log[-1] if self._log else "it does not say why"

    @staticmethod
    def _lines(end: int, pieces: Callable[[int], Iterable[bytes]], handle: Callable[[bytes], None]) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            for chunk in pieces(end):
                whole, newline, rest = (rest + chunk).rpartition(b"\n")
                if newline:
                    handle(whole + newline)
        if rest:
            handle(rest + b"\n")
        os.close(end)

    @staticmethod
    def _access(lines: bytes) -> None:
        sys.stdout.buffer.write(as_json(lines))
        sys.stdout.buffer.flush()

    def _said(self, lines: bytes) -> None:
        for line in lines.splitlines():
            match = _LINE.match(line)
            said = match[1] if match else line
            if said.startswith(_SERVES):
                self.generations += 1
            if not said or said.startswith(_QUIET):
                continue
            text = "".join(c if c.isprintable() else "?" for c in said.decode("utf-8", "replace"))[:500]
            self._log.append(text)
            del self._log[:-20]
            sys.stderr.write(f"sealgate: apache: {text}\n")
            sys.stderr.flush()
