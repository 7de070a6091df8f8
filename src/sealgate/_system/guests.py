"""Programs of other people, run to their end: with a clean environment, a limit, and nothing left behind.

Unlike :mod:`~sealgate._system.commands`, whose programs are the system's own, these may hang, start children
that outlive them, write without end or hold their output open. Each runs in a session of its own; when it has
ended, or its time is over, the whole process group is killed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["Ended", "run_guest"]

_KEPT = 64 * 1024
_TICK = 0.1


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended.

    Attributes:
        status: exit status; negative: a signal; None: its time was over.
        out, err: what it wrote, the first 64 KiB of each.
    """

    status: int | None
    out: bytes
    err: bytes


def run_guest(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    seconds: float,
    watch: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a program, without a shell and without a terminal.

    Args:
        arguments: the program's path and its arguments; no secrets, which other users could read.
        environment: all of it.
        folder: its working directory.
        seconds: it is killed after that, with its whole process group.
        watch: called now and then; what it raises ends the program at once, and is raised.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        list(arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
        umask=0o077,
    )
    with process:
        try:
            texts = _followed(process, time.monotonic() + seconds, watch)
            ended = _has_ended(process)
        finally:
            # Before it is waited for: its number, and so that of its group, is still nobody else's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
    return Ended(status if ended else None, *texts)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Without waiting for it, so that its number stays taken."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _followed(process: subprocess.Popen[bytes], end: float, watch: Callable[[], None]) -> tuple[bytes, bytes]:
    """What it writes until it has ended or its time is over; its children may hold the pipes for longer."""
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - pipes
    kept: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in kept:
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() < end:
            watch()
            ended = _has_ended(process)  # before the look at the pipes: what it wrote last is in them then
            if selector.get_map():
                _drain(selector, kept, 0 if ended else _TICK)
            elif not ended:
                time.sleep(_TICK)
            if ended:
                break
    out, err = (bytes(text) for text in kept.values())
    return out, err


def _drain(selector: selectors.BaseSelector, kept: Mapping[IO[bytes], bytearray], wait: float) -> None:
    for key, _ in selector.select(wait):
        stream = key.fileobj
        assert not isinstance(stream, int | str)  # noqa: S101 - pipes were registered, no descriptors
        for _ in range(32):  # who writes without end must not keep us from looking at the time
            try:
                piece = os.read(key.fd, _KEPT)
            except BlockingIOError:
                break
            if not piece:
                selector.unregister(stream)
                break
            text = next(text for known, text in kept.items() if known is stream)
            text += piece[: _KEPT - len(text)]
