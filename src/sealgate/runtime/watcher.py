"""The watcher: a process without keys that shows and tells how the deployment is.

Started as ``python -P -m sealgate.runtime.watcher`` with one end of a socketpair as standard input. JSON
lines: first its orders (``briefing.py``) come in; then it may ask for a snapshot, or that its notes be kept,
and is answered. Nothing else can be said, so who takes this process over can give no order. It ends with its
parent.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import secrets
import socket
import ssl
import sys
import time
from collections.abc import Coroutine
from typing import Any

from sealgate._system.clock import system_clock
from sealgate._system.process import die_with_parent
from sealgate.monitor import alerts as book
from sealgate.monitor.alerts import Delivery, Event
from sealgate.monitor.judge import Alert, judge, silent
from sealgate.monitor.metrics import Watched
from sealgate.monitor.snapshot import Snapshot, from_json
from sealgate.monitor.web import page, probes
from sealgate.monitor.web.serving import serve
from sealgate.monitor.webhook import deliver, target_of
from sealgate.policy.quoting import printable
from sealgate.runtime.briefing import LONGEST, Orders

__all__ = ["Parent", "Watcher", "main"]

_PAGE, _PROBES = 64, 256
_PROMPT = 2.0
"""Seconds until who connects to the probes must have asked and been answered."""
_QUIET = 60.0
"""Seconds between lines about what strangers cause in the event loop."""
_PATIENCE = 30.0
_SILENT = 60.0
_SAID = frozenset({0, 5, 20})  # which failed tries of a delivery are worth a line


class Parent:
    """Asks whoever started this process; one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._asking = asyncio.Lock()
        self._number = 0

    async def ask(self, **what: object) -> dict[str, Any]:
        """The answer; a late one to an earlier question is passed over.

        Raises:
            EOFError: nobody is there any more.
            TimeoutError: nobody answers.
        """
        async with self._asking, asyncio.timeout(_PATIENCE):
            self._number += 1
            try:
                self._writer.write(json.dumps({"id": self._number, **what}).encode() + b"\n")
                await self._writer.drain()
                while line := await self._reader.readline():
                    answer: dict[str, Any] = json.loads(line)
                    if answer.get("id") == self._number:
                        return answer
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise
        raise EOFError


class Watcher:
    """What was seen, what is wrong, and who is told."""

    def __init__(self, parent: Parent, orders: Orders) -> None:
        self._parent, self._orders = parent, orders
        self._secrets = {hook.url: base64.b64decode(hook.secret) for hook in orders.hooks}
        self._notes = book.from_text(orders.notes)
        self._kept = orders.notes
        self._snapshot: Snapshot | None = None
        self._heard = time.monotonic()
        self._alerts: tuple[Alert, ...] = ()
        self._foreign = False
        self._news = {url: asyncio.Event() for url in self._secrets}
        self._context = ssl.create_default_context()

    def watched(self) -> Watched:
        """What is shown now."""
        fresh = time.monotonic() - self._heard < _SILENT
        return Watched(self._snapshot, fresh, self._alerts, self._notes, system_clock())

    async def run(self) -> None:
        """Until the parent is gone."""
        tasks: list[Coroutine[Any, Any, None]] = [self._look(), *map(self._tell, self._secrets)]
        if self._orders.page >= 0:
            shown = page.app(self.watched, self._orders.listens)
            tasks.append(serve(shown, _listening(self._orders.page), most=_PAGE))
        if self._orders.probes >= 0:
            asked, sock = probes.app(self.watched), _listening(self._orders.probes)
            tasks.append(serve(asked, sock, most=_PROBES, first=_PROMPT))
        with contextlib.suppress(EOFError):
            await _first_end(tasks)

    # Looking

    async def _look(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):  # whoever reads here is to know that it says nothing
                await self._snap()
            await self._judge()
            await asyncio.sleep(self._orders.every)

    async def _snap(self) -> None:
        answer = await self._parent.ask(ask="snapshot")
        if "snapshot" in answer:
            try:
                self._snapshot = from_json(Snapshot, answer["snapshot"])
            except ValueError as error:  # a keeper of another version, which goes on while packages change
                if not self._foreign:
                    _print(f"the keeper's snapshot cannot be read ({printable(str(error))}); restart it")
                self._foreign = True
                return
            self._heard = time.monotonic()

    async def _judge(self) -> None:
        now, unheard = system_clock(), time.monotonic() - self._heard
        if self._snapshot is None and unheard < _SILENT:
            return
        found = judge(self._snapshot, now) if self._snapshot else ()
        if unheard >= _SILENT:
            found = (silent(unheard), *found)
        hooks = tuple(self._secrets)
        self._alerts = found
        self._notes, events = book.advance(self._notes, found, now, hooks=hooks, new_id=_new_id)
        for event in events:
            _say(event)
        await self._keep()
        for news in self._news.values():
            news.set()

    async def _keep(self) -> None:
        text = book.to_text(self._notes)
        if text != self._kept:
            with contextlib.suppress(TimeoutError):
                answer = await self._parent.ask(keep=text)
                if answer.get("kept"):  # else the disk is full, say: the next time
                    self._kept = text

    # Telling

    async def _tell(self, hook: str) -> None:
        """One webhook's, each by itself: one that is slow to answer keeps no other waiting."""
        news = self._news[hook]
        await news.wait()  # what is left of an earlier life may be over by now, and belongs to a site
        while True:
            due = [one for one in book.due(self._notes, system_clock()) if one.hook == hook]
            for one in due:
                await self._try(one)
                await self._keep()
            if not due:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), 1.0)
                news.clear()

    async def _try(self, one: Delivery) -> None:
        target = target_of(one.hook, self._context)
        secret = self._secrets[one.hook]
        site = self._snapshot.site.name if self._snapshot else ""
        problem = await deliver(target, one.event, site=site, secret=secret, now=system_clock())
        if problem and one.tries in _SAID:
            _print(f"alert {one.event.code} was not taken by {target.authority}: {printable(problem)}")
        self._notes = book.answered(self._notes, one, ok=not problem, now=system_clock())


def _say(event: Event) -> None:
    over = "over: " if event.state == "resolved" else ""
    _print(f"alert {event.code} ({event.severity}): {over}{printable(event.sentence)}")


def _print(line: str) -> None:
    print(f"sealgate: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the service's log


def _new_id() -> str:
    return secrets.token_hex(16)


def _listening(number: int) -> socket.socket:
    sock = socket.socket(fileno=number)
    sock.set_inheritable(False)
    return sock


async def _first_end(tasks: list[Coroutine[Any, Any, None]]) -> None:
    """Run all; when one ends, so do the others."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in running:
            task.cancel()
    for task in done:
        task.result()


class Complaints:
    """What goes wrong in the event loop outside of our own tasks: a line a minute, never a traceback.

    Above all accept(2) without descriptors: asyncio tries again by itself, and would log each try.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _QUIET
        problem = context.get("exception")
        kind = f" ({type(problem).__name__})" if problem else ""
        _print(f"watcher: {printable(str(context.get('message')))}{kind}")


async def _run() -> None:
    asyncio.get_running_loop().set_exception_handler(Complaints())
    sock = socket.socket(fileno=os.dup(0))
    reader, writer = await asyncio.open_connection(sock=sock, limit=LONGEST)
    orders = Orders.from_json(await reader.readline())
    die_with_parent(orders.parent)
    await Watcher(Parent(reader, writer), orders).run()


def main() -> int:
    """Watch until the parent is gone."""
    # What strangers send is not for the service's log, nor what they cause (`Complaints`).
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(_run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
