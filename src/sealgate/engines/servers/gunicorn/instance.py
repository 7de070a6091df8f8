"""Gunicorn as the keeper drives it: orders written and put back, its arbiter told, plain HTTP beside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from sealgate._system.files import private_directory
from sealgate.engines.contract import Program
from sealgate.engines.counts import PLACES, Counters, Table, counters_of, shared
from sealgate.engines.facts import RenderFacts
from sealgate.engines.inside import Rendered, published
from sealgate.engines.redirect import ANSWERS, answer_exactly
from sealgate.engines.servers.gunicorn.orders import FOLDER
from sealgate.engines.servers.gunicorn.process import Process, start
from sealgate.engines.servers.gunicorn.render import render
from sealgate.engines.tls_context import OPENSSL_FILE, SEEN_WITHIN

__all__ = ["Instance"]


class Instance:
    """One site's Gunicorn in one state directory.

    Args:
        state: the state directory.
        program: the interpreter, with a Gunicorn that was checked.
        prepare: run in the child before exec.
        uid: whom it becomes there; -1: nobody else.
    """

    def __init__(self, state: Path, program: Program, prepare: Callable[[], None], *, uid: int = -1) -> None:
        del uid  # the app is inside: it runs as whom the keeper is
        self._state, self._folder = state, state / FOLDER
        self._program, self._prepare = program, prepare
        self._running: Process | None = None
        self._facts: RenderFacts | None = None
        self._guard = b""
        self._rendered = Rendered(self._folder)
        self._counting = shared(PLACES)
        self._counts = Table(self._counting)

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """Gunicorn's arbiter."""
        return self._running.process if self._running else None

    @property
    def folder(self) -> Path:
        """Where its workers put large request bodies, and say that they live."""
        return self._state / "run" / "engine"

    @property
    def reads(self) -> tuple[Path, ...]:
        """Nothing beside what an app may read anyway."""
        return ()

    @property
    def running(self) -> bool:
        """Is it there?"""
        return self._running is not None and self._running.process.returncode is None

    async def start(self, facts: RenderFacts) -> None:
        """Write the orders, start, wait until all workers serve.

        Raises:
            EngineRefused: `engine-refused`; nothing is left running.
        """
        private_directory(self.folder)
        answer_exactly(self._folder / ANSWERS, facts.challenges)
        self._keep(facts)
        self._rendered.write(render(facts))
        self._running = await start(
            self._program.path,
            self._state,
            self.folder,
            facts,
            counts=self._counting,
            prepare=self._prepare,
            environ=os.environ,
        )

    def _keep(self, facts: RenderFacts) -> None:
        """What is in force from now on."""
        self._facts = facts
        self._guard = published(facts)

    def needs_restart(self, facts: RenderFacts) -> str:
        """OpenSSL reads its groups once."""
        return "tls.profile" if render(facts)[OPENSSL_FILE] != self._rendered.files.get(OPENSSL_FILE) else ""

    async def apply(self, facts: RenderFacts) -> bool:
        """New workers by new orders, always: a reload loads the app anew. The old ones finish what they do.

        Raises:
            EngineRefused: `engine-refused`; the files are then as they were, and the old workers serve.
        """
        assert self._running is not None and self._facts is not None  # noqa: S101, PT018 - while running
        before, old = self._rendered.files, self._facts
        answer_exactly(self._folder / ANSWERS, facts.challenges)
        self._rendered.write(render(facts))
        try:
            await self._running.plain.serve(facts.policy)
            await self._running.reload()
        except BaseException:
            self._rendered.write(before)
            await self._running.plain.serve(old.policy)
            raise
        self._keep(facts)
        return True

    async def refresh(self) -> None:
        """Certificate and trust are followed by each worker itself; the guard's policy is not.

        It was put back after new workers had read another, when a reload was undone: they are replaced.
        """
        await asyncio.sleep(SEEN_WITHIN)  # one worker may be seen to serve by new files while another waits
        facts = self._facts
        if facts is not None and facts.app and self._running:
            guard = published(facts)
            if guard != self._guard:
                await self._running.reload()
                self._guard = guard

    async def spread(self, facts: RenderFacts) -> None:
        """Nothing: its workers are its own."""

    async def challenge(self, facts: RenderFacts) -> None:
        """Answer exactly these: files that the process beside Gunicorn reads when asked.

        Raises:
            EngineRefused: `engine-refused`; what was answered before still is.
        """
        answer_exactly(self._folder / ANSWERS, facts.challenges)

    async def until_idle(self, socket: str, seconds: float) -> bool:
        """Nothing: there are no other workers."""
        del socket, seconds
        return True

    async def counters(self) -> Counters:
        """What all workers have counted that there were; see `Counting`."""
        return counters_of(self._counts.read(), "server_seconds")

    def behind(self, generation: int) -> tuple[int, ...]:
        """Which workers have not ended the exchanges of the revoked yet; see `Obeying`."""
        return self._counts.behind(generation)

    def questions(self) -> tuple[bytes, ...]:
        """Of which certificates nobody knows whether they are revoked; see `Obeying`."""
        return self._counts.questions()

    async def drain(self, seconds: float) -> bool:
        """Accept no more; true if all that was under way came to its end in time."""
        return await self._running.drain(seconds) if self._running and self.running else True

    async def stop(self) -> None:
        """End the processes."""
        if self._running is not None:
            await self._running.end()
            self._running = None

    def remove(self) -> None:
        """After the last `stop`: what workers that were killed left behind."""
        if self._counting >= 0:
            os.close(self._counting)
            self._counting = -1
        for left in self.folder.iterdir() if self.folder.is_dir() else ():
            if left.name.startswith(("wgunicorn-", "tmp")):
                left.unlink(missing_ok=True)
