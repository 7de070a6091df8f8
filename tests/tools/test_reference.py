"""What is committed under docs/reference/ is what the source says."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate.engines import contract
from sealgate.engines.contract import Refusal
from sealgate.engines.registry import engine, engine_ids
from sealgate.policy.fields import leaves, shape_of
from sealgate.policy.model import Policy
from sealgate.policy.secrets import SecretRef
from tools import reference


def test_it_is_current() -> None:
    assert reference.stale() == [], "run `make docs`"


def test_a_change_would_be_seen(tmp_path: Path) -> None:
    pages = reference.pages()
    for name, text in pages.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "policy.md").write_text(pages["policy.md"].replace("8443", "8444"))
    (tmp_path / "gone.md").write_text("x")
    before = reference.FOLDER
    try:
        reference.FOLDER = tmp_path
        assert reference.stale() == ["gone.md", "policy.md"]
    finally:
        reference.FOLDER = before


def test_every_key_command_and_error_is_in_it() -> None:
    pages = reference.pages()
    for path, _ in leaves(shape_of(Policy), whole=SecretRef):
        assert f"| `{path[-1]}` |" in pages["policy.md"]
    for name in ("check", "init", "schema"):
        assert f"## `sealgate {name}`" in pages["commands.md"]
    for page in reference.ERRORS.glob("*.md"):
        assert f"[`{page.stem}`]" in pages["errors.md"]


def test_every_error_page_says_what_happened() -> None:
    rows = re.findall(r"^\| \[`(.+?)`\].*? \| (.*) \|$", reference.pages()["errors.md"], re.MULTILINE)
    assert [code for code, what in rows if not what] == []


def _calls(path: Path) -> Iterator[tuple[str, range]]:
    """Where a refusal is made: the file, and the lines of the call."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
            yield str(path), range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_no_refusal_of_the_source_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of installed servers too: what an engine refuses is a row, or this names where it is made."""
    made: set[tuple[str, int]] = set()
    real = Refusal.__init__

    def watched(self: Refusal, key: str, reason: str, way_out: str) -> None:
        caller = sys._getframe(1)
        made.add((caller.f_code.co_filename, caller.f_lineno))
        real(self, key, reason, way_out)

    monkeypatch.setattr(Refusal, "__init__", watched)
    page = reference.pages()["engines.md"]
    engines = Path(contract.__file__).parent
    calls = [call for path in sorted(engines.rglob("*.py")) for call in _calls(path)]
    assert len(calls) > 20
    missing = [
        f"{Path(name).relative_to(engines)}:{lines[0]}"
        for name, lines in calls
        if not any((name, line) in made for line in lines)
    ]
    assert missing == [], "a policy that brings it about is missing in tools/engines_page.py"
    mine = page.partition("## A server of yours")[2]
    for key in ("site.app", "listen.http3", "clients.mode", "limits.body", "certificate.second_key_type"):
        for title in ("Apache", "nginx"):
            assert re.search(rf"^\| `{key} = .*?` \| {title} \| .+ \| .+ \|$", mine, re.MULTILINE), key


def test_every_engine_and_refusal_is_in_it() -> None:
    page = reference.pages()["engines.md"]
    for name in engine_ids():
        assert f"`{name}`" in page
        for tables in ({"listen": {"http3": True}}, {"site": {"upstream": "http://127.0.0.1:9000"}}):
            for row in engine(name).capabilities(Policy.model_validate(tables)):
                if isinstance(row, Refusal):
                    assert f"| {engine(name).title} | {row.reason} | {row.way_out} |" in page
    refused = re.findall(r"^\| `listen.http3 = true` \| `listen.http3` .*$", page, re.MULTILINE)
    assert refused
    assert all("**refused**" in line for line in refused)
    for path, _ in leaves(shape_of(Policy), whole=SecretRef):
        parents = {".".join(path[:n]) for n in range(2, len(path) + 1)} | {path[0]}
        assert any(f"| `{key}` |" in page for key in parents), path
