"""One running Apache: its start, its signals, its children by generation.

On SIGUSR1 the parent tells its children to end when they are done, reads its files anew and starts others.
A child that serves a long stream may take its time, so whoever asked ends what is left after the drain time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sealgate._system.process import die_with_parent
from sealgate.engines.servers.apache.relay import Relay
from sealgate.errors import EngineRefused

__all__ = ["Apache", "children", "connections", "start"]

_START = 10.0
_POLL = 0.02
_END = 3.0
_LISTENING = 0x10000  # __SO_ACCEPTCON in /proc/net/unix


@dataclass(slots=True)
class Apache:
    """One process and its children; `relay` passes on what they say."""

    process: asyncio.subprocess.Process
    relay: Relay
    old: set[int] = field(default_factory=set)

    async def graceful(self) -> None:
        """Read the files anew; returns once the new generation serves.

        Raises:
            EngineRefused: `engine-refused`: it did not.
        """
        self.old = await asyncio.to_thread(children, self.process.pid)
        before = self.relay.generations
        self.process.send_signal(signal.SIGUSR1)
        await self.until_serving(before + 1)

    async def until_serving(self, generation: int) -> None:
        """Wait for Apache's word that it has read its files and serves."""
        end = asyncio.get_running_loop().time() + _START
        while asyncio.get_running_loop().time() < end:
            if self.relay.generations >= generation:
                return
            if self.process.returncode is not None:
                break
            await asyncio.sleep(_POLL)
        await asyncio.sleep(_POLL)  # what it said last may still be in the pipe
        ended = self.process.returncode is not None
        how = "ended" if ended else f"was not ready within {_START:.0f} s"
        raise EngineRefused(
            "engine-refused", f"Apache {how}: {self.relay.last}", "look at the lines before this one"
        )

    async def end_old(self, pids: Iterable[int], seconds: float) -> None:
        """Give children of an earlier generation so long, then end them."""
        left = set(pids)
        for number, wait in ((signal.SIGTERM, seconds), (signal.SIGKILL, _END)):
            end = asyncio.get_running_loop().time() + wait
            while left and asyncio.get_running_loop().time() < end:
                await asyncio.sleep(min(0.25, wait))
                left &= await asyncio.to_thread(children, self.process.pid)
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    async def drain(self, seconds: float) -> bool:
        """Accept no more, and wait until all that is under way is done; false if it was not in time."""
        if self.process.returncode is not None:
            return True
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGWINCH)
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def end(self) -> None:
        """End the process and whatever children it left."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), _END)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        await asyncio.to_thread(self.relay.close)


async def start(
    command: list[str], state: Path, *, uid: int, prepare: Callable[[], None], environ: dict[str, str]
) -> Apache:
    """Start Apache and wait until it serves.

    Args:
        command: program and arguments.
        state: its working directory.
        uid: who may open the pipes of its output by name; -1: the keeper's own.
        prepare: run in the child before exec.
        environ: its whole environment.

    Raises:
        EngineRefused: `engine-refused`.
    """

    def prepared() -> None:
        parent = os.getppid()
        prepare()
        # Not SIGKILL, which would leave its children serving: they are told by the parent.
        die_with_parent(parent, signal.SIGTERM)

    relay = Relay(uid)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=state,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=relay.output,
            stderr=relay.errors,
            preexec_fn=prepared,
        )
    finally:
        relay.began()
    apache = Apache(process, relay)
    try:
        await apache.until_serving(1)
    except BaseException:
        await apache.end()
        raise
    return apache


def children(parent: int) -> set[int]:
    """Pids of the processes whose parent it is."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.add(int(entry.name))
    return found


def connections(table: str, socket: str) -> int:
    """How many connections there are to a unix socket, accepted or not (the text of ``/proc/net/unix``).

    The name of a worker's socket is random, so its last part tells it from all others.
    """
    name = "/" + socket.rpartition("/")[2]
    lines = (line.split(maxsplit=7) for line in table.splitlines() if line.endswith(name))
    return sum(1 for fields in lines if len(fields) > 7 and not int(fields[3], 16) & _LISTENING)
