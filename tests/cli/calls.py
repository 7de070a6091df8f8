"""Runs the program as users do: the installed script, in a directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    err: str


def environment(**variables: str) -> dict[str, str]:
    """This process's, without anything that a developer may have set for Sealgate."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SEALGATE_")}
    return kept | {"COLUMNS": "120"} | variables


def sealgate(*arguments: str, cwd: Path, stdin: str = "", **variables: str) -> Result:
    """Call it and wait; 60 s at most."""
    done = subprocess.run(
        [sys.executable, "-m", "sealgate", *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**variables),
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)
