"""Programs of the system: run to their end, without a shell, with a limit, and never with a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Finished", "find", "run"]

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
    arguments: Sequence[str], *, seconds: float = 60, environment: Mapping[str, str] | None = None
) -> Finished:
    """Run a program to its end; nothing is raised.

    Args:
        arguments: program and arguments; never a secret, which other users could read.
        seconds: it is killed after that.
        environment: further variables.
    """
    program = find(arguments[0])
    if program is None:
        return Finished(_NOT_FOUND, f"{arguments[0]} is not installed")
    try:
        done = subprocess.run(
            [program, *arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finished(_TIMED_OUT, f"{arguments[0]} did not end within {seconds:g} s")
    except OSError as error:
        return Finished(_NOT_FOUND, f"{arguments[0]} cannot be started ({error.strerror})")
    return Finished(done.returncode, done.stdout.decode("utf-8", "replace"))
