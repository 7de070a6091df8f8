"""The access log of servers that write none of their own: one JSON object a line, on standard output.

ASCII only, so no text of a client can break a line or a terminal; no query string and no field but Host and
User-Agent, so no secret. A thread writes, in whole lines of at most PIPE_BUF bytes: a reader that has stopped
reading holds up no request, and lines of several processes do not mix (pipe(7)). What a stopped reader would
make grow without end is left out, and its number said.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from collections.abc import Mapping

__all__ = ["Journal"]

_PIPE_BUF = 4096
_MOST = 20_000
_EVERY = 0.2
_LONGEST = 512


class Journal:
    """Writes to a descriptor."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._some = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, event: Mapping[str, object]) -> None:
        """One line; empty values and None are left out."""
        self.add(_line(event))

    def add(self, line: bytes) -> None:
        """One line that is JSON in ASCII already, and not longer than PIPE_BUF."""
        if len(self._lines) >= _MOST:
            self._lost += 1
            return
        self._lines.append(line)
        if not self._some.is_set():
            self._some.set()
            if self._thread is None:  # not before fork(2), which would leave it behind
                self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
                self._thread.start()

    def close(self, seconds: float = 2.0) -> None:
        """Write what is there; a reader that does not read is waited for so long."""
        self._closed.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._some.wait()
            self._closed.wait(_EVERY)  # more lines, fewer calls
            self._some.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        piece = b""
        while self._lines:
            line = self._lines.popleft()
            if len(piece) + len(line) > _PIPE_BUF:
                self._write(piece)
                piece = b""
            piece += line
        if self._lost:
            lost, self._lost = self._lost, 0
            piece += _line({"event": "lines-lost", "status": 0, "lines": lost})
        self._write(piece)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody is there who could be told
            while data:
                data = data[os.write(self._fd, data) :]


def _line(event: Mapping[str, object]) -> bytes:
    known = {key: value for key, value in event.items() if value not in ("", None)}
    line = json.dumps(known)
    if len(line) >= _PIPE_BUF:  # what clients choose, at its worst six bytes for one
        line = json.dumps({k: v[:_LONGEST] if isinstance(v, str) else v for k, v in known.items()})
    if len(line) >= _PIPE_BUF:
        line = json.dumps({k: v[: _LONGEST // 8] if isinstance(v, str) else v for k, v in known.items()})
    return line.encode("ascii") + b"\n"
