"""The guide about backups is executed, and what it says comes out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.cli.calls import environment
from tests.docs.test_tutorial import commands, matches

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "backup.md"


def test_every_step_of_the_guide(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    state, cache = str(tmp_path / ".sealgate"), str(tmp_path / "cache")
    env = environment(PATH=path, SEALGATE_STATE=state, SEALGATE_CACHE=cache)
    (tmp_path / "sealgate.toml").write_text('[clients]\nmode = "required"\n')
    steps = commands(GUIDE.read_text())
    assert len(steps) >= 8
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", step.line],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == (step.how == "fails"), (step.line, done.stdout)
        told = f"{step.line}\nprinted:\n{done.stdout}\nexpected:\n{step.expected}"
        assert matches(step.expected, done.stdout), told
