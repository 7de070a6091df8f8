"""The keeper: starts, watches and drains the other processes; the only writer of the state directory.

Theory: what shall be and what is are one object, `Standing`. Starting, reloading and renewing all end
with a look from outside (`observe`), and what was not seen there is undone. One `asyncio.Lock` keeps changes
in single file; crashes are mended beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealgate._system.notify import notify
from sealgate._system.process import keep_memory_private
from sealgate.engines.contract import enforced
from sealgate.engines.registry import engine
from sealgate.errors import EngineError
from sealgate.monitor.snapshot import to_json
from sealgate.pki.api_keys.orders import ORDERS as TOKEN_ORDERS
from sealgate.pki.clients.orders import ORDERS as CLIENT_ORDERS
from sealgate.pki.state import State
from sealgate.policy.load import Loaded
from sealgate.runtime.announcement import announce
from sealgate.runtime.clients import Clients
from sealgate.runtime.closing import keep_closed
from sealgate.runtime.confinement import confine_engine, confine_watcher
from sealgate.runtime.control import Control
from sealgate.runtime.foreign import Foreign
from sealgate.runtime.key_sets import KeySets
from sealgate.runtime.observation import observe
from sealgate.runtime.obtaining import Obtaining
from sealgate.runtime.preflight import preflight
from sealgate.runtime.publication import Publication
from sealgate.runtime.reloading import Reloading, file_limit
from sealgate.runtime.renewing import Renewing
from sealgate.runtime.site import Site
from sealgate.runtime.snapshot import Lookout, Tally
from sealgate.runtime.standing import Options, Standing
from sealgate.runtime.supervise import Backoff
from sealgate.runtime.tokens import Tokens
from sealgate.runtime.watching import Watching, settings_of
from sealgate.runtime.workers import Pool

__all__ = ["Keeper", "Options"]

_ENDING = 5.0
_SILENCE = 1.0  # a stop that takes longer says why


class Keeper:
    """One `serve`."""

    def __init__(self, state: State, loaded: Loaded, options: Options) -> None:
        root = Path(os.path.realpath(state.path))
        self._standing = Standing(state, root, loaded, options, Publication(state, root, self.say))
        self._pool = Pool(root, self._spread, self._idle, self.say)
        self._standing.running = lambda: self._pool.running
        self._standing.counted = self._pool.counted
        self._tally = Tally()
        self._lookout = Lookout(self._standing, self._tally)
        self._renewing = Renewing(self._standing, self.say, self._tally)
        self._obtaining = Obtaining(self._standing, self._renewing.take_over, self.say)
        self._standing.after_reload.append(self._obtaining.poke)
        self._clients = Clients(self._standing, self.say)
        self._tokens = Tokens(self._standing, self._clients.until_obeyed, self.say)
        self._foreign = Foreign(self._standing, self._watcher_prepared, self.say)
        self._key_sets = KeySets(self._standing, self._watcher_prepared, self.say)
        self._orders: dict[str, Clients | Tokens | Foreign] = {
            **dict.fromkeys(CLIENT_ORDERS, self._clients),
            **dict.fromkeys(TOKEN_ORDERS, self._tokens),
            "lists-refresh": self._foreign,
        }
        self._standing.after_reload += (self._foreign.poke, self._key_sets.poke)
        self._reloading = Reloading(self._standing, self._pool, self.say)
        self._control = Control(root / "run", self._order)
        self._watching = Watching(
            root / "monitor",
            lambda: settings_of(self._standing.loaded),
            self._lookout.snapshot,
            self._watcher_prepared,
            self.say,
            self._standing.reloaded,
        )
        self._spreading = asyncio.Lock()
        self._stopping = asyncio.Event()
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
        loop.add_signal_handler(signal.SIGHUP, self._reloading.wanted.set)
        with self._standing.state.lock():
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
            driver = self._standing.engine
            if driver and driver.process:
                with contextlib.suppress(ProcessLookupError):
                    driver.process.kill()
        self._stopping.set()

    # Starting

    async def _start(self) -> None:
        standing = self._standing
        loaded = standing.loaded
        policy = loaded.policy
        file_limit(policy)
        preflight(policy)
        settings_of(loaded)  # secrets that cannot be read are found before anything runs
        for stale in (standing.root / "run").glob("app-*.sock"):  # of a keeper that was killed
            stale.unlink()
        kind = standing.kind = engine(policy.site.engine)
        enforced(kind, policy)
        checking = asyncio.create_task(asyncio.to_thread(kind.program, os.environ, standing.options.untested))
        try:
            site = await self._prepared(loaded)
            standing.separation = standing.separate(site)
            if standing.other_user:
                # The way to the guard's policy and to a worker's own files; nothing can be listed on it.
                root = standing.root
                for part in (root, root / "live", root / "live/guard", root / "run"):
                    part.chmod(0o711)
                standing.publication.compile(loaded, standing.publication.guard, shared=True)
            if standing.runs_inside:
                site = replace(site, backend=await standing.tried(standing.spec(policy)))
            elif policy.worker_app:
                await self._pool.fill(standing.spec(policy), policy.site.workers)
                site = replace(site, backend=standing.behind_engine(loaded, self._pool.running[0]))
            standing.serving = site
            program = standing.program = await checking
        finally:
            checking.cancel()
        uid = standing.separation.engine.uid
        standing.engine = kind.drive(standing.root, program, self._engine_prepared, uid=uid)
        await standing.engine.start(standing.facts(site))
        await observe(site)
        await self._control.open()
        self._tasks = [
            asyncio.create_task(task)
            for task in (
                self._keep_engine(),
                self._renewing.keep(),
                self._reloading.keep(),
                self._reloading.keep_authorities(),
                self._closed(),
            )
        ]
        workers = policy.site.workers if standing.runs_inside else len(self._pool.running)
        announce(site, f"{kind.id} {program.version}", workers, standing.separation, self.say)
        # After the ready line: an authority that hangs must not keep anybody waiting.
        later = (
            *(self._watching.keep(), self._obtaining.keep()),
            *(self._foreign.keep(), self._key_sets.keep()),
        )
        self._tasks += [asyncio.create_task(task) for task in later]

    async def _prepared(self, loaded: Loaded) -> Site:
        """Certificate, trust and the guard's policy: what must stand before anything runs by it."""
        standing, publication = self._standing, self._standing.publication
        certificate = await asyncio.to_thread(publication.materials, loaded)
        publication.compile(loaded, publication.guard, shared=standing.other_user)
        folder = standing.options.folder
        backend, long_lists = standing.backend(loaded), publication.long
        site = Site(loaded, standing.root, folder, certificate, backend, long_lists)
        await self._foreign.adopt(site)
        await asyncio.to_thread(self._key_sets.adopt, loaded)
        return site

    def _engine_prepared(self) -> None:
        separation, driver = self._standing.separation, self._standing.engine
        assert separation is not None and driver is not None  # noqa: S101, PT018 - planned, made
        confine_engine(separation, driver, inside=self._standing.runs_inside)

    def _watcher_prepared(self) -> None:
        assert self._standing.separation is not None  # noqa: S101 - planned before anything runs
        confine_watcher(self._standing.separation)

    # Workers and engine

    async def _spread(self) -> None:
        async with self._spreading:
            standing = self._standing
            if standing.engine is not None and standing.serving is not None:
                await standing.engine.spread(standing.facts(standing.serving))

    async def _idle(self, socket: str, seconds: float) -> bool:
        driver = self._standing.engine
        return await driver.until_idle(socket, seconds) if driver else True

    async def _keep_engine(self) -> None:
        """Start the engine again when it dies."""
        backoff = Backoff()
        standing = self._standing
        driver = standing.engine
        assert driver is not None  # noqa: S101 - started
        while True:
            born = time.monotonic()
            if driver.process is not None:
                await driver.process.wait()
                await driver.stop()
            backoff, wait = backoff.ended(time.monotonic() - born)
            title = standing.kind.title if standing.kind else "the engine"
            self.say(f"{title} ended; starting it again in {wait:.1f} s")
            self._tally.starts += 1
            await asyncio.sleep(wait)
            try:
                await driver.start(standing.facts(standing.site))
            except Exception as error:  # noqa: BLE001 - the next start must still be tried
                self.say(str(error))
            else:
                self.say(f"{title} serves again")

    async def _closed(self) -> None:
        await keep_closed(self._standing.root, 0o711 if self._standing.other_user else 0o700, self.say)

    # Orders

    async def _order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        publication = self._standing.publication
        match order.get("order"):
            case "ping":
                return {"pid": os.getpid(), "generation": publication.generation}
            case "status":
                return {"snapshot": to_json(await self._lookout.snapshot())}
            case "renew" if self._obtaining.wanted:
                return await self._obtaining.order(
                    force=bool(order.get("force", True)), dry=bool(order.get("dry_run"))
                )
            case "cert-revoke" | "acme-deactivate" if self._obtaining.wanted:
                return await self._obtaining.end(order)
            case "renew":
                return await self._renewing.renew(force=bool(order.get("force", True)))
            case "reload":
                await self._reloading.reload()
                return {"generation": publication.generation}
            case "cert-import" | "cert-new-root" | "cert-request":
                return await self._renewing.carry_out(order)
            case str(name) if name in self._orders:
                return await self._orders[name].order(order)
            case other:
                raise EngineError(
                    "order-unknown", f"the keeper knows no order {other!r}", "use the same version"
                )

    # Stopping

    async def _stop(self) -> None:
        notify("STOPPING=1")
        drain = self._standing.loaded.policy.timeouts.drain
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._control.close()
        driver = self._standing.engine
        waiting = (
            f"stopping; what is under way may take {drain:g} s; a second Ctrl-C or SIGTERM ends it at once"
        )
        said = asyncio.get_running_loop().call_later(_SILENCE, self.say, waiting)
        drained = driver is None or await driver.drain(drain)
        said.cancel()
        if not drained:
            self.say(f"some exchanges were still under way after {drain:g} s and are cut off")
        # Their time is over: what is left to the workers is the end of their app.
        if driver is not None:
            await driver.stop()
            driver.remove()
        await self._pool.stop(_ENDING)
