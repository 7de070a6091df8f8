"""uvicorn as the keeper drives it: sockets bound, settings written and put back, its supervisor told.

The listening sockets are bound here and kept: while a supervisor that died is started again, connections
wait and are not refused. With a reload other sockets may follow, over the channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sealgate._system.files import private_directory
from sealgate.engines.channel import Channel
from sealgate.engines.contract import Program
from sealgate.engines.counts import PLACES, Counters, Table, counters_of, shared
from sealgate.engines.facts import RenderFacts
from sealgate.engines.inside import Rendered, app_environment, listening, published
from sealgate.engines.redirect import ANSWERS, answer_exactly
from sealgate.engines.servers.uvicorn.render import render
from sealgate.engines.servers.uvicorn.settings import FOLDER, SITE
from sealgate.engines.tls_context import OPENSSL_FILE
from sealgate.errors import AppError, EngineRefused
from sealgate.policy.model import Endpoint

__all__ = ["Instance"]

_MODULE = "sealgate.runtime.inside.supervisor"
_SERVING = 320.0
_REFRESHED = 10.0
_AFTER = 8.0

Sockets = dict[Endpoint, socket.socket]


class Instance:
    """One site's uvicorn in one state directory.

    Args:
        state: the state directory.
        program: the interpreter, with a uvicorn that was checked.
        prepare: run in the child before exec.
        uid: whom it becomes there; -1: nobody else.
    """

    def __init__(self, state: Path, program: Program, prepare: Callable[[], None], *, uid: int = -1) -> None:
        del uid  # the app is inside: it runs as whom the keeper is
        self._state, self._folder = state, state / FOLDER
        self._program, self._prepare = program, prepare
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._sockets: Sockets = {}
        self._facts: RenderFacts | None = None
        self._guard = b""
        self._rendered = Rendered(self._folder)
        self._counting = shared(PLACES)
        self._counts = Table(self._counting)
        self._asking = asyncio.Lock()

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """The supervisor; the workers are its children."""
        return self._process

    @property
    def folder(self) -> Path:
        """Nothing is written there by us; the app may."""
        return self._state / "run" / "engine"

    @property
    def reads(self) -> tuple[Path, ...]:
        """Nothing beside what an app may read anyway."""
        return ()

    @property
    def running(self) -> bool:
        """Is it there?"""
        return self._process is not None and self._process.returncode is None

    async def start(self, facts: RenderFacts) -> None:
        """Bind, write the settings, start, wait until all workers serve.

        Raises:
            AppError: the app did not start.
            EngineRefused: `engine-refused`; nothing is left running.
        """
        private_directory(self.folder)
        answer_exactly(self._folder / ANSWERS, facts.challenges)
        self._rendered.write(render(facts))
        sockets = self._bound(facts)
        ours, theirs = Channel.pair()
        try:
            # As the keeper's own: relative paths of the app are relative to where it was called.
            assert facts.app is not None  # noqa: S101 - it is inside
            shared = (facts.app.revocations, facts.app.issued, facts.app.rates)
            numbers = (theirs.fileno(), self._counting, *shared)
            self._process = await asyncio.create_subprocess_exec(
                *(str(self._program.path), "-P", "-m", _MODULE, *map(str, numbers), str(self._state)),
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=tuple(number for number in numbers if number >= 0),
                preexec_fn=self._prepare,
            )
            self._channel = ours
        finally:
            theirs.close()
        try:
            await self._serve(facts, sockets)
        except BaseException:
            self._let_go(sockets)
            await self.stop()
            raise

    def _environment(self) -> dict[str, str]:
        environ = app_environment(self._state, os.environ)
        environ["OPENSSL_CONF"] = str(self._folder / OPENSSL_FILE)
        return environ

    def _bound(self, facts: RenderFacts) -> Sockets:
        """A socket for each address; those that are open already stay."""
        listen = facts.policy.listen
        found: Sockets = {}
        try:
            for endpoint in (*listen.https, *listen.http):
                found[endpoint] = self._sockets.get(endpoint) or listening(endpoint)
        except OSError as error:
            self._let_go(found)
            where = f"{endpoint} cannot be listened on ({error.strerror})"
            raise EngineRefused("engine-refused", where, "correct [listen]") from None
        return found

    def _let_go(self, sockets: Sockets) -> None:
        """Close those that are not in force."""
        for endpoint, sock in sockets.items():
            if self._sockets.get(endpoint) is not sock:
                sock.close()

    async def _serve(self, facts: RenderFacts, sockets: Sockets) -> None:
        """Have the supervisor serve this; then it is in force."""
        listen = facts.policy.listen
        guard = published(facts)
        order = {"order": "serve", "site": f"{FOLDER}/{SITE}", "https": len(listen.https)}
        handed = [sockets[endpoint].fileno() for endpoint in (*listen.https, *listen.http)]
        await self._ask(order, "serving", _SERVING, handed)
        before, self._sockets = self._sockets, sockets
        self._let_go(before)
        self._facts, self._guard = facts, guard

    async def _ask(
        self, order: dict[str, object], wanted: str, seconds: float, descriptors: Sequence[int] = ()
    ) -> dict[str, Any]:
        """An order and its answer.

        Raises:
            AppError: the answer is that the app does not start.
            EngineRefused: there is none.
        """
        assert self._channel is not None  # noqa: S101 - started
        async with self._asking:
            try:
                self._channel.send(order, descriptors)
                said = await asyncio.wait_for(self._channel.receive(), seconds)
            except (OSError, TimeoutError) as error:
                raise _silent(f"it did not answer ({type(error).__name__})") from None
        if said is None:
            raise _silent("it ended")
        answer = said[0]
        if answer["event"] == "failed":
            raise AppError(answer["code"], answer["fact"], answer["remedy"], **answer["details"])
        if answer["event"] != wanted:
            raise _silent(f"it answered {answer['event']}")
        return answer

    def needs_restart(self, facts: RenderFacts) -> str:
        """Nothing: new workers read everything anew."""
        del facts
        return ""

    async def apply(self, facts: RenderFacts) -> bool:
        """New workers by new settings, always: a reload loads the app anew. The old ones finish what they do.

        Raises:
            SealgateError: the files are then as they were, and the old workers serve.
        """
        before = self._rendered.files
        answer_exactly(self._folder / ANSWERS, facts.challenges)
        sockets = self._bound(facts)
        self._rendered.write(render(facts))
        try:
            await self._serve(facts, sockets)
        except BaseException:
            self._rendered.write(before)
            self._let_go(sockets)
            raise
        return True

    async def refresh(self) -> None:
        """Have the workers look at certificate and trust now; they would within a moment.

        The guard's policy they read once. Where it was put back after new workers had read another (a reload
        was undone), they are replaced.
        """
        facts = self._facts
        if facts is None:
            return
        if published(facts) != self._guard:
            await self._serve(facts, self._sockets)
        else:
            await self._ask({"order": "refresh"}, "refreshed", _REFRESHED)

    async def spread(self, facts: RenderFacts) -> None:
        """Nothing: its workers are its own."""

    async def challenge(self, facts: RenderFacts) -> None:
        """Answer exactly these: files that the process beside the workers reads when asked.

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
        before, self._sockets = self._sockets, {}
        self._let_go(before)
        if not self.running:
            return True
        try:
            answer = await self._ask({"order": "drain", "seconds": seconds}, "drained", seconds + _AFTER)
        except EngineRefused:  # it is gone: nothing is left to wait for
            return not self.running
        return bool(answer["clean"])

    async def stop(self) -> None:
        """End the processes; the sockets stay open for the next start."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 3)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def remove(self) -> None:
        """After the last `stop`: no socket is left open."""
        if self._counting >= 0:
            os.close(self._counting)
            self._counting = -1
        before, self._sockets = self._sockets, {}
        self._let_go(before)


def _silent(how: str) -> EngineRefused:
    fact = f"uvicorn's supervisor did not do what it was told: {how}"
    return EngineRefused("engine-refused", fact, "look at the lines before this one")
