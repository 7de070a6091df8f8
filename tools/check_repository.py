"""What no linter knows: rules of this repository that a script can check in a second.

Usage: ``python tools/check_repository.py [FILE]...`` (default: all files git knows).
Prints ``file:line: rule: sentence``; exit status 1 if any is an error. Warnings do not count.

Rules: ``size`` (modules), ``address`` (package registries, paths of one machine, foreign hosts in
scripts), ``error-page`` (each error code has its page, each page its code), ``reason`` (what a linter is told
to overlook, and why), ``whitespace``, ``large``.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARN_LINES, MAX_LINES = 400, 600
MAX_BYTES = 500_000

# Tables and generated files are exempt from the size rule; each says so in its first docstring line.
SIZE_EXEMPT: frozenset[str] = frozenset()
# Lists of what was resolved; their comments and hashes are not prose.
GENERATED = frozenset({"constraints.txt"})
BINARY = frozenset({".png", ".gz", ".der", ".p12", ".ico"})

# Joined from pieces, so that this file does not accuse itself.
_REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "proxy.golang" + ".org")
_OPTIONS = ("index" + "-url", "extra-index" + "-url", "find" + "-links", "trusted" + "-host")
_MACHINE = re.compile(r"(?<![\w.])/(?:home/\w+|Users/\w+|root|work|tmp/w)/", re.ASCII)
_NOQA, _IGNORE = "# no" + "qa", "# type: ig" + "nore"
_OVERLOOKED = re.compile(f"(?i){_NOQA}|{_IGNORE}".replace(" ", r"\s*"))
_REASONED = re.compile(rf"{_NOQA}: [A-Z]+\d+(?:, [A-Z]+\d+)* - \S|{_IGNORE}\[[a-z-]+(?:, ?[a-z-]+)*\] +# \S")
_KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach; ``line`` is 1-based, 0 for the whole file."""

    path: str
    line: int
    rule: str
    text: str
    warning: bool = False

    def __str__(self) -> str:
        weight = "warning: " if self.warning else ""
        return f"{self.path}:{self.line}: {weight}{self.rule}: {self.text}"


def tracked() -> list[str]:
    """Files that git knows or would add, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    return sorted({name for name in out.decode().split("\0") if name and (ROOT / name).is_file()})


def size(path: str, text: str) -> Iterator[Finding]:
    """A module is one noun: 100-300 lines, a warning past 400, an error past 600."""
    lines = text.count("\n")
    if not path.endswith(".py") or path in SIZE_EXEMPT or lines <= WARN_LINES:
        return
    yield Finding(path, 0, "size", f"{lines} lines; at most {MAX_LINES}", warning=lines <= MAX_LINES)


def address(path: str, text: str) -> Iterator[Finding]:
    """No registry and no folder of one machine: a clone must build anywhere, from any mirror."""
    words = [*_REGISTRIES, *(f"--{option}" for option in _OPTIONS)]
    own = path in {"Makefile", "tools/check_repository.py"}  # the Makefile names options to switch them off
    for number, line in enumerate(text.splitlines(), 1):
        for word in words:
            if word in line and not (own and word.startswith("--")):
                yield Finding(path, number, "address", f"names a package registry ({word})")
        if found := _MACHINE.search(line):
            yield Finding(path, number, "address", f"a path of one machine ({found[0]})")


def whitespace(path: str, text: str) -> Iterator[Finding]:
    """Unix line ends, one of them at the end, none preceded by blanks."""
    if "\r" in text:
        yield Finding(path, 0, "whitespace", "carriage returns")
    if text and not text.endswith("\n"):
        yield Finding(path, 0, "whitespace", "no line end at the end")
    for number, line in enumerate(text.split("\n"), 1):
        if line != line.rstrip(" \t"):
            yield Finding(path, number, "whitespace", "blanks at the end of the line")


def reasons(path: str, text: str) -> Iterator[Finding]:
    """What is overlooked is named, and why: ``noqa: CODE - reason``, ``type: ignore[code]  # reason``.

    In tests the checker's code is enough: that a value is wrong is often what they are about.
    """
    if not path.endswith(".py"):
        return
    for number, line in enumerate(text.splitlines(), 1):
        for found in _OVERLOOKED.finditer(line):
            typed = "type" in found[0]
            if _REASONED.match(line, found.start()) or (typed and path.startswith("tests/")):
                continue
            how = f"{_IGNORE}[code]  # reason" if typed else f"{_NOQA}: CODE - reason"
            yield Finding(path, number, "reason", f"write: {how}")


def error_codes(tree: ast.AST, classes: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Line and code of every ``SomeError("kebab-code", ...)``; ``classes`` are the names from errors.py."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        first = node.args[0]
        if name in classes and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield node.lineno, first.value


def error_classes() -> frozenset[str]:
    """Every exception class of errors.py."""
    tree = ast.parse((ROOT / "src/sealgate/errors.py").read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    return frozenset(names - {"Fault", "Exit", "Problem"})


def error_pages(sources: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Each code that is raised has its page, and each page a code that stands in the source."""
    classes = error_classes()
    texts = dict(sources)
    for path, text in texts.items():
        for line, code in error_codes(ast.parse(text), classes):
            if not _KEBAB.fullmatch(code):
                yield Finding(path, line, "error-page", f"{code!r} is not a kebab-case code")
            elif not (ROOT / f"docs/errors/{code}.md").is_file():
                yield Finding(path, line, "error-page", f"docs/errors/{code}.md is missing")
    everything = "\n".join(texts.values())
    for page in sorted((ROOT / "docs/errors").glob("*.md")):
        if page.stem not in {"index", "README"} and f'"{page.stem}"' not in everything:
            yield Finding(f"docs/errors/{page.name}", 0, "error-page", "no source file raises this code")


def check(paths: Iterable[str]) -> Iterator[Finding]:
    """All findings of all rules."""
    sources = []
    for path in paths:
        file = ROOT / path
        if file.suffix in BINARY:
            continue
        if file.stat().st_size > MAX_BYTES:
            yield Finding(path, 0, "large", f"larger than {MAX_BYTES} bytes")
            continue
        text = file.read_text(encoding="utf-8")
        yield from size(path, text)
        yield from address(path, text)
        yield from reasons(path, text)
        if path not in GENERATED and path != "LICENSE":
            yield from whitespace(path, text)
        if path.startswith("src/sealgate/") and path.endswith(".py"):
            sources.append((path, text))
    yield from error_pages(sources)


def main(arguments: list[str]) -> int:
    """Print what was found."""
    findings = list(check(arguments or tracked()))
    for finding in findings:
        print(finding)
    return int(any(not finding.warning for finding in findings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
