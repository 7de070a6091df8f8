"""Processes that carry this CI run's mark in their environment, apart from the caller and its ancestors.

Usage: ``leftovers.py MARK [--end]``. Prints one line per process; with ``--end`` also kills them, by pid.
Exit status: 0 none, 1 some. Names play no part, so a second run beside this one is never touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

_PROC = Path("/proc")
_PATIENCE = 5.0  # seconds that a process which was told to stop may take


def _parent(pid: int) -> int:
    """The parent of a process; 0 where it has none or is gone."""
    with contextlib.suppress(OSError):
        # The name in parentheses may hold anything, blanks and parentheses too: proc(5).
        return int((_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1])
    return 0


def _ancestors(pid: int) -> set[int]:
    line = set()
    while pid > 0:
        line.add(pid)
        pid = _parent(pid)
    return line


def marked(mark: str) -> dict[int, str]:
    """Pid and command line of every process whose environment holds ``mark``, ours and ancestors excepted."""
    found = {}
    own = _ancestors(os.getpid())
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal() or int(entry.name) in own:
            continue
        with contextlib.suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(entry.name)] = command.strip()
    return found


def main(arguments: list[str]) -> int:
    """Wait for marked processes to go; name those that do not."""
    mark = arguments[0]
    until = time.monotonic() + _PATIENCE
    while (found := marked(mark)) and time.monotonic() < until:
        time.sleep(0.1)
    for pid, command in found.items():
        print(f"{pid} {command}")
        if "--end" in arguments:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
