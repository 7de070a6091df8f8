"""A running nginx: a master and its processes, started in the state directory, confined, watched, ended.

The kernel ends the master with the keeper, not the master's processes; those would go on serving with nobody
to renew or revoke. So a watch (a shell that reads from a pipe of the keeper's) ends the whole group when the
keeper is gone, and `end` looks for what is left of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealgate._system.pipes import gathered
from sealgate.engines.servers.nginx.render import CONFIGURATION
from sealgate.engines.servers.nginx.words import FOLDER
from sealgate.errors import EngineRefused

__all__ = ["Nginx", "check", "start"]

_START = 10.0
_POLL = 0.02
_AGAIN = 10.0
_KINDS = 64
_CONNECTION = re.compile(r"^\*\d+ ")
_WATCH = 'read -r _; kill -9 "-$0"'
# Said for what clients do, or about a privilege that is not needed: nothing to act on.
_QUIET = (
    b"initgroups(",
    b"client intended to send too large",
    b"SSL_do_handshake() failed",
    b"client sent ",
    b"peer closed connection in SSL handshake",
    b"signal process started",
    b"open socket #",
    b"aborting",
)


@dataclass(slots=True)
class Nginx:
    """One master and what it started. `log` holds its latest lines, for error messages."""

    process: asyncio.subprocess.Process
    log: list[str]
    reader: asyncio.Task[None]
    watch: asyncio.subprocess.Process
    access: threading.Thread

    @property
    def workers(self) -> dict[int, bool]:
        """Pids of its worker processes; true: on its way out."""
        return {pid: b"shutting down" in line for pid, line in _children(self.process.pid)}

    async def end(self) -> None:
        """End all of them; by force after three seconds."""
        group = self.process.pid
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 3)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    self.process.kill()
                await self.process.wait()
        while left := _members(group):
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(_POLL)
        with contextlib.suppress(ProcessLookupError):
            self.watch.kill()
        await self.watch.wait()
        await self.reader
        await asyncio.to_thread(self.access.join, 3)


def _stat(pid: str) -> tuple[str, int, int] | None:
    """State, parent and process group; None: gone."""
    try:
        fields = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[2])


def _children(parent: int) -> list[tuple[int, bytes]]:
    """Worker processes with their titles."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - names only
        facts = _stat(pid)
        if facts and facts[0] != "Z" and facts[1] == parent:
            with contextlib.suppress(OSError):
                line = Path("/proc", pid, "cmdline").read_bytes()
                if b"worker process" in line:
                    found.append((int(pid), line))
    return found


def _members(group: int) -> list[int]:
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):  # noqa: PTH208 - names only
        facts = _stat(pid)
        if facts and facts[0] != "Z" and facts[2] == group:
            found.append(int(pid))
    return found


def _command(program: Path, file: str, uid: int) -> list[str]:
    # Only root names whom the processes become, and it is root again: what they reach is Landlock's affair.
    user = " user root;" if os.geteuid() == 0 and uid < 0 else ""
    return [str(program), "-p", ".", "-c", f"{FOLDER}/{file}", "-e", "stderr", "-g", f"daemon off;{user}"]


def _environment() -> dict[str, str]:
    """None of ours; the access log is in UTC."""
    return {"PATH": os.defpath, "TZ": "UTC"}


async def check(program: Path, state: Path, file: str, prepare: Callable[[], None], *, uid: int) -> str:
    """The judgement of nginx itself on a configuration; empty: it would take it."""
    process = await asyncio.create_subprocess_exec(
        *(*_command(program, file, uid), "-t", "-q"),
        cwd=state,
        env=_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=prepare,
    )
    _, said = await process.communicate()
    if process.returncode == 0:
        return ""
    lines = [_clean(line) for line in said.splitlines() if not any(word in line for word in _QUIET)]
    return next((line for line in lines if line), "it does not say why")


