"""The watcher as its parent sees it: started, answered, started again when it dies. It holds nothing up.

The parent makes the listening sockets and keeps them over the watcher's lives. What the watcher may ask is a
snapshot, and that its notes be kept; it is killed for anything else.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealgate._system.files import private_directory, write_atomic
from sealgate.errors import SealgateError
from sealgate.monitor.snapshot import Snapshot, to_json
from sealgate.policy.load import Loaded
from sealgate.policy.model import Endpoint
from sealgate.policy.secrets import Secret
from sealgate.runtime.briefing import LONGEST, Hook, Orders
from sealgate.runtime.supervise import Backoff

__all__ = ["Settings", "Watching", "environment", "settings_of"]

_NOTES = 2 * 1024 * 1024  # more than the largest that can be (alerts.py)
_LONGEST_ASK = 2 * _NOTES + 1024  # a text is escaped once more on its way
_BACKLOG = 128
# All that a watcher needs of the environment; anybody's secrets may stand in the rest.
_ENVIRONMENT = frozenset({"LANG", "LC_ALL", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a policy asks of the watcher."""

    page: Endpoint | None
    probes: Endpoint | None
    hooks: tuple[tuple[str, Secret], ...] = ()

    @property
    def needed(self) -> bool:
        """Is there anything to show, or anybody to tell?"""
        return bool(self.page or self.probes or self.hooks)

    def same_as(self, other: Settings) -> bool:
        """Would nothing change?"""
        mine = (self.page, self.probes, [(url, secret.reveal()) for url, secret in self.hooks])
        return mine == (other.page, other.probes, [(url, secret.reveal()) for url, secret in other.hooks])


def settings_of(loaded: Loaded, environ: Mapping[str, str] = os.environ) -> Settings:
    """What a loaded policy asks for; its secrets are read.

    Raises:
        PolicyError: ``secret-missing``, ``secret-insecure``, ``secret-unreadable``.
    """
    monitor = loaded.policy.monitor
    hooks = tuple(
        (one.webhook, one.secret.read(base=loaded.base, environ=environ, euid=os.geteuid()))
        for one in monitor.alerts
    )
    return Settings(monitor.page, monitor.probe, hooks)


