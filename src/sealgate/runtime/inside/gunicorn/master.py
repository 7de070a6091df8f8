"""Gunicorn's arbiter, with a reload that cannot fail halfway.

Gunicorn's own reload ends the old workers as soon as the new ones are forked, whether they can serve or not,
and ends itself if they cannot. Here the old ones stay until every new one has imported the app; if one of
those cannot, it is the new ones that go, and what was in force stays. Listeners that stay are never closed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.sock import TCP6Socket, TCPSocket

from sealgate._system.process import ORDINARY, die_with_parent, limit_capabilities
from sealgate.runtime.inside.budget import Budget
from sealgate.runtime.inside.gunicorn.plan import PLACES
from sealgate.runtime.supervise import Backoff

__all__ = ["Master"]

_BOOT = 60.0
_KILLED = 2.0
_CLOSING = 3.0


class _OnlyIPv6(TCP6Socket):  # type: ignore[misc]  # Gunicorn has no types
    def bind(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().bind(sock)


class Master(Arbiter):  # type: ignore[misc]  # Gunicorn has no types
    """The arbiter of one site.

    Args:
        app: says what to serve (``__main__.py``).
        answer: tells the driver of an event.
    """

    def __init__(self, app: Any, answer: Callable[..., None]) -> None:  # noqa: ANN401 - Gunicorn's
        self._tell = answer
        self._booting: dict[int, int] = {}
        self._born: dict[int, float] = {}
        self._places: dict[int, int] = {}
        self._retiring: dict[int, float] = {}
        self._backoff, self._not_before = Backoff(), 0.0
        self._writing = -1
        self._served = False
        super().__init__(app)

    def start(self) -> None:
        """Open the listeners, then as Gunicorn does."""
        self.LISTENERS = [self._bound_at_last(address) for address in self.cfg.address]
        super().start()

    def _bound_at_last(self, address: tuple[str, int]) -> Any:  # noqa: ANN401 - Gunicorn's listener
        """Workers of an arbiter that was killed may still be closing theirs."""
        end = time.monotonic() + _CLOSING
        while True:
            try:
                return self._bound(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def _bound(self, address: tuple[str, int]) -> Any:  # noqa: ANN401 - Gunicorn's listener
        kind = _OnlyIPv6 if ":" in address[0] else TCPSocket
        return kind(address, self.cfg, self.log)

    # Workers

    def spawn_worker(self) -> int:
        """Fork a worker; its end of a pipe says when it serves."""
        taken = set(self._places.values())
        place = next(number for number in range(1, PLACES) if number not in taken)
        self.worker_class.plan.place = place
        reading, self._writing = os.pipe()
        try:
            pid = int(super().spawn_worker())  # a child never comes back from there
        finally:
            os.close(self._writing)
        self._booting[pid], self._born[pid], self._places[pid] = reading, time.monotonic(), place
        return pid

    def forked(self) -> None:
        """In a new worker, before anything of the app is there."""
        for reading in self._booting.values():
            os.close(reading)
        self._booting.clear()
        self._tell.close()  # type: ignore[attr-defined]  # the driver listens to the arbiter alone
        limit_capabilities(ORDINARY if os.geteuid() == 0 else frozenset())
        die_with_parent(self.pid, signal.SIGTERM)

    def serving(self) -> None:
        """In a new worker that has imported the app."""
        with contextlib.suppress(OSError):
            os.write(self._writing, b"1")

    def manage_workers(self) -> None:
        """As many as there shall be; those that take too long to end are killed."""
        now = time.monotonic()
        for pid in [pid for pid, end in self._retiring.items() if now > end]:
            self.kill_worker(pid, signal.SIGKILL)
        lacking = int(self.num_workers) - len(set(self.WORKERS) - set(self._retiring))
        if lacking <= 0 or now < self._not_before:
            return
        fresh = [self.spawn_worker() for _ in range(lacking)]
        if self._served:
            return
        if not self._booted(fresh):
            raise HaltServer("a worker could not start", self.APP_LOAD_ERROR)
        self._served = True
        self._tell("ready")

    def reap_workers(self) -> None:
        """Take leave of those that ended; one that could not start is no reason to end all others."""
        before = set(self.WORKERS)
        try:
            super().reap_workers()
        except HaltServer:
            if not self._served and not self._booting:
                raise
        for pid in before - set(self.WORKERS):
            self._gone(pid)

    def _gone(self, pid: int) -> None:
        if (reading := self._booting.pop(pid, None)) is not None:
            os.close(reading)
        place = self._places.pop(pid, 0)
        if place and self.app.plan.budget >= 0:
            Budget(0, fd=self.app.plan.budget).clear(place)
        lived = time.monotonic() - self._born.pop(pid, 0.0)
        if self._retiring.pop(pid, None) is None and self._served:
            self._backoff, wait = self._backoff.ended(lived)
            self._not_before = time.monotonic() + wait
            self.log.error("worker %s ended; starting another in %.1f s", pid, wait)

    def _booted(self, pids: Iterable[int]) -> bool:
        """Wait until all of them serve; false as soon as one cannot."""
        waiting, end = set(pids), time.monotonic() + _BOOT
        while waiting and time.monotonic() < end:
            self._until_stopped()
            pipes = {self._booting[pid]: pid for pid in waiting if pid in self._booting}
            if len(pipes) < len(waiting):
                return False
            ready, _, _ = select.select(list(pipes), [], [], 0.1)
            for reading in ready:
                if not os.read(reading, 1):
                    return False
                waiting.discard(pipes[reading])
                os.close(self._booting.pop(pipes[reading]))
        return not waiting

    def _until_stopped(self) -> None:
        """A stop is not kept waiting by workers that start."""
        kept = []
        while not self.SIG_QUEUE.empty():
            number = self.SIG_QUEUE.get_nowait()
            if number in {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}:
                raise StopIteration
            kept.append(number)
        for number in kept:
            self.SIG_QUEUE.put_nowait(number)

    # Reloading

    def reload(self) -> None:
        """Serve by new orders, or go on by the ones before; the driver is told which."""
        added: list[Any] = []
        before, listeners = self.app.plan, self.LISTENERS
        old = set(self.WORKERS) - set(self._retiring)
        fresh: list[int] = []
        try:
            self.app.use(self.app.read())
            self.setup(self.app)
            known = {listener.cfg_addr: listener for listener in listeners}
            for address in [address for address in self.cfg.address if address not in known]:
                added.append(self._bound(address))  # noqa: PERF401 - one by one: what was bound must be closed
            known.update({listener.cfg_addr: listener for listener in added})
            self.LISTENERS = [known[address] for address in self.cfg.address]
            fresh = [self.spawn_worker() for _ in range(self.num_workers)]
            why = "" if self._booted(fresh) else "a new worker could not start; see the lines before this one"
        except (OSError, ValueError, KeyError) as error:
            why = str(error)
        if why:
            self._retire(fresh, 0.0)
            self.LISTENERS = listeners
            self.app.use(before)
            self.setup(self.app)
        else:
            self._retire(old, self.app.plan.orders.drain_seconds)
        for listener in added if why else [item for item in listeners if item not in self.LISTENERS]:
            listener.close()
        self._tell("refused" if why else "reloaded", why=why)

    def _retire(self, pids: Iterable[int], seconds: float) -> None:
        for pid in pids:
            if pid in self.WORKERS:
                self._retiring[pid] = time.monotonic() + seconds + _KILLED
                self.kill_worker(pid, signal.SIGTERM if seconds else signal.SIGKILL)

    # Stopping

    def stop(self, graceful: bool = True) -> None:  # noqa: FBT001, FBT002 - Gunicorn's signature
        """Accept no more, let what is under way come to its end."""
        for listener in self.LISTENERS:
            listener.close()
        self.LISTENERS = []
        self._retiring = dict.fromkeys(self.WORKERS, 0.0)
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGQUIT)
        end = time.monotonic() + (self.app.plan.orders.drain_seconds if graceful else _KILLED)
        while self.WORKERS and time.monotonic() < end:
            self.reap_workers()
            time.sleep(0.02)
        clean = not self.WORKERS
        self.kill_workers(signal.SIGKILL)
        while self.WORKERS and time.monotonic() < end + _KILLED:
            self.reap_workers()
            time.sleep(0.01)
        self._tell("stopped", clean=clean)
