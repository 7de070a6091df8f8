"""A reload: policy and app anew, no request lost; on any error what was in force stays, byte for byte."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from sealgate._system.files import write_atomic
from sealgate._system.notify import notify, notify_reloading
from sealgate._system.process import raise_file_limit
from sealgate.engines.contract import Driver, enforced
from sealgate.engines.registry import engine
from sealgate.errors import AppError, EngineRefused, NotObserved, PolicyError, SealgateError
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.runtime.observation import observe
from sealgate.runtime.preflight import preflight
from sealgate.runtime.site import Site
from sealgate.runtime.standing import Standing, needs_restart
from sealgate.runtime.watching import settings_of
from sealgate.runtime.workers import Pool, Running, discard, launch

__all__ = ["Reloading", "file_limit"]

_BACK = 12.0


class Reloading:
    """Reloads what stands.

    Args:
        standing: what stands.
        pool: the app's workers.
        say: one line for people.
    """

    def __init__(self, standing: Standing, pool: Pool, say: Callable[[str], None]) -> None:
        self._standing, self._pool, self._say = standing, pool, say
        self.wanted = asyncio.Event()

    async def keep(self) -> None:
        """Reload whenever `wanted` is set."""
        while True:
            await self.wanted.wait()
            self.wanted.clear()
            notify_reloading()
            try:
                await self.reload()
            except SealgateError as error:
                self._refused(error)
            except Exception as error:  # noqa: BLE001 - the next SIGHUP must still be heard
                self._say(f"not reloaded, the policy before stays in force: {type(error).__name__}: {error}")
            else:
                self._say("reloaded")
            notify("READY=1")

    async def keep_authorities(self) -> None:
        """Reload what stands, by the same policy, whenever its files name other authorities of clients."""
        said = ""
        while True:
            await self._standing.authorities_changed.wait()
            self._standing.authorities_changed.clear()
            lists = self._standing.site.long_lists
            try:
                await self.reload(self._standing.site.loaded)
            except Exception as error:  # noqa: BLE001 - the next change must still be taken over
                text = str(error) if isinstance(error, SealgateError) else f"{type(error).__name__}: {error}"
                if text != said:
                    self._say(f"the authorities of clients stay as they were: {text}")
                said = text
            else:
                said = ""
                if lists != self._standing.site.long_lists:
                    continue  # said where it was counted
                self._say("other authorities of clients are in force: their file was changed")

    def _refused(self, error: SealgateError) -> None:
        self._say(f"not reloaded, the policy before stays in force: {error}")
        problems = error.problems if isinstance(error, PolicyError) else ()
        for problem in problems if len(problems) > 1 else ():  # a single one stands in the sentence
            self._say(f"  {problem}")
        if isinstance(error, AppError) and error.details.get("traceback"):
            self._say(f"the app's traceback:\n{error.details['traceback']}")

    async def reload(self, same: Loaded | None = None) -> None:
        """Load policy and app anew.

        Args:
            same: the policy in force: its files are read again, and not the policy itself.

        Raises:
            SealgateError: why not; what was in force stays, byte for byte.
        """
        standing, publication = self._standing, self._standing.publication
        async with standing.changing:
            before, separation = standing.site, standing.separation
            loaded = same if same is not None else await asyncio.to_thread(standing.options.reload)
            if loaded.policy.site.engine != before.policy.site.engine:
                raise needs_restart("site.engine")
            enforced(engine(loaded.policy.site.engine), loaded.policy)
            preflight(loaded.policy, before.policy)
            settings_of(loaded)  # secrets that cannot be read are found before anything is changed
            draft = publication.draft
            guard = publication.guard.read_bytes()
            first: Running | None = None
            try:
                site = Site(loaded, standing.root, standing.options.folder, before.certificate)
                publication.compile(loaded, draft, shared=standing.other_user)
                standing.separation = standing.separate(site)
                if standing.runs_inside:
                    site = replace(site, backend=await standing.tried(standing.spec(loaded.policy, draft)))
                elif loaded.policy.worker_app:
                    first = await launch(standing.spec(loaded.policy, draft))
                    site = replace(site, backend=standing.behind_engine(loaded, first))
                site = replace(
                    site,
                    certificate=await asyncio.to_thread(publication.materials, loaded),
                    long_lists=publication.long,  # counted with them
                )
                if standing.runs_inside:  # its next workers read the file
                    draft.replace(publication.guard)
                await self._switch(before, site)
                if not standing.runs_inside:
                    draft.replace(publication.guard)
            except BaseException:
                standing.serving, standing.separation = before, separation
                if first is not None:
                    await discard(first, standing.root)
                await self._put_back(before, guard)
                raise
            standing.loaded = loaded
            standing.reloaded.set()
            for call in standing.after_reload:
                call()
            spec = standing.spec(loaded.policy) if first else None
            count = loaded.policy.site.workers if first else 0
            await self._pool.roll(spec, count, first, loaded.policy.timeouts.drain)

    async def _put_back(self, before: Site, guard: bytes) -> None:
        """The published files of `before`, byte for byte; whoever had read others reads them again."""
        publication = self._standing.publication
        if publication.guard.read_bytes() != guard:
            write_atomic(publication.guard, guard, 0o644 if self._standing.other_user else 0o600)
        publication.draft.unlink(missing_ok=True)
        await asyncio.to_thread(publication.materials_back, before)
        await self._standing.refresh()

    async def _switch(self, before: Site, site: Site) -> None:
        """Hand the engine the new site, and see it."""
        driver = self._standing.engine
        assert driver is not None  # noqa: S101 - started
        await _until_running(driver)
        facts = self._standing.facts(site)
        if key := driver.needs_restart(facts):
            raise needs_restart(key)
        file_limit(site.policy)
        if not await driver.apply(facts):
            await driver.refresh()
        self._standing.serving = site
        try:
            await observe(site)
        except NotObserved:
            await driver.apply(self._standing.facts(before))
            raise  # certificate and trust go back next


def file_limit(policy: Policy) -> None:
    """Two descriptors for each connection, and some for everything else."""
    raise_file_limit(policy.limits.connections * 2 + 1024)


async def _until_running(driver: Driver) -> None:
    """In between a crash and the next start there is nobody to reload."""
    end = time.monotonic() + _BACK
    while not driver.running:
        if time.monotonic() > end:
            raise EngineRefused("engine-down", "the engine does not run", "reload again once it serves")
        await asyncio.sleep(0.05)
