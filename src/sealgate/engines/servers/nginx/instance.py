"""The keeper's hand on nginx: files written and put back, workers linked, loads and drains watched.

Theory: to load its configuration anew, nginx starts new processes and has the old ones end: they accept no
more, finish what is under way, and close connections that are idle at that moment. A client that sends on one
just then loses its request. So renewals and workers that come and go need no load (`tls.py`, `backends.py`),
and before one that is needed clients are told: a file appears (`closing_flag`), and each answer of the old
processes over HTTP/1.1 says `Connection: close` from then on. A moment later whoever is busy has come again
or is about to. Connections that nobody used meanwhile are closed like any idle one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sealgate._system.files import private_directory, raise_flag, swap_link, write_atomic
from sealgate.engines.challenges import checked
from sealgate.engines.contract import Program
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.backends import slots
from sealgate.engines.servers.nginx.binary import built
from sealgate.engines.servers.nginx.process import Nginx, check, start
from sealgate.engines.servers.nginx.render import (
    CONFIGURATION,
    GENERATION,
    closing_flag,
    generation,
    render,
)
from sealgate.engines.servers.nginx.words import FOLDER, PLACE
from sealgate.errors import EngineRefused

__all__ = ["Instance"]

_DRAFT = "draft.conf"
_LOADED = 10.0
_POLL = 0.02
_TOLD = 0.3
"""Seconds in which clients that are busy learn that their connection ends: longer than most answers take."""


class Instance:
    """One site's nginx in one state directory.

    Args:
        state: the state directory.
        program: found and checked.
        prepare: run in the child before exec.
        uid: whom it becomes there; -1: nobody else.
    """

    def __init__(self, state: Path, program: Program, prepare: Callable[[], None], *, uid: int = -1) -> None:
        self._state = state
        self._folder = state / FOLDER
        self._program = program
        self._prepare = prepare
        self._uid = uid
        self._build = built(program.path)
        self._nginx: Nginx | None = None
        self._facts: RenderFacts | None = None
        self._files: dict[str, bytes] = {}
        self._loads = 0
        self._trust = b""
        self._slots = 0

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """The master."""
        return self._nginx.process if self._nginx else None

    @property
    def folder(self) -> Path:
        """The only directory that nginx writes to: bodies that do not fit into memory, and its pid."""
        return self._state / PLACE

    @property
    def reads(self) -> tuple[Path, ...]:
        """The program; it may be outside of what is the system's."""
        return (self._program.path,)

    @property
    def running(self) -> bool:
        """Is it there?"""
        return self._nginx is not None and self._nginx.process.returncode is None

    async def start(self, facts: RenderFacts) -> None:
        """Write the files and start.

        Raises:
            EngineRefused: `engine-refused`.
        """
        self._make_place()
        self._write(self._render(facts))
        self._link(facts)
        self._nginx = await start(self._program.path, self._state, self._prepare, uid=self._uid)
        self._facts, self._trust = facts, self._trusted(facts)

    def _make_place(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        if self._uid >= 0:
            os.chown(self.folder, self._uid, -1)

    def _render(self, facts: RenderFacts) -> dict[str, bytes]:
        return {**render(facts, self._build), GENERATION: generation(self._loads)}

    def needs_restart(self, facts: RenderFacts) -> str:  # noqa: ARG002 - the contract's signature
        """Nothing: a load takes up every key."""
        return ""

    async def apply(self, facts: RenderFacts) -> bool:
        """Have the running nginx load changed files; true if anything changed.

        Raises:
            EngineRefused: `engine-refused`; the files are then as they were.
        """
        if self._render(facts)[CONFIGURATION] == self._files[CONFIGURATION]:
            return False
        await self._load(facts)
        return True

    async def refresh(self) -> None:
        """The certificate is read at each handshake; who is trusted only at a load."""
        if self._facts is not None and self._trusted(self._facts) != self._trust:
            await self._load(self._facts)

    def _trusted(self, facts: RenderFacts) -> bytes:
        if facts.policy.clients.mode == "off":
            return b""
        digest = hashlib.sha256()
        for name in filter(None, (facts.trust, facts.lists)):
            with contextlib.suppress(OSError):
                digest.update((self._state / name).read_bytes())
        return digest.digest()

    async def _load(self, facts: RenderFacts) -> None:
        """Check, write, tell clients, load, see that it did; on an error put back what was there."""
        assert self._nginx is not None  # noqa: S101 - only called while running
        before, trust = dict(self._files), self._trusted(facts)
        wanted = {**self._render(facts), GENERATION: generation(self._loads + 1)}
        await self._checked(wanted[CONFIGURATION])
        self._write(wanted)
        self._slots = max(self._slots, slots(facts))
        self._link(facts)
        flag = self._state / closing_flag(self._loads)
        try:
            raise_flag(flag)
            await asyncio.sleep(_TOLD)
            await self._taken_up(self._nginx)
        except BaseException:
            self._write(before)
            flag.unlink(missing_ok=True)
            raise
        for old in range(max(0, self._loads - 4)):
            (self._state / closing_flag(old)).unlink(missing_ok=True)
        self._loads += 1
        self._facts, self._trust = facts, trust

    async def _checked(self, content: bytes) -> None:
        draft = self._folder / _DRAFT
        write_atomic(draft, content)
        try:
            said = await check(self._program.path, self._state, _DRAFT, self._prepare, uid=self._uid)
        finally:
            draft.unlink(missing_ok=True)
        if said:
            fact = f"nginx does not accept the new configuration: {said}"
            raise EngineRefused("engine-refused", fact, "report this")

    async def _taken_up(self, nginx: Nginx) -> None:
        """Send the signal; new processes serve, and the old ones are on their way out."""
        old = set(nginx.workers)
        said = len(nginx.log)
        nginx.process.send_signal(signal.SIGHUP)
        end = asyncio.get_running_loop().time() + _LOADED
        while asyncio.get_running_loop().time() < end and self.running:
            now = nginx.workers
            if now.keys() - old and all(now[pid] for pid in old & now.keys()):
                return
            await asyncio.sleep(_POLL)
        log = nginx.log[-1] if len(nginx.log) > said else "it does not say why"
        raise EngineRefused(
            "engine-refused", f"nginx did not take up the new configuration: {log}", "report this"
        )

    async def spread(self, facts: RenderFacts) -> None:
        """Lead the links to these workers: new connections go there at once."""
        self._link(facts)
        if self._facts is not None:  # `refresh` loads by them again, maybe days later
            self._facts = replace(self._facts, workers=facts.workers)

    def _link(self, facts: RenderFacts) -> None:
        """Each slot leads to a worker; the links come in turns where there are more of them."""
        if not facts.guarded:
            return
        folder = private_directory(private_directory(self._folder) / "app")
        serving = [worker.socket for worker in facts.workers if not worker.draining]
        self._slots = max(self._slots, slots(facts))
        for number in range(self._slots):
            link = folder / f"{number}.sock"
            if not serving:
                link.unlink(missing_ok=True)
                continue
            target = os.path.relpath(serving[number % len(serving)], f"{FOLDER}/app")
            if not (link.is_symlink() and os.readlink(link) == target):  # noqa: PTH115 - a text
                swap_link(link, target)

    async def challenge(self, facts: RenderFacts) -> None:
        """Nothing to do: the answers are files that it reads when asked."""
        checked(facts.challenges)

    async def until_idle(self, socket: str, seconds: float) -> bool:
        """Wait until no connection is left to a worker; false if some still were after `seconds`."""
        end = asyncio.get_running_loop().time() + seconds
        while self.running:
            if not await asyncio.to_thread(_connections, socket):
                return True
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(_POLL)
        return True

    async def drain(self, seconds: float) -> bool:
        """Accept no more; true if all that was under way came to its end in time."""
        if self._nginx is None or not self.running:
            return True
        with contextlib.suppress(OSError):
            raise_flag(self._state / closing_flag(self._loads))
        await asyncio.sleep(min(_TOLD, seconds))
        with contextlib.suppress(ProcessLookupError):
            self._nginx.process.send_signal(signal.SIGQUIT)
        try:
            await asyncio.wait_for(self._nginx.process.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """End the processes."""
        if self._nginx is not None:
            await self._nginx.end()
            self._nginx = None

    def remove(self) -> None:
        """After the last `stop`: leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, files: dict[str, bytes]) -> None:
        """Write what differs, keep what was there before."""
        private_directory(self._folder)
        previous = private_directory(self._folder / "previous")
        for name in sorted(files):
            if self._files.get(name) != files[name]:
                if name in self._files:
                    write_atomic(previous / name, self._files[name])
                write_atomic(self._folder / name, files[name])
        self._files = dict(files)


def _connections(socket: str) -> int:
    """Open connections to a unix socket of the state directory: as the kernel lists them, with its name."""
    name = "/" + socket.rpartition("/")[2]
    count = 0
    with Path("/proc/net/unix").open(encoding="utf-8", errors="replace") as table:
        for line in table:
            fields = line.split()
            listening = len(fields) > 3 and int(fields[3], 16) & 0x10000 if fields[0] != "Num" else 0
            if line.rstrip().endswith(name) and not listening:
                count += 1
    return count
