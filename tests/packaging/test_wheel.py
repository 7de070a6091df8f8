"""The wheel holds what the program reads at run time, and nothing of the workshop."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sealgate

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"sealgate-{sealgate.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_source_file_is_in_it(names: set[str]) -> None:
    meant = {
        str(path.relative_to(SOURCE))
        for path in (SOURCE / "sealgate").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert meant - names == set()
    assert "sealgate/py.typed" in names


def test_the_profiles_are_in_it(names: set[str]) -> None:
    profiles = {
        name for name in names if name.startswith("sealgate/policy/profiles/") and name.endswith(".toml")
    }
    assert len(profiles) >= 2


def test_licences_are_in_it(names: set[str]) -> None:
    information = f"sealgate-{sealgate.__version__}.dist-info"
    assert {f"{information}/licenses/LICENSE", f"{information}/licenses/NOTICE"} <= names


def test_nothing_else_is_in_it(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"sealgate", f"sealgate-{sealgate.__version__}.dist-info"}
