"""What is committed under docs/reference/ is what the source says."""

from __future__ import annotations

import re
from pathlib import Path

from sealgate.policy.fields import leaves, shape_of
from sealgate.policy.model import Policy
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
    for path, _ in leaves(shape_of(Policy)):
        assert f"| `{path[-1]}` |" in pages["policy.md"]
    for name in ("check", "init", "schema"):
        assert f"## `sealgate {name}`" in pages["commands.md"]
    for page in reference.ERRORS.glob("*.md"):
        assert f"[`{page.stem}`]" in pages["errors.md"]


def test_every_error_page_says_what_happened() -> None:
    rows = re.findall(r"^\| \[`(.+?)`\].*? \| (.*) \|$", reference.pages()["errors.md"], re.MULTILINE)
    assert [code for code, what in rows if not what] == []
