"""The part of constraints.txt that some extras need, hashes included.

Usage: ``python tools/requirements.py [EXTRA | PACKAGE]...``: base dependencies always; then each extra of
pyproject.toml by its name, or a package that constraints.txt lists. Written to standard output for
``pip install --require-hashes --no-deps -r``. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One package of constraints.txt: its lines, and which packages asked for it."""

    text: str
    wanted_by: frozenset[str]


def canonical(name: str) -> str:
    """A package name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(text: str) -> dict[str, Entry]:
    """constraints.txt by package; the ``# via`` comments say who asked for it."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    found = {}
    for block in blocks:
        name = _NAME.match(block)
        if not name:
            continue
        comments = re.findall(r"^ +#( +via)? *(\S+)?", block, re.MULTILINE)
        found[canonical(name[0])] = Entry(block, frozenset(canonical(word) for _, word in comments if word))
    return found


def direct(project: dict[str, Any], words: list[str]) -> set[str]:
    """Names asked for by the project itself and by ``words``, nested extras followed."""
    extras = project["optional-dependencies"]
    wanted, names = list(project["dependencies"]), set()
    for word in words:
        wanted += extras.get(word, [word])
    while wanted:
        requirement = wanted.pop()
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?", requirement)
        if match is None:
            raise SystemExit(f"requirements: {requirement!r} is not a requirement")
        if match[1] == project["name"]:
            for extra in (match[2] or "").split(","):
                wanted += extras[extra.strip()]
        else:
            names.add(canonical(match[1]))
    return names


def closure(locked: dict[str, Entry], names: set[str]) -> list[str]:
    """Everything that ``names`` pull in, themselves included, sorted."""
    unknown = names - set(locked)
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise SystemExit(f"requirements: not in constraints.txt: {listed}; run make constraints")
    needed, grown = set(names), True
    while grown:
        more = {name for name, entry in locked.items() if entry.wanted_by & needed} - needed
        needed |= more
        grown = bool(more)
    return sorted(needed)


def main(words: list[str]) -> None:
    """Print the selection."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = entries((ROOT / "constraints.txt").read_text())
    sys.stdout.write("".join(locked[name].text for name in closure(locked, direct(project, words))))


if __name__ == "__main__":
    main(sys.argv[1:])
