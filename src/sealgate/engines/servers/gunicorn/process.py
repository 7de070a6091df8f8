"""Gunicorn's processes: started, told, drained, ended; and the one that answers plain HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sealgate.engines.counts import PLACES
from sealgate.engines.facts import RenderFacts
from sealgate.engines.inside import app_environment
from sealgate.engines.redirect import ANSWERS
from sealgate.engines.servers.gunicorn.orders import FILE, FOLDER
from sealgate.engines.servers.gunicorn.plain import Plain
from sealgate.engines.tls_context import OPENSSL_FILE
from sealgate.errors import EngineRefused

__all__ = ["Process", "start"]

_MODULE = "sealgate.runtime.inside.gunicorn"
_ANSWER = 90.0
_ENDING = 3.0
_LOOK = "look at the lines before this one"


class Process:
    """A running Gunicorn.

    Attributes:
        process: its arbiter.
        plain: the process beside it.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, answers: asyncio.StreamReader, plain: Plain, budget: int
    ) -> None:
        self.process, self.plain = process, plain
        self._answers, self._budget = answers, budget

    async def answer(self, seconds: float = _ANSWER) -> dict[str, Any]:
        """The next event.

        Raises:
            EngineRefused: it ended instead, or says nothing.
        """
        try:
            line = await asyncio.wait_for(self._answers.readline(), seconds)
        except TimeoutError:
            raise EngineRefused("engine-refused", "Gunicorn does not answer", _LOOK) from None
        if not line:
            await self.process.wait()
            raise EngineRefused("engine-refused", f"Gunicorn ended ({_status(self.process)})", _LOOK)
        event: dict[str, Any] = json.loads(line)
        return event

    async def reload(self) -> None:
        """Have it read its orders anew.

        Raises:
            EngineRefused: what was in force still is.
        """
        self.process.send_signal(signal.SIGHUP)
        event = await self.answer()
        if event["event"] != "reloaded":
            why = event.get("why", event["event"])
            raise EngineRefused("engine-refused", f"Gunicorn did not take up the new policy: {why}", _LOOK)

    async def drain(self, seconds: float) -> bool:
        """Stop accepting; true if all came to its end in time."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        closing = asyncio.create_task(self.plain.close())
        try:
            event = await self.answer(seconds + _ENDING)
        except EngineRefused:
            return False
        finally:
            await closing
        return bool(event.get("clean"))

    async def end(self) -> None:
        """End all; by force after three seconds."""
        await self.plain.close()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGQUIT)
            try:
                await asyncio.wait_for(self.process.wait(), _ENDING)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()
        if self._budget >= 0:
            os.close(self._budget)
            self._budget = -1


def _status(process: asyncio.subprocess.Process) -> str:
    code = process.returncode or 0
    return signal.Signals(-code).name if code < 0 else f"status {code}"


async def start(
    python: Path,
    state: Path,
    folder: Path,
    facts: RenderFacts,
    *,
    counts: int,
    prepare: Callable[[], None],
    environ: Mapping[str, str],
) -> Process:
    """Start Gunicorn and wait until its workers serve.

    Args:
        python: the interpreter.
        state: the state directory; its working directory.
        folder: the one that it writes to.
        facts: the orders that it finds in its file were made from them.
        counts: descriptor of the memory in which its workers count.
        prepare: run in the child before exec.
        environ: the app's environment.

    Raises:
        EngineRefused: `engine-refused`; nothing is left running.
    """
    app = facts.app
    shared = (app.revocations, app.issued, app.rates) if app else (-1, -1, -1)
    budget = os.memfd_create("connections", os.MFD_CLOEXEC)
    os.ftruncate(budget, PLACES * 8)
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-P", "-m", _MODULE),
            cwd=state,
            env=_environment(state, environ),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=tuple(number for number in (writing, budget, counts, *shared) if number >= 0),
            preexec_fn=prepare,
        )
    except BaseException:
        os.close(reading)
        os.close(budget)
        raise
    finally:
        os.close(writing)
    assert process.stdin is not None  # noqa: S101 - asked for above
    told = {
        "orders": f"{FOLDER}/{FILE}",
        "answers": writing,
        "budget": budget,
        "counts": counts,
        "revocations": shared[0],
        "issued": shared[1],
        "rates": shared[2],
        "folder": str(folder),
        "openssl": environ.get("OPENSSL_CONF"),
    }
    process.stdin.write(json.dumps(told).encode())
    process.stdin.close()
    answers = (state / FOLDER / ANSWERS).absolute()
    plain = Plain(python, state, answers, prepare, budget)
    running = Process(process, await _reader(reading), plain, budget)
    try:
        await running.answer()  # "ready": the first there can be
        await plain.serve(facts.policy)
    except BaseException:
        await running.end()
        raise
    return running


async def _reader(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    return reader


def _environment(state: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The app's; OpenSSL's groups by our file, where nobody has another wish."""
    ours = app_environment(state, environ)
    ours.setdefault("OPENSSL_CONF", str(state / FOLDER / OPENSSL_FILE))
    return ours
