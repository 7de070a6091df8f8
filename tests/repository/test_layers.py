"""The import contracts of pyproject.toml hold, and would notice a breach."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    return subprocess.run(
        [sys.executable, str(program), "--no-cache"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("errors", "_system"),
        ("_system.clock", "policy.model"),
        ("policy.model", "pki"),
        ("pki", "engines"),
        ("engines", "guard"),
        ("guard", "engines"),
        ("guard", "policy.load"),
        ("guard", "_system.files"),
        ("runtime", "cli"),
        ("engines.servers.envoy", "engines.servers.other"),
    ],
)
def test_a_breach_is_noticed(copy: Path, importer: str, imported: str) -> None:
    package = copy / "src/sealgate"
    other = package / "engines/servers/other"
    other.mkdir()
    (other / "__init__.py").touch()
    path = package / f"{importer.replace('.', '/')}.py"
    path = path if path.is_file() else package / importer.replace(".", "/") / "__init__.py"
    path.write_text(path.read_text() + f"\nimport sealgate.{imported}\n")
    done = _lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout


def test_a_part_nobody_placed_is_noticed(copy: Path) -> None:
    (copy / "src/sealgate/helpers.py").write_text('"""Where does this belong?"""\n')
    assert _lint(copy).returncode == 1


def test_the_source_as_it_is_breaks_nothing() -> None:
    done = _lint(ROOT)
    assert done.returncode == 0, done.stdout
