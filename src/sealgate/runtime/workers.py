"""The app's worker processes: started, announced to the engine, rolled over, started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sealgate._system.landlock import WRITE, Grant, confine
from sealgate._system.process import ORDINARY, become, limit_capabilities
from sealgate._system.sockets import bind_unix
from sealgate.engines.counts import Table, shared
from sealgate.errors import AppError, SealgateError
from sealgate.runtime.app import Interface
from sealgate.runtime.separation import Separation
from sealgate.runtime.supervise import Backoff
from sealgate.runtime.worker import Orders

__all__ = ["Launch", "Pool", "Running", "discard", "launch"]

_START = 300.0
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@dataclass(frozen=True, slots=True)
class Launch:
    """What every worker of one generation is started with; `Orders` says what each is."""

    app: str
    folder: Path
    guard: Path
    threads: int
    separation: Separation
    environ: Mapping[str, str]
    identity: str = "h2"
    proof: str = field(default="", repr=False)
    revocations: int = -1
    issued: int = -1
    rates: int = -1


@dataclass(slots=True)
class Running:
    """A worker that said it is ready.

    Attributes:
        process: the process.
        socket: relative to the state directory.
        interface: what its app turned out to be.
        counts: what it counts.
        draining: nothing new goes to it.
        ending: told to end; its end is no crash.
    """

    process: asyncio.subprocess.Process
    socket: str
    interface: Interface
    counts: Table
    started: float
    draining: bool = False
    ending: bool = False


async def launch(spec: Launch) -> Running:
    """Start a worker and wait until it is ready.

    Raises:
        AppError: the app cannot be imported, or its startup fails; nothing is left running.
    """
    counting = shared()
    try:
        return await _launched(spec, counting)
    finally:
        os.close(counting)


async def _launched(spec: Launch, counting: int) -> Running:
    state = spec.separation.state
    name = f"run/app-{secrets.token_hex(16)}.sock"
    listener = bind_unix(state / name)
    reading, writing = os.pipe()
    try:
        if spec.separation.engine.uid >= 0:
            os.chown(state / name, spec.separation.engine.uid, -1)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sealgate.runtime.worker"),
            stdin=asyncio.subprocess.PIPE,
            env=_environment(spec),
            pass_fds=tuple(
                fd
                for fd in (
                    *(writing, listener.fileno(), counting),
                    *(spec.revocations, spec.issued, spec.rates),
                )
                if fd >= 0
            ),
            start_new_session=True,
            preexec_fn=partial(_separated, spec.separation),
        )
    except BaseException as error:
        os.close(reading)
        (state / name).unlink(missing_ok=True)
        if isinstance(error, subprocess.SubprocessError):  # of `_separated`; never go on without
            raise AppError(
                "app-startup-failed", "a worker could not be separated from the keys", "report this"
            ) from None
        raise
    finally:
        os.close(writing)
        number = listener.fileno()
        listener.close()
    try:
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.write(_orders(spec, number, writing, counting).to_json().encode())
        process.stdin.close()
        interface = await asyncio.wait_for(_answer(reading, process, spec.app), _START)
    except BaseException as error:
        await _kill(process)
        (state / name).unlink(missing_ok=True)
        if isinstance(error, TimeoutError):
            fact = f"{spec.app} was not ready within {_START:.0f} s"
            raise AppError("app-startup-failed", fact, "make its import faster") from None
        raise
    return Running(process, name, interface, Table(counting), time.monotonic())


def _separated(separation: Separation) -> None:
    """In the worker's process, before its interpreter starts.

    An app of the same user may have left something where an interpreter looks by itself (`.pth` files,
    `sitecustomize`, a package's own code): in the next worker it must find the same walls.
    """
    if separation.app.uid >= 0:
        become(separation.app.uid, separation.app.gid)
    limit_capabilities(ORDINARY if os.geteuid() == 0 else frozenset())
    allowed = [Grant(path) for path in separation.app_readable()]
    allowed += [Grant(path, WRITE) for path in separation.app_writable()]
    confine(hidden=separation.hidden, allowed=allowed, fixed=separation.fixed)


def _environment(spec: Launch) -> dict[str, str]:
    environ = {key: value for key, value in spec.environ.items() if key not in _OURS}
    temp = spec.separation.app_temp()
    if temp is not None:
        temp.mkdir(mode=0o700, exist_ok=True)
        if spec.separation.app.uid >= 0:
            os.chown(temp, spec.separation.app.uid, spec.separation.app.gid)
        environ["TMPDIR"] = str(temp)
    return environ


def _orders(spec: Launch, listener: int, answers: int, counts: int) -> Orders:
    return Orders(
        app=spec.app,
        folder=str(spec.folder),
        listener=listener,
        guard=spec.guard.read_text(),
        threads=spec.threads,
        parent=os.getpid(),
        answers=answers,
        identity=spec.identity,
        proof=spec.proof,
        counts=counts,
        revocations=spec.revocations,
        issued=spec.issued,
        rates=spec.rates,
    )


async def _answer(reading: int, process: asyncio.subprocess.Process, app: str) -> Interface:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
    )
    try:
        line = await reader.readline()
    except ValueError:  # longer than any answer of ours
        line = b"-"
    finally:
        transport.close()
    if not line:
        await process.wait()
        fact = f"{app} ended its worker while starting ({_status(process.returncode or 0)})"
        raise AppError("app-startup-failed", fact, "look at the lines before this one")
    try:
        answer = json.loads(line)
        failed = None
        if answer["event"] != "ready":
            failed = AppError(answer["code"], answer["fact"], answer["remedy"], **answer["details"])
        interface: Interface = "asgi" if failed is None and answer["interface"] == "asgi" else "wsgi"
    except (ValueError, TypeError, LookupError, RecursionError):
        fact = f"{app} wrote into a descriptor that is not its own while starting"
        raise AppError(
            "app-startup-failed", fact, "let it leave open files alone that it did not open"
        ) from None
    if failed is not None:
        raise failed
    return interface


def _status(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"status {code}"


async def discard(worker: Running, state: Path) -> None:
    """End a worker that shall not serve, at once."""
    await _kill(worker.process)
    (state / worker.socket).unlink(missing_ok=True)


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _added(sums: list[int], counts: Table) -> list[int]:
    more = counts.read()
    return [one + other for one, other in zip(sums, more, strict=True)] if sums else more


class Pool:
    """All workers of a site.

    Args:
        state: the state directory.
        announce: tells the engine which workers there are; returns once it goes by it.
        idle: waits until the engine has nothing under way to a socket, at most so many seconds.
        say: one line for people.
    """

    def __init__(
        self,
        state: Path,
        announce: Callable[[], Awaitable[None]],
        idle: Callable[[str, float], Awaitable[bool]],
        say: Callable[[str], None],
    ) -> None:
        self._state = state
        self._announce = announce
        self._idle = idle
        self._say = say
        self._launch: Launch | None = None
        self._count = 0
        self._rolling = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._backoff = Backoff()
        self.running: list[Running] = []
        self._counted: list[int] = []

    def counted(self) -> list[int]:
        """What all workers that there were have counted: a row of :class:`Table`; empty: there was none."""
        sums = self._counted
        for worker in self.running:
            sums = _added(sums, worker.counts)
        return sums

    def _leave(self, worker: Running) -> None:
        """It is no more; what it counted stays."""
        if worker in self.running:
            self.running.remove(worker)
            self._counted = _added(self._counted, worker.counts)

    @property
    def _serving(self) -> int:
        return sum(not worker.draining for worker in self.running)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def add(self, worker: Running) -> None:
        """Take in a ready worker and watch it; `announce` is the caller's."""
        self.running.append(worker)
        self._beside(self._watch(worker))

    async def fill(self, spec: Launch, count: int) -> None:
        """Start the first workers, side by side; on a failure none is left.

        Raises:
            AppError: the app cannot be imported, or its startup fails.
        """
        self._launch, self._count = spec, count

        async def one() -> None:
            self.add(await launch(spec))

        results = await asyncio.gather(*(one() for _ in range(count)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                await self.stop(0)
                raise result

    async def roll(self, spec: Launch | None, count: int, first: Running | None, drain: float) -> None:
        """Replace all workers one by one; returns once the new ones serve.

        The old ones get nothing new, and end beside it when nothing is under way to them. A new one that
        cannot be started after the first could is a crash like any other: it is tried again later.

        Args:
            spec: how the new ones are started; None: there shall be none.
            count: how many there shall be.
            first: a new one that is ready already.
            drain: seconds that an old one may take to finish.
        """
        old = [worker for worker in self.running if not worker.draining]
        self._launch, self._count, self._rolling = spec, count, True
        try:
            for step in range(max(len(old), count)):
                if step < count and spec is not None:
                    await self._another(spec, first if step == 0 else None)
                if step < len(old):
                    old[step].draining = True
                await self._announced()
                if step < len(old):
                    self._beside(self._retire(old[step], drain))
        finally:
            self._rolling = False
        if self._serving < count:
            self._beside(self._again(1.0))

    async def _another(self, spec: Launch, ready: Running | None) -> None:
        try:
            self.add(ready or await launch(spec))
        except (SealgateError, OSError) as error:
            self._say(f"no worker could be started ({error})")

    async def _announced(self) -> None:
        """What cannot be announced now is in the engine's files, and counts when it reads them."""
        try:
            await self._announce()
        except SealgateError as error:
            self._say(str(error))

    async def _retire(self, worker: Running, drain: float) -> None:
        with contextlib.suppress(SealgateError):
            await self._idle(worker.socket, drain)
        await self._end(worker, drain)
        await self._announced()

    async def _end(self, worker: Running, seconds: float) -> None:
        worker.ending = worker.draining = True
        if worker.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                worker.process.terminate()
            try:
                await asyncio.wait_for(worker.process.wait(), max(seconds, 1.0))
            except TimeoutError:
                await _kill(worker.process)
        (self._state / worker.socket).unlink(missing_ok=True)
        self._leave(worker)

    async def stop(self, seconds: float) -> None:
        """End all, each within `seconds`."""
        self._launch = None
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._end(worker, seconds) for worker in list(self.running)))

    async def _watch(self, worker: Running) -> None:
        code = await worker.process.wait()
        if worker.ending:
            return
        self._leave(worker)
        (self._state / worker.socket).unlink(missing_ok=True)
        await self._announced()
        if self._rolling or worker.draining:
            return
        self._backoff, wait = self._backoff.ended(time.monotonic() - worker.started)
        self._say(f"worker {worker.process.pid} ended ({_status(code)}); starting another in {wait:.1f} s")
        await self._again(wait)

    def _lacks_one_of(self, spec: Launch | None) -> bool:
        current = spec is not None and self._launch is spec
        return current and not self._rolling and self._serving < self._count

    async def _again(self, wait: float) -> None:
        """Start another worker, however often it takes, while one is lacking."""
        while True:
            await asyncio.sleep(wait)
            spec, born = self._launch, time.monotonic()
            if spec is None or not self._lacks_one_of(spec):
                return
            try:
                fresh = await launch(spec)
            except (SealgateError, OSError) as error:
                self._backoff, wait = self._backoff.ended(time.monotonic() - born)
                self._say(f"no worker could be started ({error}); trying again in {wait:.1f} s")
                continue
            if self._lacks_one_of(spec):
                self.add(fresh)
                await self._announced()
                self._say(f"worker {fresh.process.pid} serves in its place")
                return
            # A reload, a stop, or another such task came in between.
            await discard(fresh, self._state)
            wait = 0.1
