"""What the keeper sees of an engine that runs the app inside of itself: a supervisor with its workers.

Started by the engine's driver as ``python -P -m sealgate.runtime.inside.supervisor CHANNEL COUNTS REVOCATIONS
STATE``.
Orders come over the channel, sockets with them; answers go back:

``serve``   settings (a file) and listening sockets: at first, and on every reload. New workers come one
            by one, each ready before an old one is told to end. One that does not ends the matter: what
            was in force stays. Answered when all new ones serve and no old one accepts any more.
``refresh`` certificate or trust changed; answered when all workers have looked.
``drain``   accept no more, finish what is under way; answered when all have ended, or their time has.

It holds no key and no app, and sees no request. Workers that die are started again, later and later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sealgate.engines.channel import Channel
from sealgate.engines.redirect import ANSWERS, command
from sealgate.engines.servers.uvicorn.settings import FOLDER, Settings
from sealgate.errors import AppError, SealgateError
from sealgate.runtime.inside.budget import Budget, shared_memory
from sealgate.runtime.inside.child import Child, failed, spawn, status_text
from sealgate.runtime.inside.uvicorn import Orders
from sealgate.runtime.supervise import Backoff

__all__ = ["Supervisor", "main"]

_PLACES = 256
_START = 300.0
_STOPPED_ACCEPTING = 5.0
_REFRESHED = 5.0
_LINGER = 2.0
_LINGER_LAST = 0.3
_AFTER = 6.0
_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class _Site:
    """What is served: settings as text and as data, and the sockets."""

    text: str
    settings: Settings
    https: tuple[socket.socket, ...]
    http: tuple[socket.socket, ...]


class Supervisor:
    """The process.

    Args:
        channel: to the driver.
        state: the state directory, absolute.
        counts: descriptor of the memory in which workers count what they answer.
        revocations: descriptor of the revoked clients; -1: nobody is.
        issued: descriptor of the keys by which tokens count; -1: none.
        rates: descriptor of the budgets of callers; -1: nobody counts.
    """

    def __init__(
        self,
        channel: Channel,
        state: Path,
        counts: int,
        revocations: int = -1,
        issued: int = -1,
        rates: int = -1,
    ) -> None:
        self._channel, self._state = channel, state
        self._counts, self._revocations = counts, revocations
        self._issued, self._rates = issued, rates
        self._site: _Site | None = None
        self._workers: list[Child] = []
        self._redirect: Child | None = None
        self._old: list[Child] = []
        self._memory = shared_memory(_PLACES)
        self._budget = Budget(0, fd=self._memory, place=0)
        self._places = set(range(1, _PLACES))
        self._tasks: set[asyncio.Task[None]] = set()
        self._backoff = Backoff()
        self._redirecting = asyncio.Lock()
        self._draining = False

    async def run(self) -> None:
        """Obey until the driver is gone or a drain is over."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.create_task(self._obey())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.cancel)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await stopped
        finally:
            for child in self._all():
                child.ending = True
                child.kill()
            await asyncio.gather(*(child.process.wait() for child in self._all()))

    def _all(self) -> list[Child]:
        return [*self._workers, *self._old, *([self._redirect] if self._redirect else [])]

    async def _obey(self) -> None:
        while True:
            order = await self._channel.receive()
            if order is None:
                return
            message, descriptors = order
            try:
                await self._do(message, descriptors)
            except SealgateError as error:
                details = {key: str(value) for key, value in error.details.items()}
                said = {"code": error.code, "fact": error.fact, "remedy": error.remedy, "details": details}
                self._channel.send({"event": "failed", **said})

    async def _do(self, message: dict[str, Any], descriptors: list[int]) -> None:
        match message["order"]:
            case "serve":
                sockets = [socket.socket(fileno=fd) for fd in descriptors]
                text = (self._state / message["site"]).read_text("ascii")
                count = int(message["https"])
                https, http = tuple(sockets[:count]), tuple(sockets[count:])
                await self._serve(_Site(text, Settings.from_json(text), https, http))
                self._channel.send({"event": "serving"})
            case "refresh":
                await self._refresh()
                self._channel.send({"event": "refreshed"})
            case "drain":
                clean = await self._drain(float(message["seconds"]))
                self._channel.send({"event": "drained", "clean": clean})
            case other:
                raise AssertionError(f"no such order: {other}")

    # Serving

    async def _serve(self, site: _Site) -> None:
        """The first time, or another way than before."""
        before, old = self._site, list(self._workers)
        try:
            first = await self._started(site)
        except BaseException:
            for sock in (*site.https, *site.http):
                sock.close()
            raise
        self._site = site
        self._workers = [first]
        await self._redirect_anew(site)
        await self._retire(old[:1])
        for number in range(1, site.settings.workers):
            try:
                self._workers.append(await self._started(site))
            except SealgateError as error:
                _say(str(error))
                self._soon(self._again(0.0))
            await self._retire(old[number : number + 1])
        await self._retire(old[site.settings.workers :])
        for sock in (*before.https, *before.http) if before else ():
            sock.close()

    async def _started(self, site: _Site) -> Child:
        """A worker that is ready.

        Raises:
            AppError: it did not get so; nothing is left of it.
        """
        ours, theirs = Channel.pair()
        place = self._places.pop()
        orders = Orders(
            site=site.text,
            state=str(self._state),
            listeners=tuple(sock.fileno() for sock in site.https),
            channel=theirs.fileno(),
            budget=self._memory,
            counts=self._counts,
            revocations=self._revocations,
            issued=self._issued,
            rates=self._rates,
            place=place,
            parent=os.getpid(),
        )
        program = (sys.executable, "-P", "-m", "sealgate.runtime.inside.uvicorn")
        inherited = orders.descriptors
        try:
            child = await spawn(program, orders.to_json(), inherited, place, ours)
        except OSError as error:
            self._places.add(place)
            ours.close()
            fact = f"no process could be had for a worker of {site.settings.app} ({error.strerror})"
            raise AppError("app-startup-failed", fact, "see to memory and the limit of processes") from None
        finally:
            theirs.close()
        said = asyncio.create_task(ours.receive())
        ended = asyncio.create_task(child.process.wait())
        await asyncio.wait((said, ended), timeout=_START, return_when=asyncio.FIRST_COMPLETED)
        message = said.result() if said.done() else None
        ended.cancel()
        if message is not None and message[0]["event"] == "ready":
            self._soon(child.listen())
            self._soon(self._ended(child))
            return child
        said.cancel()
        child.kill()
        status = await child.process.wait()
        self._free(child)
        raise failed(message[0] if message else None, site.settings.app, status)

    async def _redirect_anew(self, site: _Site) -> None:
        """On the same sockets, or others; connections that wait are taken by the new one. One at a time."""
        async with self._redirecting:
            if site is not self._site or self._draining:
                return
            old, self._redirect = self._redirect, await self._redirect_of(site) if site.http else None
        if old is not None:
            old.ending = True
            self._old.append(old)
            old.kill(signal.SIGTERM)

    async def _redirect_of(self, site: _Site) -> Child | None:
        """A process for plain HTTP; None: there is none to be had at the moment, and it is tried again."""
        place = self._places.pop()
        orders = replace(
            site.settings.redirect,
            listeners=tuple(sock.fileno() for sock in site.http),
            parent=os.getpid(),
            budget=self._memory,
            place=place,
            answers=str(self._state / FOLDER / ANSWERS),
            state=str(self._state),
        )
        try:
            child = await spawn(command(sys.executable), orders.to_json(), orders.descriptors, place)
        except OSError as error:
            self._places.add(place)
            _say(f"plain HTTP has no process ({error.strerror}); again in {_AGAIN:.0f} s")
            self._soon(self._redirect_again(_AGAIN))
            return None
        self._soon(self._ended(child))
        return child

    async def _redirect_again(self, wait: float) -> None:
        await asyncio.sleep(wait)
        if self._site is not None and self._redirect is None:
            await self._redirect_anew(self._site)

    # Endings

    async def _retire(self, children: Sequence[Child]) -> None:
        """Tell them to end, and wait until they accept no more."""
        assert self._site is not None  # noqa: S101 - somebody serves
        seconds = self._site.settings.drain
        for child in children:
            child.tell({"order": "drain", "linger": _LINGER, "seconds": seconds, "last": False})
            child.ending = True
            self._old.append(child)
            self._soon(child.ended_within(seconds + _AFTER))
        for child in children:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.heard("draining").wait(), _STOPPED_ACCEPTING)

    async def _ended(self, child: Child) -> None:
        """Wait for its end; unless it was told to, start another."""
        status = await child.process.wait()
        self._free(child)
        for event in list(child.said.values()):
            event.set()
        if child in self._old:
            self._old.remove(child)
        if child.ending or self._draining:
            return
        self._backoff, wait = self._backoff.ended(time.monotonic() - child.started)
        what = "the redirect process" if child is self._redirect else "a worker"
        _say(f"{what} ended ({status_text(status)}); starting another in {wait:.1f} s")
        if child is self._redirect:
            self._redirect = None
            await self._redirect_again(wait)
        elif child in self._workers:
            self._workers.remove(child)
            await self._again(wait)

    async def _again(self, wait: float) -> None:
        while True:
            await asyncio.sleep(wait)
            site = self._site
            if site is None or self._draining or len(self._workers) >= site.settings.workers:
                return
            began = time.monotonic()
            try:
                child = await self._started(site)
            except SealgateError as error:
                self._backoff, wait = self._backoff.ended(time.monotonic() - began)
                _say(f"{error}; again in {wait:.1f} s")
                continue
            if site is not self._site or len(self._workers) >= site.settings.workers:
                await self._retire([child])  # a reload was quicker
            else:
                self._workers.append(child)
                _say("a worker serves in its place")
            return

    def _free(self, child: Child) -> None:
        self._budget.clear(child.place)
        self._places.add(child.place)
        if child.channel is not None:
            child.channel.close()

    async def _refresh(self) -> None:
        workers = list(self._workers)
        for child in workers:
            child.heard("refreshed").clear()
            child.tell({"order": "refresh"})
        for child in workers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.heard("refreshed").wait(), _REFRESHED)

    async def _drain(self, seconds: float) -> bool:
        self._draining = True
        if self._site is not None:
            for sock in (*self._site.https, *self._site.http):
                sock.close()
        children = self._all()
        for child in children:
            if child.channel is not None and not child.ending:
                order = {"order": "drain", "linger": _LINGER_LAST, "seconds": seconds, "last": True}
                child.tell(order)
            child.ending = True
        if self._redirect is not None:
            self._redirect.kill(signal.SIGTERM)
        waits = [asyncio.create_task(child.process.wait()) for child in children]
        if not waits:
            return True
        began = time.monotonic()
        _, pending = await asyncio.wait(waits, timeout=seconds + _AFTER)
        for child in children:
            child.kill()
        return not pending and time.monotonic() - began < seconds

    def _soon(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _say(text: str) -> None:
    sys.stderr.write(f"sealgate: uvicorn: {text}\n")
    sys.stderr.flush()


def main() -> int:
    """Until told to end."""
    number, counts, *shared = (int(text) for text in sys.argv[1:6])
    state = Path(sys.argv[6])
    channel = Channel(socket.socket(fileno=number))
    for descriptor in (number, counts, *(one for one in shared if one >= 0)):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature
    asyncio.run(Supervisor(channel, state, counts, *shared).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
