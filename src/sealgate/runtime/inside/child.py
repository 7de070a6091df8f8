"""A process of the supervisor's: started, told, heard, ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealgate.engines.channel import Channel
from sealgate.errors import AppError

__all__ = ["Child", "failed", "spawn", "status_text"]


@dataclass(slots=True)
class Child:
    """A worker, or the process that answers plain HTTP.

    Attributes:
        process: the process.
        place: of its count of connections.
        channel: None for the redirect process.
        started: when, monotonic.
        ending: told to end; its end is no crash.
        said: events it has told, by name.
    """

    process: asyncio.subprocess.Process
    place: int
    channel: Channel | None
    started: float
    ending: bool = False
    said: dict[str, asyncio.Event] = field(default_factory=dict)

    def heard(self, event: str) -> asyncio.Event:
        """Set once it has told of this."""
        return self.said.setdefault(event, asyncio.Event())

    def tell(self, order: Mapping[str, object]) -> None:
        """An order to a worker."""
        assert self.channel is not None  # noqa: S101 - a worker
        with contextlib.suppress(OSError):  # it has just ended
            self.channel.send(order)

    async def listen(self) -> None:
        """Note what a worker tells, until it ends."""
        assert self.channel is not None  # noqa: S101 - a worker
        while (message := await self.channel.receive()) is not None:
            self.heard(message[0]["event"]).set()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """A signal."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended_within(self, seconds: float) -> None:
        """Wait for its end; by force after so long."""
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            self.kill()


async def spawn(
    program: Sequence[str],
    orders: str,
    inherited: Sequence[int],
    place: int,
    channel: Channel | None = None,
) -> Child:
    """Start one; its orders go to its standard input.

    Args:
        program: with its arguments.
        orders: JSON.
        inherited: descriptors.
        place: of its count of connections.
        channel: our end of it.
    """
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.PIPE, pass_fds=tuple(inherited)
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    with contextlib.suppress(OSError):  # it has ended already: who waits for it learns that
        process.stdin.write(orders.encode())
        await process.stdin.drain()
    process.stdin.close()
    return Child(process, place, channel, time.monotonic())


def failed(message: Mapping[str, Any] | None, app: str, status: int) -> AppError:
    """Why a worker did not get ready: its own word, or what its end says."""
    if message is not None and message["event"] == "failed":
        return AppError(message["code"], message["fact"], message["remedy"], **message["details"])
    fact = f"a worker of {app} ended before it was ready ({status_text(status)})"
    return AppError("app-startup-failed", fact, "look at the lines before this one")


def status_text(code: int) -> str:
    """``SIGKILL``, or ``status 3``."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"status {code}"
