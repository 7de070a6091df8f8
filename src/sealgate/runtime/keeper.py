"""The keeper: starts, watches and drains the other processes; the only writer of the state directory.

Theory: `Site` is what shall be; the pool and the engine are what is. Starting, reloading and renewing all end
with a look from outside (`_observe`), and what was not seen there is undone. One `asyncio.Lock` keeps changes
in single file; crashes are mended beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sealgate._system.clock import system_clock
from sealgate._system.landlock import confine
from sealgate._system.notify import notify, notify_reloading
from sealgate._system.process import (
    ENGINE_AS_ROOT,
    ENGINE_AS_USER,
    become,
    die_with_parent,
    keep_memory_private,
    limit_capabilities,
    raise_file_limit,
)
from sealgate.engines.contract import Driver
from sealgate.engines.facts import Backend, Worker
from sealgate.engines.registry import engine
from sealgate.errors import (
    AppError,
    EngineError,
    EngineRefused,
    NotObserved,
    PolicyError,
    SealgateError,
)
from sealgate.pki.orders import carry_out
from sealgate.pki.state import State
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.runtime.closing import keep_closed
from sealgate.runtime.control import Control
from sealgate.runtime.observation import observe
from sealgate.runtime.preflight import preflight
from sealgate.runtime.publication import Publication
from sealgate.runtime.separation import Separation, plan
from sealgate.runtime.site import Site
from sealgate.runtime.supervise import Backoff
from sealgate.runtime.workers import Launch, Pool, Running, discard, launch

__all__ = ["Keeper", "Options"]

_BACK = 12.0
_ENDING = 5.0
_MOST_FILES = 1 << 20
_RENEW_EVERY = 15.0
_SILENCE = 1.0  # a stop that takes longer says why


@dataclass(frozen=True, slots=True)
class Options:
    """A call of `serve`.

    Attributes:
        reload: loads the policy anew, with the call's own options laid over it.
        folder: where the app's module is looked for.
        untested: accept an engine of another version.
    """

    reload: Callable[[], Loaded]
    folder: Path
    untested: bool = False


class Keeper:
    """One `serve`."""

    def __init__(self, state: State, loaded: Loaded, options: Options) -> None:
        self._state = state
        self._root = Path(os.path.realpath(state.path))
        self._options = options
        self._loaded = loaded
        self._site: Site | None = None
        self._separation: Separation | None = None
        self._engine: Driver | None = None
        self._publication = Publication(state, self._root)
        self._pool = Pool(self._root, self._spread, self._idle, self.say)
        self._control = Control(self._root / "run", self._order)
        self._changing = asyncio.Lock()
        self._spreading = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @staticmethod
    def say(text: str) -> None:
        """One line for people, on standard error."""
        print(f"sealgate: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the user's console

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            SealgateError: what kept it from starting; nothing is left running.
        """
        keep_memory_private()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        with self._state.lock():
            try:
                starting = asyncio.create_task(self._start())
                stopped = asyncio.create_task(self._stopping.wait())
                await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    await starting
                    await stopped
                else:
                    starting.cancel()
                    await asyncio.gather(starting, return_exceptions=True)
            finally:
                await self._stop()

    def _stop_signal(self) -> None:
        if self._stopping.is_set():  # asked twice: at once
            for worker in self._pool.running:
                worker.ending = True  # meant: no other is started for it
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()
            if self._engine and self._engine.process:
                with contextlib.suppress(ProcessLookupError):
                    self._engine.process.kill()
        self._stopping.set()

    # Starting

    async def _start(self) -> None:
        loaded = self._loaded
        policy = loaded.policy
        self._file_limit(policy)
        preflight(policy)
        for stale in (self._root / "run").glob("app-*.sock"):  # of a keeper that was killed
            stale.unlink()
        kind = engine(policy.site.engine)
        checking = asyncio.create_task(asyncio.to_thread(kind.program, os.environ, self._options.untested))
        try:
            site = await self._prepared(loaded)
            self._separation = self._separate(site)
            if self._other_user:
                # The way to the guard's policy and to a worker's own files; nothing can be listed on it.
                for part in (self._root, self._root / "live", self._root / "live/guard", self._root / "run"):
                    part.chmod(0o711)
                self._publication.compile(loaded, self._publication.guard, shared=True)
            if policy.site.app:
                await self._pool.fill(self._spec(policy), policy.site.workers)
                site = replace(site, backend=self._pool.running[0].interface)
            self._site = site
            program = await checking
        finally:
            checking.cancel()
        self._engine = kind.drive(self._root, program, self._engine_prepared, uid=self._separation.engine.uid)
        await self._engine.start(site.facts(self._workers()))
        await observe(site)
        await self._control.open()
        self._tasks = [
            asyncio.create_task(task)
            for task in (self._keep_engine(), self._keep_certificate(), self._keep_policy(), self._closed())
        ]
        self._ready(site, f"{kind.id} {program.version}")

    def _ready(self, site: Site, version: str) -> None:
        workers = len(self._pool.running)
        facts = [site.policy.public_url, version]
        if workers:
            facts.append(f"{workers} {site.backend} worker{'s' if workers > 1 else ''}")
        facts.append(f"certificate until {site.certificate.not_after:%Y-%m-%d}")
        missing = self._separation.missing if self._separation else ()
        facts += [f"not separated: {text.partition(':')[0]}" for text in missing]
        line = f"sealgate: ready https://{site.policy.listen.https[0]} ({'; '.join(facts)})"
        print(line, flush=True)  # noqa: T201 - scripts wait for it
        for folder in self._separation.closed_folders() if self._separation and workers else ():
            self.say(
                f"app workers cannot make new files directly in {folder}: the state directory or our own "
                "files are in it; let the app write into a subdirectory, or put those elsewhere (--state)"
            )
        notify("READY=1", f"STATUS=serving {site.policy.public_url}")

    async def _prepared(self, loaded: Loaded) -> Site:
        """Certificate, trust and the guard's policy: what must stand before anything runs by it."""
        certificate = await asyncio.to_thread(self._publication.materials, loaded)
        self._publication.compile(loaded, self._publication.guard, shared=self._other_user)
        return Site(loaded, self._root, self._options.folder, certificate, self._backend(loaded))

    def _separate(self, site: Site) -> Separation:
        workers = bool(site.policy.site.app)
        return plan(self._root, site.secrets(), site.loaded.path, workers=workers)

    def _backend(self, loaded: Loaded) -> Backend:
        return self._site.backend if self._site and loaded.policy.site.app else "upstream"

    @property
    def _other_user(self) -> bool:
        return self._separation is not None and self._separation.app.uid >= 0

    def _spec(self, policy: Policy, guard: Path | None = None) -> Launch:
        assert self._separation is not None  # noqa: S101 - planned before any worker
        return Launch(
            policy.site.app,
            self._options.folder,
            guard or self._publication.guard,
            policy.site.threads,
            self._separation,
            os.environ,
        )

    def _engine_prepared(self) -> None:
        """In the engine's process, before it becomes Envoy: another user, its end with ours, Landlock."""
        separation = self._separation
        assert separation is not None and self._engine is not None  # noqa: S101, PT018 - planned, made
        raise_file_limit(_MOST_FILES)  # a reload may allow more connections
        if separation.engine.uid >= 0:
            become(separation.engine.uid, separation.engine.gid, keep=ENGINE_AS_USER)
        elif os.geteuid() == 0:
            limit_capabilities(ENGINE_AS_ROOT)
        os.setsid()
        die_with_parent(os.getppid())
        live = (separation.state / "live" / "server", separation.state / "live" / "clients")
        grants = separation.engine_grants((*live, *self._engine.reads), [self._engine.folder])
        confine(hidden=[Path("/")], allowed=grants)

    # Workers and engine

    def _workers(self) -> tuple[Worker, ...]:
        return tuple(Worker(worker.socket, worker.draining) for worker in self._pool.running)

    async def _spread(self) -> None:
        async with self._spreading:
            if self._engine is not None and self._site is not None:
                await self._engine.spread(self._site.facts(self._workers()))

    async def _idle(self, socket: str, seconds: float) -> bool:
        return await self._engine.until_idle(socket, seconds) if self._engine else True

    async def _keep_engine(self) -> None:
        """Start the engine again when it dies."""
        backoff = Backoff()
        while True:
            engine, site = self._engine, self._site
            assert engine is not None and site is not None  # noqa: S101, PT018 - started
            born = time.monotonic()
            if engine.process is not None:
                await engine.process.wait()
                await engine.stop()
            backoff, wait = backoff.ended(time.monotonic() - born)
            self.say(f"Envoy ended; starting it again in {wait:.1f} s")
            await asyncio.sleep(wait)
            site = self._site or site
            try:
                await engine.start(site.facts(self._workers()))
            except (SealgateError, OSError) as error:
                self.say(str(error))
            else:
                self.say("Envoy serves again")

    async def _closed(self) -> None:
        await keep_closed(self._root, 0o711 if self._other_user else 0o700, self.say)

    # Certificates

    async def _keep_certificate(self) -> None:
        """Renew when it is due."""
        said = ""
        while True:
            await asyncio.sleep(_RENEW_EVERY)
            try:
                await self.renew(force=False)
            except SealgateError as error:
                if said != str(error):
                    self.say(str(error))
                said = str(error)
            else:
                said = ""

    async def renew(self, *, force: bool) -> dict[str, Any]:
        """Issue (or take over) a certificate where due, and see it served.

        Returns:
            `fingerprint`, `not_after`, `renewed`, and `seen_after` in seconds.

        Raises:
            NotObserved: `renewed-not-served`: the old certificate is live again.
        """
        async with self._changing:
            site = self._site
            assert site is not None  # noqa: S101 - started
            certificate = await asyncio.to_thread(self._publication.materials, site.loaded, force=force)
            began = time.monotonic()
            renewed = certificate.fingerprint != site.certificate.fingerprint
            if renewed:
                self._site = replace(site, certificate=certificate)
                await self._seen_or_back(site)
                self.say(f"certificate renewed, served until {certificate.not_after:%Y-%m-%d %H:%M} UTC")
            return {
                "fingerprint": certificate.fingerprint,
                "not_after": certificate.not_after.isoformat(),
                "renewed": renewed,
                "seen_after": round(time.monotonic() - began, 3),
            }

    async def _seen_or_back(self, before: Site) -> None:
        assert self._site is not None  # noqa: S101 - just set
        try:
            await observe(self._site)
        except NotObserved as error:
            back = await asyncio.to_thread(self._publication.certificate_back, before)
            self._site = replace(self._site, certificate=back)
            raise NotObserved(
                "renewed-not-served",
                f"a new certificate was made but is not served ({error.fact}); the old one is live again",
                "look at the lines before this one; the next try is made by itself",
            ) from None

    # Reloading

    async def _keep_policy(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            notify_reloading()
            try:
                await self.reload()
            except SealgateError as error:
                self._refused(error)
            except Exception as error:  # noqa: BLE001 - the next SIGHUP must still be heard
                self.say(f"not reloaded, the policy before stays in force: {type(error).__name__}: {error}")
            else:
                self.say("reloaded")
            notify("READY=1")

    def _refused(self, error: SealgateError) -> None:
        self.say(f"not reloaded, the policy before stays in force: {error}")
        problems = error.problems if isinstance(error, PolicyError) else ()
        for problem in problems if len(problems) > 1 else ():  # a single one stands in the sentence
            self.say(f"  {problem}")
        if isinstance(error, AppError) and error.details.get("traceback"):
            self.say(f"the app's traceback:\n{error.details['traceback']}")

    async def reload(self) -> None:
        """Load policy and app anew; on any error what was in force stays, byte for byte.

        Raises:
            SealgateError: why not.
        """
        async with self._changing:
            before, separation = self._site, self._separation
            assert before is not None  # noqa: S101 - started
            loaded = await asyncio.to_thread(self._options.reload)
            preflight(loaded.policy, before.policy)
            draft = self._publication.draft
            first: Running | None = None
            try:
                site = Site(loaded, self._root, self._options.folder, before.certificate)
                self._publication.compile(loaded, draft, shared=self._other_user)
                self._separation = self._separate(site)
                if loaded.policy.site.app:
                    first = await launch(self._spec(loaded.policy, draft))
                    site = replace(site, backend=first.interface)
                site = replace(site, certificate=await asyncio.to_thread(self._publication.materials, loaded))
                await self._switch(before, site)
                draft.replace(self._publication.guard)
            except BaseException:
                self._site, self._separation = before, separation
                if first is not None:
                    await discard(first, self._root)
                draft.unlink(missing_ok=True)
                await asyncio.to_thread(self._publication.materials_back, before)
                raise
            self._loaded = loaded
            spec = self._spec(loaded.policy) if first else None
            count = loaded.policy.site.workers if first else 0
            await self._pool.roll(spec, count, first, loaded.policy.timeouts.drain)

    async def _switch(self, before: Site, site: Site) -> None:
        """Hand the engine the new site, and see it."""
        engine = self._engine
        assert engine is not None  # noqa: S101 - started
        await self._until_running(engine)
        facts = site.facts(self._workers())
        if key := engine.needs_restart(facts):
            raise EngineError(
                "reload-needs-restart",
                f"{key} is read by the engine at its start only",
                "restart Sealgate for it, or take the change back",
            )
        self._file_limit(site.policy)
        await engine.apply(facts)
        self._site = site
        try:
            await observe(site)
        except NotObserved:
            await engine.apply(before.facts(self._workers()))
            raise

    @staticmethod
    async def _until_running(engine: Driver) -> None:
        """In between a crash and the next start there is nobody to reload."""
        end = time.monotonic() + _BACK
        while not engine.running:
            if time.monotonic() > end:
                raise EngineRefused("envoy-refused", "Envoy does not run", "reload again once it serves")
            await asyncio.sleep(0.05)

    @staticmethod
    def _file_limit(policy: Policy) -> None:
        """Two descriptors for each connection, and some for everything else."""
        raise_file_limit(policy.limits.connections * 2 + 1024)

    # Orders

    async def _order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        match order.get("order"):
            case "ping":
                return {"pid": os.getpid(), "generation": self._publication.generation}
            case "renew":
                return await self.renew(force=bool(order.get("force", True)))
            case "reload":
                await self.reload()
                return {"generation": self._publication.generation}
            case "cert-import" | "cert-new-root" | "cert-request":
                return await self._carry_out(order)
            case other:
                raise EngineError(
                    "order-unknown", f"the keeper knows no order {other!r}", "use the same version"
                )

    async def _carry_out(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """What the command line would do by itself without a keeper; then see it served."""
        async with self._changing:
            assert self._site is not None  # noqa: S101 - started
            loaded = self._site.loaded
            answer = await asyncio.to_thread(
                carry_out,
                order,
                state=self._state,
                policy=loaded.policy,
                clock=system_clock,
                base=loaded.base,
            )
        if order["order"] != "cert-request":
            await self.renew(force=False)
        return answer

    # Stopping

    async def _stop(self) -> None:
        notify("STOPPING=1")
        drain = self._loaded.policy.timeouts.drain
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._control.close()
        engine = self._engine
        waiting = (
            f"stopping; what is under way may take {drain:g} s; a second Ctrl-C or SIGTERM ends it at once"
        )
        said = asyncio.get_running_loop().call_later(_SILENCE, self.say, waiting)
        drained = engine is None or await engine.drain(drain)
        said.cancel()
        if not drained:
            self.say(f"some exchanges were still under way after {drain:g} s and are cut off")
        # Their time is over: what is left to the workers is the end of their app.
        if engine is not None:
            await engine.stop()
            engine.remove()
        await self._pool.stop(_ENDING)