class Watching:
    """Keeps a watcher.

    Args:
        folder: where its notes are kept; made where it is not there.
        settings: what it shall do now.
        snapshot: gathers.
        confine: run in the child's process before it becomes the watcher.
        say: one line for people.
        changed: set when the settings may have changed.
        every: seconds between two looks of the watcher; each asks for a snapshot.
    """

    def __init__(
        self,
        folder: Path,
        settings: Callable[[], Settings],
        snapshot: Callable[[], Awaitable[Snapshot]],
        confine: Callable[[], None],
        say: Callable[[str], None],
        changed: asyncio.Event,
        every: float = 5.0,
    ) -> None:
        self._folder, self._settings, self._snapshot = folder, settings, snapshot
        self._confine, self._say, self._every = confine, say, every
        self._sockets: dict[Endpoint, socket.socket] = {}
        self._said = ""
        self.changed = changed

    async def keep(self) -> None:
        """Until cancelled; then nothing of it is left."""
        backoff = Backoff()
        try:
            while True:
                self.changed.clear()
                born = time.monotonic()
                problem = await self._problem()
                if problem:
                    backoff, wait = backoff.ended(time.monotonic() - born)
                    self._once(f"{problem}; it is started again")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.changed.wait(), wait)
        finally:
            for sock in self._sockets.values():
                sock.close()

    async def _problem(self) -> str:
        """One life; why it ended, empty where that was meant."""
        try:
            ended = await self._life(self._settings())
        except (SealgateError, OSError) as error:
            return f"the watcher could not be started ({error})"
        return "the watcher ended" if ended else ""

    def _once(self, line: str) -> None:
        if line != self._said:
            self._say(line)
        self._said = line

    async def _life(self, settings: Settings) -> bool:
        """One watcher from start to end; false: it was ended because something changed."""
        self._listen(settings)
        if not settings.needed:
            await self.changed.wait()
            return False
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = await self._started(theirs)
            try:
                return await self._attended(process, ours, settings)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _started(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sealgate.runtime.watcher"),
            stdin=theirs.fileno(),
            stdout=asyncio.subprocess.DEVNULL,
            env=environment(),
            cwd="/",
            pass_fds=[sock.fileno() for sock in self._sockets.values()],
            start_new_session=True,
            preexec_fn=self._confine,
        )

    def _listen(self, settings: Settings) -> None:
        """Have exactly the sockets that are asked for; those that stay keep who waits in them."""
        wanted = [place for place in (settings.page, settings.probes) if place is not None]
        for place in set(self._sockets) - set(wanted):
            self._sockets.pop(place).close()
        for place in wanted:
            if place not in self._sockets:
                self._sockets[place] = _listening(place)

    async def _attended(
        self, process: asyncio.subprocess.Process, ours: socket.socket, settings: Settings
    ) -> bool:
        reader, writer = await asyncio.open_connection(sock=ours.dup(), limit=_LONGEST_ASK)
        writer.write(self._orders(settings).to_json().encode() + b"\n")
        tasks = {
            asyncio.ensure_future(work)
            for work in (self._answer(reader, writer), process.wait(), self._until_other(settings))
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return not self.changed.is_set()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()

    async def _until_other(self, settings: Settings) -> None:
        """Return once the watcher shall do something else."""
        while True:
            await self.changed.wait()
            try:
                if not settings.same_as(self._settings()):
                    return
            except SealgateError as error:  # a secret that is gone now: what was told stays in force
                self._once(str(error))
            self.changed.clear()

    def _orders(self, settings: Settings) -> Orders:
        def number(place: Endpoint | None) -> int:
            return self._sockets[place].fileno() if place is not None else -1

        return Orders(
            parent=os.getpid(),
            page=number(settings.page),
            probes=number(settings.probes),
            listens=str(settings.page or ""),
            hooks=tuple(
                Hook(url, base64.b64encode(secret.reveal()).decode()) for url, secret in settings.hooks
            ),
            notes=self._notes(),
            every=self._every,
        )

    # Answering

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the watcher is gone, or says what it must not."""
        with contextlib.suppress(OSError, ValueError):  # a line without an end is a ValueError, as is no JSON
            while line := await reader.readline():
                match json.loads(line):
                    case {"id": int(number), "ask": "snapshot", **more} if not more:
                        answer = await self._snapped()
                    case {"id": int(number), "keep": text, **more} if not more:
                        answer = {"kept": await asyncio.to_thread(self._keep_notes, text)}
                    case _:
                        return
                data = json.dumps({"id": number, **answer}).encode()
                if len(data) >= LONGEST:
                    data = json.dumps({"id": number, "failed": "too large"}).encode()
                writer.write(data + b"\n")
                await writer.drain()

    async def _snapped(self) -> dict[str, Any]:
        try:
            return {"snapshot": to_json(await self._snapshot())}
        except Exception as error:  # noqa: BLE001 - whatever it is, the watcher must hear that there is none
            self._once(f"no snapshot could be gathered ({type(error).__name__}: {error})")
            return {"failed": type(error).__name__}

    def _keep_notes(self, text: object) -> bool:
        data = text.encode(errors="replace") if isinstance(text, str) else b""
        if not 0 < len(data) <= _NOTES:
            return False
        try:
            write_atomic(private_directory(self._folder) / "alerts.json", data)
        except SealgateError as error:
            self._once(str(error))
            return False
        return True

    def _notes(self) -> str:
        try:
            with (self._folder / "alerts.json").open("rb") as file:
                return file.read(_NOTES).decode()
        except (OSError, UnicodeDecodeError):
            return ""


def environment() -> dict[str, str]:
    """What processes without keys are started with."""
    found = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
    # Where this very program was found, and nowhere that somebody else named.
    return {**found, "PYTHONPATH": str(Path(__file__).parents[2])}


def _listening(place: Endpoint) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((place.host, place.port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        sock.close()
        raise
    return sock
