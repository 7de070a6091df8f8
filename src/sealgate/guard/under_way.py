"""Exchanges that are under way, by whose they are: of a client who is revoked meanwhile they are ended.

A WebSocket, a stream of events, a long download may last for days; whoever is judged when they begin is
judged here as long as they go on. One thread of the process looks whether anything was revoked, ten times a
second while there is anything to end, and not at all while there is not.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sealgate.guard.client import Client
    from sealgate.guard.judge import Revoked

__all__ = ["LOOK_SECONDS", "PIECE", "CutOff", "Told", "UnderWay", "quiet"]

LOOK_SECONDS = 0.1
PIECE = 64 * 1024
"""Bytes that are handed to a server at once: what it has it sends, whoever is revoked meanwhile."""
_QUIET_SECONDS = 5.0  # after which the thread ends


class CutOff(BrokenPipeError):
    """What an app, or the server around it, is told of an exchange whose client was revoked."""

    def __init__(self) -> None:
        super().__init__(errno.EPIPE, "the client was revoked")


def quiet(record: logging.LogRecord) -> bool:
    """A filter for servers' loggers: that an exchange was cut off is said by the guard, in one line."""
    kind = record.exc_info[0] if record.exc_info else None
    if kind is not None:
        return not issubclass(kind, CutOff)
    return f"{CutOff.__name__}: [Errno" not in record.getMessage()


class Told(Protocol):
    """Who waits for the exchanges of the revoked to end (``engines/counts.Row``)."""

    def open(self, *, are: bool) -> None:
        """There may be some under way; or there are none."""

    def obeyed(self, generation: int) -> None:
        """Those of who was revoked up to this generation of the table have been told to end."""

    def asks(self, der: bytes) -> None:
        """Nobody knows whether this certificate is revoked."""


class UnderWay:
    """Those of one process.

    Args:
        revoked: clients.
        refused: may this one's exchange not go on?
        told: who waits; None: nobody.
    """

    def __init__(
        self, revoked: Revoked, refused: Callable[[Client], object], told: Told | None = None
    ) -> None:
        self._revoked, self._refused, self._told = revoked, refused, told
        self._open: dict[object, tuple[Client, Callable[[], None]]] = {}
        self._lock = threading.Lock()
        self._watching = False

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    def enter(self, client: Client, end: Callable[[], None]) -> object:
        """One begins; returns what :meth:`leave` wants.

        Args:
            client: whose it is, who may be refused at any moment.
            end: called once he is, from another thread, perhaps more than once.
        """
        mark = object()
        self._open[mark] = (client, end)
        if not self._watching:
            self._watch()
        # Who was revoked since he was judged: the look that has just obeyed it did not know this one.
        if self._refused(client):
            self._end_one(mark, end)
        return mark

    def leave(self, mark: object) -> None:
        """It has come to its end."""
        self._open.pop(mark, None)

    def _watch(self) -> None:
        with self._lock:
            if self._watching:
                return
            self._watching = True
            self._say(are=True)
        threading.Thread(target=self._look, name="sealgate-under-way", daemon=True).start()

    def _look(self) -> None:
        quiet = time.monotonic()
        while True:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            # Before the look: later ones are for the next.
            generation = getattr(self._revoked, "generation", 0)
            if self._open:
                quiet = now
                self._end()
            if self._told is not None:
                self._told.obeyed(generation)
            if self._open:
                continue
            if now - quiet > _QUIET_SECONDS:
                with self._lock:
                    self._watching = False
                if not self._open:
                    with self._lock:
                        if not self._watching:
                            self._say(are=False)
                    return
                with self._lock:  # one came at the last moment, and may have seen a thread that was going
                    if self._watching:
                        return
                    self._watching = True

    def _end(self) -> None:
        """Whether anything was revoked is not asked: to look at those few costs less than to be wrong."""
        for mark, (client, end) in list(self._open.items()):
            if self._refused(client):
                self._end_one(mark, end)

    def _end_one(self, mark: object, end: Callable[[], None]) -> None:
        self.leave(mark)
        with contextlib.suppress(Exception):  # one that cannot be ended must not save the others
            end()

    def _say(self, *, are: bool) -> None:
        if self._told is not None:
            self._told.open(are=are)
