"""What stands while a site is served: the policy in force, the processes, and what follows from both.

One object, shared by those who start, renew and reload (`keeper`, `renewing`, `reloading`). Whoever changes
what stands holds `changing`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sealgate.engines.challenges import Challenges
from sealgate.engines.contract import Driver, Engine, Obeying, Program
from sealgate.engines.facts import AppFacts, Backend, RenderFacts, Worker
from sealgate.errors import EngineError, PolicyError
from sealgate.pki.state import State
from sealgate.policy.load import Loaded
from sealgate.policy.model import Policy
from sealgate.runtime.publication import Publication
from sealgate.runtime.questions import Questions
from sealgate.runtime.separation import Separation, plan
from sealgate.runtime.site import Site
from sealgate.runtime.workers import Launch, Running, discard, launch

__all__ = ["Options", "Standing", "needs_restart"]


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


@dataclass
class Standing:
    """The one site of a keeper.

    Attributes:
        state: its lock is held.
        root: the same directory, without symbolic links.
        loaded: the policy that the next start would take.
        options: of the call.
        publication: what engine and guard read.
        serving: what is served; None before the first time.
        separation: who may read what; None before it is planned.
        engine, kind, program: the driver, its engine and its program.
        running: the workers that there are.
        counted: what all workers have counted so far.
        challenges: what an ACME authority is answered now.
        proof: what the engine shows the workers.
        changing: held by whoever changes any of this.
        reloaded: set after each reload; the watcher takes it back.
        after_reload: called after each one.
        authorities_changed: set where the policy's files name other authorities of clients than count.
        questions: of guards.
    """

    state: State
    root: Path
    loaded: Loaded
    options: Options
    publication: Publication
    serving: Site | None = None
    separation: Separation | None = None
    engine: Driver | None = None
    kind: Engine | None = None
    program: Program | None = None
    running: Callable[[], list[Running]] = list
    counted: Callable[[], list[int]] = list
    challenges: Challenges = field(default_factory=Challenges)
    proof: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    reloaded: asyncio.Event = field(default_factory=asyncio.Event)
    after_reload: list[Callable[[], None]] = field(default_factory=list)
    authorities_changed: asyncio.Event = field(default_factory=asyncio.Event)
    questions: Questions = field(init=False)

    def behind(self, generation: int) -> tuple[int, ...]:
        """Processes that have not yet ended what is under way of clients revoked up to this generation."""
        own = (pid for worker in self.running() for pid in worker.counts.behind(generation))
        driver: object = self.engine
        inside = driver.behind(generation) if isinstance(driver, Obeying) else ()
        return (*own, *inside)

    def __post_init__(self) -> None:
        self.questions = Questions(self._asked)

    def _asked(self) -> tuple[bytes, ...]:
        """What guards asked since the last call; anybody's word."""
        own = (der for worker in self.running() for der in worker.counts.questions())
        driver: object = self.engine
        return (*own, *(driver.questions() if isinstance(driver, Obeying) else ()))

    @property
    def site(self) -> Site:
        """What is served, for those who run only once something is."""
        assert self.serving is not None  # noqa: S101 - started
        return self.serving

    @property
    def other_user(self) -> bool:
        """Do the workers run as another user?"""
        return self.separation is not None and self.separation.app.uid >= 0

    @property
    def runs_inside(self) -> bool:
        """Does the app run in the engine's own process?"""
        return self.kind is not None and self.kind.identity == "inside"

    @property
    def processes(self) -> int:
        """How many processes or threads of the engine may each remember a certificate."""
        site = self.site
        return site.policy.site.workers if self.runs_inside else site.facts(()).concurrency

    def backend(self, loaded: Loaded) -> Backend:
        """What stands behind the engine, as far as it is known before the app is loaded."""
        return self.serving.backend if self.serving and loaded.policy.site.app else "upstream"

    @staticmethod
    def behind_engine(loaded: Loaded, worker: Running) -> Backend:
        """What stands there, of which this is a worker: an app, or a guard that is asked."""
        return worker.interface if loaded.policy.site.app else "upstream"

    def separate(self, site: Site) -> Separation:
        """Who may read what, for a site."""
        workers, inside = bool(site.policy.worker_app), self.runs_inside
        return plan(self.root, site.secrets(), site.loaded.path, workers=workers, inside=inside)

    def facts(self, site: Site) -> RenderFacts:
        """For the engine."""
        workers = tuple(Worker(worker.socket, worker.draining) for worker in self.running())
        app = AppFacts(
            site.policy.site.app,
            str(self.options.folder),
            str(self.publication.guard),
            str(site.loaded.path or ""),
            sys.executable,
            self.publication.revocations.fd,
            self.publication.issued.fd,
            self.publication.rates.fd,
        )
        return replace(
            site.facts(workers),
            proof=self.proof,
            version=self.program.version if self.program else "",
            app=app if self.runs_inside else None,
            challenges=self.challenges,
        )

    def spec(self, policy: Policy, guard: Path | None = None) -> Launch:
        """A worker of the policy's app, judged by this guard's policy."""
        assert self.separation is not None  # noqa: S101 - planned before any worker
        return Launch(
            policy.worker_app,
            self.options.folder,
            guard or self.publication.guard,
            policy.site.threads,
            self.separation,
            os.environ,
            "proof" if self.kind is not None and self.kind.identity == "proof" else "h2",
            self.proof,
            self.publication.revocations.fd,
            self.publication.issued.fd,
            self.publication.rates.fd,
        )

    async def tried(self, spec: Launch) -> Backend:
        """What kind of app it is, found out in a worker that serves nobody: does it import, does it fit?

        Raises:
            AppError: it does not import.
            PolicyError: `engine-cannot`: the engine has no use for this kind.
        """
        trial = await launch(spec)
        await discard(trial, self.root)
        assert self.kind is not None  # noqa: S101 - asked by those who have it
        if trial.interface not in self.kind.apps:
            kinds = " and ".join(kind.upper() for kind in self.kind.apps)
            raise PolicyError(
                "engine-cannot",
                f"{self.kind.title} serves {kinds} apps, and {spec.app} is {trial.interface.upper()}",
                'use site.engine = "envoy" for it, which serves both',
            )
        return trial.interface

    async def refresh(self) -> None:
        """Have the engine read certificate and trust again; one that is just down reads them at its start."""
        if self.engine is not None and self.engine.running:
            await self.engine.refresh()


def needs_restart(key: str) -> EngineError:
    """A key that counts from the next start on."""
    return EngineError(
        "reload-needs-restart",
        f"{key} is read by the engine at its start only",
        "restart Sealgate for it, or take the change back",
    )