async def start(
    program: Path, state: Path, prepare: Callable[[], None], *, uid: int, output: int = 1
) -> Nginx:
    """Start nginx and wait until it has opened its listeners.

    Args:
        program: found and checked.
        state: the state directory; its working directory.
        prepare: run in the child before exec: limits, user, Landlock.
        uid: whom it becomes there; -1: nobody else.
        output: descriptor to which the access log goes.

    Raises:
        EngineRefused: `engine-refused`: it ended at once, or did not begin to serve within ten seconds.
    """
    # Pipes of our own: asyncio takes a process with pipes for alive until nobody holds them, and the master's
    # processes do.
    reading, writing = os.pipe()
    errors, complaining = os.pipe()
    try:
        if uid >= 0:
            os.fchown(writing, uid, -1)  # nginx opens it by name
        process = await asyncio.create_subprocess_exec(
            *_command(program, CONFIGURATION, uid),
            cwd=state,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=complaining,
            preexec_fn=prepare,
        )
    except BaseException:
        os.close(reading)
        os.close(errors)
        raise
    finally:
        os.close(writing)
        os.close(complaining)
    access = threading.Thread(target=_copy, args=(reading, output), daemon=True, name="nginx access log")
    access.start()
    log: list[str] = []
    nginx = Nginx(
        process, log, asyncio.create_task(_relay(errors, log)), await _watching(process.pid), access
    )
    try:
        await _until_serving(nginx)
    except BaseException:
        await nginx.end()
        raise
    return nginx


async def _watching(group: int) -> asyncio.subprocess.Process:
    """The watch; it sleeps until the keeper's end of its input is closed."""
    return await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", _WATCH, str(group)),
        stdin=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )


def _copy(reading: int, output: int) -> None:
    """Access log lines from nginx's pipe to our standard output."""
    try:
        for piece in gathered(reading):
            left = memoryview(piece)
            with contextlib.suppress(OSError):  # nobody reads any more; nginx must still be able to write
                while left:
                    left = left[os.write(output, left) :]
    finally:
        os.close(reading)


async def _until_serving(nginx: Nginx) -> None:
    end = asyncio.get_running_loop().time() + _START
    while asyncio.get_running_loop().time() < end and nginx.process.returncode is None:
        if nginx.workers:  # they are started when all listeners are open
            return
        await asyncio.sleep(_POLL)
    status = nginx.process.returncode
    if status is not None:
        await nginx.reader
    how = f"ended ({_status(status)})" if status is not None else f"did not serve within {_START:.0f} s"
    last = nginx.log[-1] if nginx.log else "it said nothing"
    raise EngineRefused("engine-refused", f"nginx {how}: {last}", "look at the lines before this one")


def _status(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"status {code}"


async def _relay(errors: int, log: list[str]) -> None:
    """Pass on what nginx says: one line each, without control characters, cut to a sane length."""
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(errors, "rb", buffering=0)
    )
    said: dict[str, float] = {}
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # longer than the reader's limit; the rest follows
            continue
        if not line:
            transport.close()
            return
        if any(word in line for word in _QUIET) or not (text := _clean(line)):
            continue
        now = asyncio.get_running_loop().time()
        if now - said.get(text, -_AGAIN) < _AGAIN:  # once for all requests that fail alike
            continue
        said = {**said, text: now} if len(said) < _KINDS else {text: now}
        log.append(text)
        del log[:-20]
        sys.stderr.write(f"sealgate: nginx: {text}\n")
        sys.stderr.flush()


def _clean(line: bytes) -> str:
    """The text of `2026/01/01 00:00:00 [error] 1#1: *1 text, client: ...`; a request may hold secrets."""
    text = line.rstrip().decode("utf-8", "replace")
    head, bracket, rest = text.partition("] ")
    if bracket and "[" in head:
        text = rest.partition(": ")[2] or rest
    text = _CONNECTION.sub("", text.removeprefix("nginx: ")).partition(", client:")[0]
    return "".join(char if char.isprintable() else "?" for char in text)[:500]
