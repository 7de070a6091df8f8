"""The shell scripts and helpers of the workshop."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534


@pytest.mark.parametrize("script", [".ci/run", "tools/setup-system", "tools/setup-venv"])
def test_bash_reads_it_and_it_is_strict(script: str) -> None:
    path = ROOT / script
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=30)
    assert "set -euo pipefail" in path.read_text()
    assert os.access(path, os.X_OK)


def test_ci_runs_all_three() -> None:
    assert "steps=(test test-long lint)" in (ROOT / ".ci/run").read_text()


def test_every_apt_package_has_its_reason() -> None:
    for line in (ROOT / "tools/apt-packages.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"\S+\s+[a-z0-9.+-]+\s+\S.*\S", line), line


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that another user can read: setup-system runs as nobody below."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _setup_system(folder: Path, wanted: str, *only: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tools/setup-system", folder)
    (folder / "apt-packages.txt").write_text(f"# comment\n\n{wanted}\n")
    return subprocess.run(
        [str(folder / "setup-system"), *only],
        user=NOBODY if os.geteuid() == 0 else None,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_server_is_named_where_nothing_may_be_installed(public: Path) -> None:
    done = _setup_system(public, "no-such-server libnosuchserver why it is needed")
    assert done.returncode == 1
    assert "missing: libnosuchserver;" in done.stderr
    assert "apt-get install --no-install-recommends libnosuchserver" in done.stderr


def test_nothing_is_touched_where_all_is_there(public: Path) -> None:
    done = _setup_system(public, "sh dash shells are everywhere")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_what_is_asked_for_is_looked_at(public: Path) -> None:
    wanted = "no-such-server libnosuchserver why\nno-such-thing libnosuchthing why"
    assert "missing: libnosuchthing;" in _setup_system(public, wanted, "no-such-thing").stderr
    assert _setup_system(public, wanted, "sh").returncode == 0


def test_setup_venv_has_what_is_missing_installed_or_named(public: Path) -> None:
    python = public / "python3"  # Debian's python3 without python3-venv: ensurepip cannot be imported
    python.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    recent = public / "recent"  # which version it is, is not the question
    recent.write_text(f'#!/bin/sh\ncase "$*" in *version_info*) exit 0;; esac\nexec {python} "$@"\n')
    recent.chmod(0o755)
    (public / "tools").mkdir()
    for name in ("setup-venv", "setup-system", "apt-packages.txt"):
        shutil.copy(ROOT / "tools" / name, public / "tools")
    done = subprocess.run(
        [str(public / "tools/setup-venv"), str(public / "venv")],
        user=NOBODY if os.geteuid() == 0 else None,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(recent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "missing: python3-venv;" in done.stderr
    assert "apt-get install --no-install-recommends python3-venv" in done.stderr
    assert not (public / "venv").exists()


def _leftovers(mark: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/leftovers.py"), mark, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_process_left_behind_is_named_and_ended_and_no_other(tmp_path: Path) -> None:
    marked, other = f"CI_RUN_MARK={tmp_path}/1", f"CI_RUN_MARK={tmp_path}/2"
    processes = [
        subprocess.Popen(["sleep", "120"], env={**os.environ, "CI_RUN_MARK": each.partition("=")[2]})
        for each in (marked, other)
    ]
    try:
        done = _leftovers(marked, "--end")
        assert done.returncode == 1
        assert done.stdout == f"{processes[0].pid} sleep 120\n"
        assert processes[0].wait(10) == -signal.SIGKILL
        assert processes[1].poll() is None
        assert _leftovers(marked).returncode == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_make_without_a_target_lists_them() -> None:
    out = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
    for target in ("demo", "test", "test-long", "lint", "bench", "docs", "constraints", "clean"):
        assert re.search(rf"^make {target} ", out, re.MULTILINE), target
