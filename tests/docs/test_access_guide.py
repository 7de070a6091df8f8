"""The guide to access rules: its policy is sound, and its commands say what it says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from tests.cli.calls import sealgate
from tests.guard.tokens.issuing import jwk

GUIDE = (Path(__file__).parents[2] / "docs/guides/access.md").read_text()
POLICY = GUIDE.partition("```toml\n")[2].partition("```")[0]
COMMANDS = re.findall(r"^sealgate (check --explain .*)$", GUIDE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sealgate.toml").write_text('site.app = "orders:app"\n' + POLICY)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk("ES256", "one")]}))
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    return tmp_path


def test_its_policy_is_sound(folder: Path) -> None:
    result = sealgate("check", "--all", cwd=folder)
    assert (result.status, result.err) == (0, "")
    said = " ".join(result.out.split())
    for promise in ("4 rules, the first that fits decides", "only tokens of https://login.example.com count"):
        assert promise in said


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands(folder: Path, command: str) -> None:
    assert len(COMMANDS) >= 2
    result = sealgate(*shlex.split(command), cwd=folder)
    assert result.err == ""
    assert result.status in (0, 1)


@pytest.mark.parametrize(
    ("words", "status", "rule", "problem"),
    [
        (("GET", "/health"), 0, "access.rules[0]", None),
        (("OPTIONS", "/admin/x"), 0, "access.rules[1]", None),
        (("GET", "/admin"), 1, "access.rules[2]", "access-denied"),
        (("GET", "/admin/report", "--group", "ops"), 1, "access.rules[2]", "access-denied"),
        (("GET", "/admin/report", "--group", "ops", "--address", "10.1.2.3"), 0, "access.rules[2]", None),
        (("POST", "/orders"), 1, "access.rules[3]", "authentication-required"),
        (("POST", "/orders", "--token"), 1, "access.rules[3]", "scope-insufficient"),
        (("POST", "/orders", "--scope", "orders:write"), 0, "access.rules[3]", None),
        (("POST", "/orders", "--group", "ops"), 0, "access.rules[3]", None),
        (("GET", "/orders"), 1, "access.default", "authentication-required"),
        (("GET", "/orders", "--token"), 0, "access.default", None),
    ],
)
def test_what_is_explained(
    folder: Path, words: tuple[str, ...], status: int, rule: str, problem: str | None
) -> None:
    result = sealgate("check", "--json", "--explain", *words, cwd=folder)
    said = json.loads(result.out)
    assert (result.status, said["rule"], said["problem"]) == (status, rule, problem)
    assert said["allowed"] is (status == 0)
    assert said["source"].startswith("line ")


def test_it_fits_a_screen(folder: Path) -> None:
    result = sealgate("check", "--explain", "OPTIONS", "/orders/../x", cwd=folder)
    assert result.status == 2
    result = sealgate("check", "--explain", "GET", "/orders", cwd=folder)
    assert result.status == 1
    for text in ("access.default (line 36) decides: who calls is not known", "rules[3]", "not for GET"):
        assert text in result.out
    assert max(len(line.rstrip()) for line in result.out.splitlines()) <= 100


@pytest.mark.parametrize(
    "words",
    [
        ("--explain", "GET", "/a/../b"),
        ("--explain", "GET", "no-slash"),
        ("--explain", "GET", "/", "--group", "nobody"),
        ("--explain", "GET", "/", "--authority", "nobody"),
        ("--explain", "GET", "/", "--address", "here"),
        ("--group", "ops"),
        ("--explain", "GET"),
    ],
)
def test_a_wrong_call(folder: Path, words: tuple[str, ...]) -> None:
    result = sealgate("check", *words, cwd=folder)
    assert result.status == 2
    assert "usage-wrong" in result.err
