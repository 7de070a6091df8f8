"""The files beside this one type-check under mypy's strictest settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_a_customers_code_type_checks(tmp_path: Path) -> None:
    files = sorted(str(path) for path in HERE.glob("*_as_a_customer.py"))
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), *files],
        cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
