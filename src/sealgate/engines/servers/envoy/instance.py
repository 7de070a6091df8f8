"""Envoy as the keeper drives it: files written and put back, workers announced, drains watched."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from sealgate._system.files import private_directory, write_atomic
from sealgate.engines.contract import Program
from sealgate.engines.counts import Counters
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.admin import AdminSocket
from sealgate.engines.servers.envoy.clusters import APP, APP_UPGRADES
from sealgate.engines.servers.envoy.counters import LATENCY, PATTERN, counted, timed
from sealgate.engines.servers.envoy.facts import FOLDER
from sealgate.engines.servers.envoy.listeners import PLAIN_ROUTES
from sealgate.engines.servers.envoy.process import Envoy, default_environment, start
from sealgate.engines.servers.envoy.render import render, render_endpoints
from sealgate.errors import EngineError, EngineRefused

__all__ = ["Instance"]

_ACCEPT = 5.0
_POLL = 0.02
_ROUTES = "http.http.rds.http"
_SUBSCRIPTIONS = (
    r"^(listener_manager\.lds|cluster_manager\.cds|http\.http\.rds\.http)\."
    r"(update_success|update_rejected|update_attempt)$"
)
_WARMING = "listener_manager.total_listeners_warming"


class Instance:
    """One site's Envoy in one state directory.

    Args:
        state: the state directory.
        program: a verified one.
        prepare: run in the child before exec.
        uid: whom it becomes there; -1: nobody else.
    """

    def __init__(self, state: Path, program: Program, prepare: Callable[[], None], *, uid: int = -1) -> None:
        self._state = state
        self._folder = state / FOLDER
        self._program = program
        self._prepare = prepare
        self._envoy: Envoy | None = None
        self._started: RenderFacts | None = None
        self._admin = AdminSocket(state / "run", uid)
        self._files: dict[str, bytes] = {}

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """The running process."""
        return self._envoy.process if self._envoy else None

    @property
    def folder(self) -> Path:
        """The only directory that Envoy writes to: its admin socket is there."""
        return self._admin.folder

    @property
    def reads(self) -> tuple[Path, ...]:
        """The program; it is outside of what is the system's where pip installed it."""
        return (self._program.path,)

    @property
    def running(self) -> bool:
        """Is it there?"""
        return self._envoy is not None and self._envoy.process.returncode is None

    async def start(self, facts: RenderFacts) -> None:
        """Write the files and start.

        Raises:
            EngineRefused: `envoy-refused`.
        """
        self._started = facts
        self._write(self._render(facts))
        self._envoy = await start(
            self._program.path,
            self._state,
            self._admin,
            concurrency=facts.concurrency,
            drain=facts.policy.timeouts.drain,
            prepare=self._prepare,
            environ=default_environment(),
        )
        await self._until_listening(facts)

    async def _until_listening(self, facts: RenderFacts) -> None:
        """A bad listener file leaves Envoy running without listeners: it must be seen that they are there."""
        assert self._envoy is not None  # noqa: S101 - just started
        listen = facts.policy.listen
        wanted = len(listen.https) * (2 if listen.http3 else 1) + len(listen.http)
        end = asyncio.get_running_loop().time() + _ACCEPT
        while asyncio.get_running_loop().time() < end:
            stats = await asyncio.to_thread(self._envoy.admin.stats, r"^listener_manager\.")
            if stats.get("listener_manager.lds.update_rejected", 0):
                break
            if stats.get("listener_manager.total_listeners_active", 0) >= wanted:
                return
            await asyncio.sleep(_POLL)
        log = self._envoy.log[-1] if self._envoy.log else "it does not say why"
        await self.stop()
        raise EngineRefused("envoy-refused", f"Envoy did not open its listeners: {log}", "report this")

    def _render(self, facts: RenderFacts) -> dict[str, bytes]:
        # The bootstrap is read once: what the machine is like by now counts from the next start on.
        memory = (self._started or facts).memory
        return render(replace(facts, admin_key=self._admin.key, memory=memory), self._seen(facts))

    def _seen(self, facts: RenderFacts) -> dict[str, str]:
        """The certificates that prove names, as they are now."""
        seen = {}
        for one in facts.challenges.tls_alpn:
            with contextlib.suppress(OSError):  # then Envoy says what is wrong with it
                seen[one.name] = hashlib.sha256((self._state / one.chain).read_bytes()).hexdigest()[:16]
        return seen

    def needs_restart(self, facts: RenderFacts) -> str:
        """The key whose change Envoy would take up only when started anew; empty: there is none."""
        started = self._started
        return (
            "timeouts.drain"
            if started and facts.policy.timeouts.drain != started.policy.timeouts.drain
            else ""
        )

    async def apply(self, facts: RenderFacts) -> bool:
        """Hand over changed files to the running Envoy; true if anything changed.

        Raises:
            EngineRefused: `envoy-refused`; the files are then as they were.
        """
        assert self._envoy is not None  # noqa: S101 - only called while running
        before, wanted = dict(self._files), self._render(facts)
        changed = {name for name in wanted if wanted[name] != before.get(name)}
        if not changed:
            return False
        counts = await asyncio.to_thread(self._envoy.admin.stats, _SUBSCRIPTIONS)
        self._write(wanted)
        try:
            if PLAIN_ROUTES in changed and PLAIN_ROUTES in before:  # else no listener asks for it yet
                await self._accepted(_ROUTES, counts)
            for name, prefix in (("cds.json", "cluster_manager.cds"), ("lds.json", "listener_manager.lds")):
                if name in changed:
                    await self._accepted(prefix, counts)
        except EngineError:
            self._write(before)
            raise
        return True

    async def _accepted(self, prefix: str, counts: Mapping[str, int]) -> None:
        assert self._envoy is not None  # noqa: S101 - only called while running
        end = asyncio.get_running_loop().time() + _ACCEPT
        while asyncio.get_running_loop().time() < end:
            now = await asyncio.to_thread(self._envoy.admin.stats, _SUBSCRIPTIONS)
            if now.get(f"{prefix}.update_rejected", 0) > counts.get(f"{prefix}.update_rejected", 0):
                break
            if now.get(f"{prefix}.update_success", 0) > counts.get(f"{prefix}.update_success", 0):
                return
            await asyncio.sleep(_POLL)
        log = self._envoy.log[-1] if self._envoy.log else "it does not say why"
        raise EngineRefused(
            "envoy-refused", f"Envoy did not accept the new configuration: {log}", "report this"
        )

    async def refresh(self) -> None:
        """Nothing: Envoy watches the directories."""

    async def spread(self, facts: RenderFacts) -> None:
        """Announce the workers, and wait until Envoy goes by it."""
        self._write({**self._files, **render_endpoints(facts)})
        if not self.running or not facts.guarded:
            return
        wanted = {worker.socket: "DRAINING" if worker.draining else "HEALTHY" for worker in facts.workers}
        end = asyncio.get_running_loop().time() + _ACCEPT
        while asyncio.get_running_loop().time() < end and self.running:
            hosts = await self._hosts()
            if {path: health for path, (health, _) in hosts.items() if path in wanted} == wanted:
                return
            await asyncio.sleep(_POLL)
        raise EngineRefused("envoy-refused", "Envoy did not take up the new workers", "report this")

    async def _hosts(self) -> dict[str, tuple[str, int]]:
        """Of both clusters: the later of two states, the sum of the requests."""
        assert self._envoy is not None  # noqa: S101 - only called while running
        found: dict[str, tuple[str, int]] = {}
        for cluster in (APP, APP_UPGRADES):
            for path, (health, active) in (await asyncio.to_thread(self._envoy.admin.hosts, cluster)).items():
                before = found.get(path, (health, 0))
                agreed = health if before[0] == health else ""
                found[path] = (agreed, before[1] + active)
        return found

    async def challenge(self, facts: RenderFacts) -> None:
        """Routes and filter chains of these answers, and no others; returns once they count.

        Raises:
            EngineRefused: `envoy-refused`, `engine-refused`.
        """
        if not await self.apply(facts):
            return
        assert self._envoy is not None  # noqa: S101 - it took the files
        end = asyncio.get_running_loop().time() + _ACCEPT
        while asyncio.get_running_loop().time() < end and self.running:
            stats = await asyncio.to_thread(self._envoy.admin.stats, f"^{_WARMING}$")
            if not stats.get(_WARMING, 0):
                return
            await asyncio.sleep(_POLL)

    async def until_idle(self, socket: str, seconds: float) -> bool:
        """Wait until no request is under way to a worker; false if some still were after `seconds`."""
        end = asyncio.get_running_loop().time() + seconds
        while self.running:
            hosts = await self._hosts()
            if hosts.get(socket, ("", 0))[1] == 0:
                return True
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(_POLL)
        return True

    async def counters(self) -> Counters:
        """See `Counting`."""
        if self._envoy is None:
            return ()
        admin = self._envoy.admin
        return await asyncio.to_thread(
            lambda: counted(admin.stats(PATTERN)) + timed(admin.prometheus(f"^{LATENCY}$"))
        )

    async def drain(self, seconds: float) -> bool:
        """Stop accepting; true if all that was under way came to its end in time."""
        return await self._envoy.drain(seconds) if self._envoy and self.running else True

    async def stop(self) -> None:
        """End the process."""
        if self._envoy is not None:
            await self._envoy.end()
            self._envoy = None

    def remove(self) -> None:
        """After the last `stop`: leave no socket behind."""
        self._admin.remove()

    def _write(self, files: dict[str, bytes]) -> None:
        """Write what differs, keep what was there before; endpoints and secrets first, listeners last."""
        private_directory(self._folder)
        previous = private_directory(self._folder / "previous")
        order = sorted(files, key=lambda name: (name == "lds.json", name == "cds.json", name))
        for name in order:
            if self._files.get(name) != files[name]:
                if name in self._files and not name.startswith("eds-"):
                    write_atomic(previous / name, self._files[name])
                write_atomic(self._folder / name, files[name])
        self._files = dict(files)
