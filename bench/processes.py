"""Start, measure and stop all the processes of one server.

CPU time comes from each process's CPU clock (clock_getcpuclockid(3)): nanoseconds, all of its
threads, the ended ones too, where /proc/<pid>/stat counts in hundredths of a second.
Memory is PSS (proc_pid_smaps_rollup(5)): pages that processes share are counted once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.machine import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Command", "Group", "core_busy", "spent"]

_PROC = Path("/proc")
_STOP_SECONDS = 15.0
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Command:
    """One program of a server: its arguments, where it starts, what it adds to the environment."""

    argv: tuple[str, ...]
    cwd: Path | None = None
    env: dict[str, str] = field(default_factory=dict)


class Group:
    """The running programs of one server, and all of their children."""

    def __init__(self, commands: tuple[Command, ...], *, core: int | None, logs: Path) -> None:
        """Start every command on ``core`` (None: on any); output goes to ``logs/<n>.out``."""
        self.started = time.monotonic()
        self._logs = logs
        self._roots: list[subprocess.Popen[bytes]] = []
        try:
            for number, command in enumerate(commands):
                self._roots.append(_start(command, core, logs / f"{number}.out"))
        except BaseException:
            self.stop()
            raise

    def pids(self) -> tuple[int, ...]:
        """Every live process of the group."""
        return _descendants({root.pid for root in self._roots})

    def check_alive(self) -> None:
        """Raise BenchError, with the last words, if a program of the group has ended."""
        for number, root in enumerate(self._roots):
            if root.poll() is not None:
                said = (self._logs / f"{number}.out").read_text(errors="replace")[-1500:]
                raise BenchError(f"{root.args!r} ended with {root.returncode}; it said: {said}")

    def wait_for(self, ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Until it is, or raise BenchError: it has ended, or is not within the time."""
        end = time.monotonic() + seconds
        while not ready():
            self.check_alive()
            if time.monotonic() > end:
                raise BenchError(f"it was not ready within {seconds:.0f} s")
            time.sleep(0.02)

    def cpu(self) -> dict[int, float]:
        """Seconds of CPU used so far, by process."""
        return {pid: _cpu_seconds(pid) for pid in self.pids()}

    @property
    def roots(self) -> tuple[int, ...]:
        """The processes that were started, in order."""
        return tuple(root.pid for root in self._roots)

    def memory_of(self, pid: int) -> int:
        """PSS of one, in bytes; 0 where it has ended."""
        return _pss(pid)

    def memory(self) -> int:
        """PSS of all processes together, in bytes."""
        return sum(_pss(pid) for pid in self.pids())

    def stop(self) -> None:
        """Ask with SIGTERM, wait, then end what is left."""
        everyone = {pid: _birth(pid) for pid in self.pids()}
        for root in self._roots:
            root.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for root in self._roots:
            with contextlib.suppress(subprocess.TimeoutExpired):
                root.wait(max(0.1, deadline - time.monotonic()))
        for pid, birth in everyone.items():
            # A pid may be another process's by now: the time it was born tells.
            if birth is not None and _birth(pid) == birth:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for root in self._roots:
            root.wait()
        deadline = time.monotonic() + _KILL_SECONDS
        while any(birth and _birth(pid) == birth for pid, birth in everyone.items()):
            if time.monotonic() > deadline:
                raise BenchError("a killed server process has not ended")
            time.sleep(0.005)


def core_busy(core: int) -> float:
    """Seconds that a core has been busy since boot, whoever used it (USER_HZ resolution)."""
    for line in (_PROC / "stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(tick) for tick in ticks[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    raise BenchError(f"/proc/stat has no cpu{core}")


def _start(command: Command, core: int | None, output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as sink:
        return subprocess.Popen(
            [*(("taskset", "-c", str(core)) if core is not None else ()), *command.argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=command.cwd,
            env={**os.environ, **command.env},
            start_new_session=True,  # a Ctrl-C at the bench is the bench's to handle
        )


def _descendants(roots: set[int]) -> tuple[int, ...]:
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                children.setdefault(_parent(entry), []).append(int(entry.name))
    found: list[int] = []
    todo = [pid for pid in roots if (_PROC / str(pid)).exists()]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return tuple(sorted(found))


def _fields(process: Path) -> list[str]:
    """The fields of proc_pid_stat(5) after the command's name, which may hold blanks and brackets."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _parent(process: Path) -> int:
    return int(_fields(process)[1])


def _birth(pid: int) -> str | None:
    """When a process was born, in ticks since boot; None once it has ended, waited for or not."""
    try:
        fields = _fields(_PROC / str(pid))
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _cpu_seconds(pid: int) -> float:
    # clock_getcpuclockid(3): the complement of the pid, then CPUCLOCK_SCHED.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError as error:
        raise BenchError(f"process {pid} ended while it was measured") from error


def spent(pid: int) -> tuple[float, float]:
    """CPU seconds of a process, and of its ended children; 0, 0: it has ended itself."""
    try:
        ended = sum(int(ticks) for ticks in _fields(_PROC / str(pid))[13:15]) / os.sysconf("SC_CLK_TCK")
        return _cpu_seconds(pid), ended
    except (OSError, BenchError):
        return 0.0, 0.0


def _pss(pid: int) -> int:
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
