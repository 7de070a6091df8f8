"""Settings of a server that is configured in Python or TOML: names, values and lines; read, never run.

Python is parsed (:mod:`ast`) and never executed, so a value counts as far as a literal says it; what is
computed is known to be there and not what it is.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Setting", "UnparsedError", "assigned", "from_toml", "keywords", "literal", "nothing", "parsed"]


# The parser takes half a minute for a dotted name of 1 MiB.
_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as far as it can be told without running anything, and its line; empty: it is computed."""

    value: str
    line: int

    @property
    def words(self) -> frozenset[str]:
        """A list's items."""
        return frozenset(word.strip() for word in self.value.split(","))


class UnparsedError(Exception):
    """A text that is not what its name says; with the line, 0 where none is known."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


def parsed(text: str) -> ast.Module:
    """A program's tree.

    Raises:
        UnparsedError: it is not Python, or more than the parser bears.
    """
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnparsedError("it is not Python", getattr(error, "lineno", None) or 0) from None


def assigned(tree: ast.AST) -> dict[str, Setting]:
    """Names that are bound anywhere, and attributes (``config.bind = ...``); of each the last counts."""
    found: dict[str, Setting] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name | ast.Attribute) and not nothing(value):
                name = target.id if isinstance(target, ast.Name) else target.attr
                found[name] = Setting(literal(value), node.lineno)
    return found


def keywords(tree: ast.AST, *functions: str) -> Iterator[dict[str, Setting]]:
    """What each call of these functions (``uvicorn.run``) is given by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _dotted(node.func) in functions:
            yield {
                one.arg: Setting(literal(one.value), one.value.lineno)
                for one in node.keywords
                if one.arg and not nothing(one.value)
            }


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def nothing(value: ast.expr) -> bool:
    """None, False, or empty: as if it were not there."""
    if isinstance(value, ast.List | ast.Tuple):
        return not value.elts
    return isinstance(value, ast.Constant) and value.value in {None, "", False}


def literal(value: ast.expr) -> str:
    """A literal's text, the last name of ``ssl.CERT_REQUIRED``; of a list all of them, with commas."""
    if isinstance(value, ast.Constant):
        return str(value.value)
    if isinstance(value, ast.Attribute):
        return value.attr
    if isinstance(value, ast.List | ast.Tuple):
        return ",".join(literal(item) for item in value.elts)
    if isinstance(value, ast.Call) and value.args:
        # os.environ.get("X", "*"): the default is what holds where nothing is set.
        return literal(value.args[-1])
    return ""


def from_toml(text: str) -> dict[str, Setting]:
    """The keys at the top of a TOML file; those of its tables are not read.

    Raises:
        UnparsedError: it is not TOML, or too much of it.
    """
    if len(text) > _LARGEST:
        raise UnparsedError(f"it is larger than {_LARGEST // 1024} KiB", 0)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        said = re.search(r"at line (\d+)", str(error))
        raise UnparsedError("it is not TOML", int(said[1]) if said else 0) from None
    found = {}
    for name, value in data.items():
        if value in ("", False, []) or isinstance(value, dict):
            continue
        line = re.search(rf"(?m)^[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*=", text)
        items = value if isinstance(value, list) else [value]
        number = text.count("\n", 0, line.start()) + 1 if line else 0
        found[name] = Setting(",".join(map(str, items)), number)
    return found
