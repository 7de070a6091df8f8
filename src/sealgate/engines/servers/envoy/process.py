"""A running Envoy: started in the state directory, confined, told to drain, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealgate.engines.servers.envoy.admin import Admin, AdminSocket
from sealgate.engines.servers.envoy.facts import FOLDER
from sealgate.engines.servers.envoy.render import BOOTSTRAP
from sealgate.errors import EngineRefused

__all__ = ["Envoy", "default_environment", "start"]

_START = 10.0
_LINE = re.compile(rb"\[[^\]]*\]\[\d+\]\[(\w+)\]\[(\w+)\] (?:\[[^\]]*\] )?(.*)")
# Said at every start or on every odd handshake, and nothing to act on.
_QUIET = (
    b"overload manager",
    b"There is no configured limit",
    b"Deprecated",
    b"deprecated",
    b"hostname",
    b"ENVOY_SIGTERM",
    b"work-in-progress",  # the file server: why all the same, see `published.py`
)


@dataclass(slots=True)
class Envoy:
    """One process. `log` holds its latest lines, for error messages."""

    process: asyncio.subprocess.Process
    admin: Admin
    log: list[str]
    reader: asyncio.Task[None]

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    async def drain(self, seconds: float) -> bool:
        """Tell clients to go, accept no more, wait until no request is under way; true if none was left."""
        with contextlib.suppress(Exception):
            await asyncio.to_thread(self.admin.post, "/drain_listeners?graceful&skip_exit")
            await asyncio.to_thread(self.admin.post, "/drain_listeners")
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end and self.process.returncode is None:
            try:
                active = await asyncio.to_thread(self.admin.stats, r"^http\.https?\.downstream_rq_active$")
            except Exception:  # noqa: BLE001 - it is gone or going: nothing is left to wait for
                return True
            if not any(active.values()):
                return True
            await asyncio.sleep(0.05)
        return False

    async def end(self) -> None:
        """End the process; by force after three seconds."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 3)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()
        await self.reader


async def start(
    binary: Path,
    state: Path,
    admin: AdminSocket,
    *,
    concurrency: int,
    drain: float,
    prepare: Callable[[], None],
    environ: Mapping[str, str],
) -> Envoy:
    """Start Envoy and wait until it is ready.

    Args:
        binary: verified program.
        state: the state directory; Envoy's working directory.
        admin: where its admin interface is.
        concurrency: worker threads.
        drain: seconds for connections of a changed listener to end.
        prepare: run in the child before exec: limits, user, Landlock.
        environ: its whole environment.

    Raises:
        EngineRefused: `envoy-refused`: it ended at once, or is not ready in ten seconds.
    """
    admin.path.unlink(missing_ok=True)
    command = [
        str(binary),
        *("-c", f"{FOLDER}/{BOOTSTRAP}"),
        *("--concurrency", str(concurrency)),
        *("--drain-time-s", str(max(1, round(drain)))),
        *("--drain-strategy", "immediate"),
        *("--log-level", "warning"),
        *("--log-format", "[%Y-%m-%d %T.%e][%t][%l][%n] %v"),
        *("--file-flush-interval-msec", "500"),
        "--disable-hot-restart",
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=state,
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=prepare,
    )
    log: list[str] = []
    envoy = Envoy(process, Admin(admin), log, asyncio.create_task(_relay(process, log)))
    try:
        await _until_ready(envoy)
    except BaseException:
        await envoy.end()
        raise
    return envoy


async def _until_ready(envoy: Envoy) -> None:
    end = asyncio.get_running_loop().time() + _START
    while asyncio.get_running_loop().time() < end:
        if envoy.process.returncode is not None:
            await envoy.reader
            break
        if await asyncio.to_thread(envoy.admin.ready):
            return
        await asyncio.sleep(0.02)
    last = envoy.log[-1] if envoy.log else "it said nothing"
    status = envoy.process.returncode
    how = f"ended ({_status(status)})" if status is not None else f"was not ready within {_START:.0f} s"
    raise EngineRefused("envoy-refused", f"Envoy {how}: {last}", "look at the lines before this one")


def _status(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"status {code}"


async def _relay(process: asyncio.subprocess.Process, log: list[str]) -> None:
    """Pass on what Envoy says: one line each, without control characters, cut to a sane length."""
    assert process.stderr is not None  # noqa: S101 - asked for above
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:  # longer than the reader's limit; the rest follows
            continue
        if not line:
            return
        text = _clean(line)
        if not text or any(word in line for word in _QUIET):
            continue
        log.append(text)
        del log[:-20]
        sys.stderr.write(f"sealgate: envoy: {text}\n")
        sys.stderr.flush()


def _clean(line: bytes) -> str:
    match = _LINE.match(line.rstrip())
    text = (match[3] if match else line.rstrip()).decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)[:500]


def default_environment() -> dict[str, str]:
    """Envoy needs none of ours."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8"}
