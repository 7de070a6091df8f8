"""Programs of the system: run to their end, without a shell, with a limit, and never with a terminal."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MOST", "Finished", "find", "run"]

MOST = 16 * 1024**2
"""Bytes of output that are kept; what is more is read and forgotten."""

_NOT_FOUND = 127
_TIMED_OUT = 124


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended. ``status`` 127: it is not there; 124: it took too long; negative: a signal."""

    status: int
    output: str
    """Standard output and error together."""


def find(program: str) -> str | None:
    """The program's full path; places that only root has in its PATH are looked into as well."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/local/sbin"])
    return shutil.which(program, path=path)


def run(
    arguments: Sequence[str],
    *,
    seconds: float = 60,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Finished:
    """Run a program to its end; nothing is raised.

    Args:
        arguments: program and arguments; never a secret, which other users could read.
        seconds: it is killed after that.
        environment: further variables.
        folder: its working directory; None: this one.
    """
    program = find(arguments[0])
    if program is None:
        return Finished(_NOT_FOUND, f"{arguments[0]} is not installed")
    try:
        process = subprocess.Popen(
            [program, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd=folder,
        )
    except OSError as error:
        return Finished(_NOT_FOUND, f"{arguments[0]} cannot be started ({error.strerror})")
    with process:
        try:
            output = _output(process, time.monotonic() + seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return Finished(_TIMED_OUT, f"{arguments[0]} did not end within {seconds:g} s")
        return Finished(process.returncode, output.decode("utf-8", "replace"))


def _output(process: subprocess.Popen[bytes], end: float) -> bytes:
    """What it said, up to :data:`MOST` bytes; it has ended then.

    Raises:
        subprocess.TimeoutExpired: it, or who has its output, did not end in time.
    """
    assert process.stdout is not None  # noqa: S101 - asked for
    parts: list[bytes] = []
    left = MOST
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while ready.select(max(0.0, end - time.monotonic())):
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                process.wait(max(0.0, end - time.monotonic()))
                return b"".join(parts)
            parts.append(part[:left])
            left -= len(parts[-1])
            if time.monotonic() > end:
                break
    raise subprocess.TimeoutExpired(process.args, 0)
