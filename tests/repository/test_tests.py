"""tools/tests.py on small suites of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TOOL = Path(__file__).parents[2] / "tools/tests.py"
_ONCE = """
import os, pathlib
def test_unsteady_{number}():
    try:
        pathlib.Path({told!r}).mkdir()
    except FileExistsError:
        return
    assert False
"""


def _run(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    argv = [sys.executable, str(_TOOL), "-p", "no:cov", "-n", "2", "."]
    return subprocess.run(
        argv,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", **environ},
        check=False,
    )


def _unsteady(folder: Path, count: int) -> None:
    for number in range(count):
        text = _ONCE.format(number=number, told=str(folder / f"told-{number}"))
        (folder / f"test_{number}.py").write_text(text)


def test_a_failure_in_company_that_passes_alone_is_named(tmp_path: Path) -> None:
    _unsteady(tmp_path, 2)
    done = _run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UNSTEADY test_0.py::test_unsteady_0: failed in company, passed alone" in done.stdout
    assert "UNSTEADY test_1.py::test_unsteady_1" in done.stdout


def test_a_failure_that_stays_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it():\n    assert False\n")
    done = _run(tmp_path)
    assert done.returncode == 1
    assert "UNSTEADY" not in done.stdout


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    _unsteady(tmp_path, 3)
    assert _run(tmp_path).returncode == 1


def test_a_strict_run_asks_nothing_twice(tmp_path: Path) -> None:
    _unsteady(tmp_path, 1)
    assert _run(tmp_path, STEADY="1").returncode == 1


def test_a_run_that_could_not_begin_stays_one(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import nothing_of_that_name\n")
    assert _run(tmp_path).returncode not in {0, 1}
