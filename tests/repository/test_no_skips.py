"""tests/conftest.py turns every kind of skip into a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


def _pytest(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_it.py").write_text(f"import pytest\n{source}")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, str(folder)]
    environ = os.environ | {
        "PYTHONPATH": str(CONFTEST.parents[1])
    }  # it looks at the machine (tests/machine.py)
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env=environ, check=False
    )


@pytest.mark.parametrize(
    "source",
    [
        "def test_it(): pytest.skip('server missing')",
        "@pytest.mark.skip(reason='server missing')\ndef test_it(): pass",
        "@pytest.mark.skipif(True, reason='server missing')\ndef test_it(): pass",
        "@pytest.fixture\ndef server(): pytest.skip('server missing')\ndef test_it(server): pass",
        "pytest.importorskip('no_such_module', reason='server missing')\ndef test_it(): pass",
        "pytest.skip('server missing', allow_module_level=True)",
    ],
)
def test_a_skip_fails_the_run_and_says_why(tmp_path: Path, source: str) -> None:
    done = _pytest(tmp_path, source)
    assert done.returncode != 0
    assert "server missing" in done.stdout
    assert "no test may skip here" in done.stdout


def test_workers_report_it_too(tmp_path: Path) -> None:
    done = _pytest(tmp_path, "def test_it(): pytest.skip('server missing')", "-n", "1")
    assert done.returncode != 0
    assert "no test may skip here" in done.stdout


def test_passing_and_expected_failures_stay_what_they_are(tmp_path: Path) -> None:
    source = "def test_it(): pass\n@pytest.mark.xfail(strict=True)\ndef test_bad(): assert False"
    done = _pytest(tmp_path, source)
    assert done.returncode == 0, done.stdout
    assert "1 passed, 1 xfailed" in done.stdout
