"""The process that answers plain HTTP beside Gunicorn; started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

from sealgate.engines.inside import listening
from sealgate.engines.redirect import Redirect, command
from sealgate.policy.model import Endpoint, Policy

__all__ = ["Plain"]

_AGAIN = 0.5
_ENDING = 3.0


class Plain:
    """Plain HTTP, as a policy says.

    Its listeners belong to us, so no connection is refused between two processes.

    Args:
        python: the interpreter.
        state: its working directory.
        answers: the folder of its answers to challenges.
        prepare: run in the child before exec.
        budget: descriptor of the connections counted together; its place is 0.
    """

    def __init__(
        self,
        python: Path,
        state: Path,
        answers: Path,
        prepare: Callable[[], None],
        budget: int,
    ) -> None:
        self._python, self._state, self._answers = python, state, answers
        self._prepare, self._budget = prepare, budget
        self._listeners: dict[Endpoint, socket.socket] = {}
        self._policy: Policy | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def serve(self, policy: Policy) -> None:
        """By this policy from now on. Raises OSError where an address cannot be listened on."""
        if self._policy is not None and _same(policy, self._policy):
            return
        wanted = policy.listen.http
        for point in wanted:
            if point not in self._listeners:
                self._listeners[point] = listening(point)
        await self._stop_keeping()  # it may just have started another
        before, self._policy = self._process, policy
        if wanted:
            self._process = await self._started(policy)
            self._keeping = asyncio.create_task(self._keep())
        else:
            self._process = None
        await _ended(before)
        for point in [point for point in self._listeners if point not in wanted]:
            self._listeners.pop(point).close()

    async def close(self) -> None:
        """No more plain HTTP."""
        await self._stop_keeping()
        process, self._process, self._policy = self._process, None, None
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        await _ended(process)

    async def _stop_keeping(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None

    async def _started(self, policy: Policy) -> asyncio.subprocess.Process:
        listeners = tuple(self._listeners[point].fileno() for point in policy.listen.http)
        orders = Redirect.of(
            policy,
            listeners=listeners,
            parent=os.getpid(),
            budget=self._budget,
            answers=str(self._answers),
            state=str(self._state),
        )
        process = await asyncio.create_subprocess_exec(
            *command(str(self._python)),
            cwd=self._state,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            stdin=asyncio.subprocess.PIPE,
            pass_fds=orders.descriptors,
            preexec_fn=self._prepare,
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.write(orders.to_json().encode())
        process.stdin.close()
        return process

    async def _keep(self) -> None:
        """Start it again whenever it ends."""
        while self._process is not None and self._policy is not None:
            await self._process.wait()
            await asyncio.sleep(_AGAIN)
            with contextlib.suppress(OSError):
                self._process = await self._started(self._policy)


def _same(one: Policy, other: Policy) -> bool:
    """Does the process go by the same things in both?"""
    return Redirect.of(one, listeners=(), parent=0) == Redirect.of(other, listeners=(), parent=0) and (
        one.listen.http == other.listen.http
    )


async def _ended(process: asyncio.subprocess.Process | None) -> None:
    """Told to stop; by force where it does not."""
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _ENDING)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
