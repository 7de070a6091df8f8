"""Started in somebody else's directory: nothing of it is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SHADOWED = ("click", "pydantic", "rich", "cryptography", "json", "tomllib", "granian", "envoy")


@pytest.mark.parametrize("start", [["-m", "sealgate"], ["-P", "-m", "sealgate"]])
def test_modules_in_the_current_directory_are_not_imported(tmp_path: Path, start: list[str]) -> None:
    for name in SHADOWED:
        (tmp_path / f"{name}.py").write_text(f"print('shadow {name}'); raise SystemExit(9)\n")
    for command in (["--version"], ["check", "--json"]):
        done = subprocess.run(
            [sys.executable, *start, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "shadow" not in done.stdout + done.stderr
        assert done.returncode != 9
