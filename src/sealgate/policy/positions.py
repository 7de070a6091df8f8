"""On which line of a TOML file does a key, or an element of a list, stand?

``tomllib`` gives values without positions. This module gives positions without values: it walks over a
text that ``tomllib`` has already accepted, so it need not judge anything, only find the ends of strings,
lists and tables. On a text that is not TOML it stops early and returns what it has seen.

The grammar it follows is TOML 1.0.0 (sections "Keys", "String", "Array", "Inline Table", "Array of Tables").
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

__all__ = ["KeyPath", "Positions", "find_positions"]

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY_PART = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'", re.ASCII)
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^\s,\]}#](?:[^,\]}#\n]*[^\s,\]}#])?")


class _NotTomlError(Exception):
    """The text is not what tomllib accepts; the positions found so far stand."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Lines, 1-based, by key path; ``twice`` are the keys written more than once, with their later line."""

    lines: dict[KeyPath, int]
    twice: tuple[tuple[KeyPath, int], ...] = ()

    def line(self, path: KeyPath) -> int | None:
        """The line of a key, or None where it is not in the file."""
        return self.lines.get(path)

    def nearest(self, path: KeyPath) -> int | None:
        """The line of a key, else of the table it would stand in."""
        return next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)


def find_positions(text: str) -> Positions:
    """Positions of all keys and list elements of a TOML document."""
    walk = _Walk(text)
    with suppress(_NotTomlError, RecursionError):
        walk.document()
    return Positions(walk.lines, tuple(walk.twice))


@dataclass(slots=True)
class _Walk:
    text: str
    at: int = 0
    line: int = 1
    lines: dict[KeyPath, int] = field(default_factory=dict)
    twice: list[tuple[KeyPath, int]] = field(default_factory=list)
    # How many elements each array of tables has so far: [[a]] [[a]] -> {("a",): 2}
    counts: dict[KeyPath, int] = field(default_factory=dict)

    def document(self) -> None:
        table: KeyPath = ()
        while True:
            self._eat(_BLANK)
            if self.at >= len(self.text):
                return
            if self.text.startswith("[[", self.at):
                table = self._array_header()
            elif self.text.startswith("[", self.at):
                table = self._table_header()
            else:
                self._pair(table)

    def _eat(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _NotTomlError
        self.at = match.end()
        self.line += match[0].count("\n")
        return match[0]

    def _expect(self, token: str) -> None:
        if not self.text.startswith(token, self.at):
            raise _NotTomlError
        self.at += len(token)

    def _take(self, token: str) -> bool:
        found = self.text.startswith(token, self.at)
        self.at += len(token) if found else 0
        return found

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._eat(_SPACE)
            parts.append(_unquoted(self._eat(_KEY_PART)))
            self._eat(_SPACE)
            if not self._take("."):
                return tuple(parts)

    def _table_header(self) -> KeyPath:
        line = self.line
        self._expect("[")
        path = self._within_arrays(self._key())
        self._expect("]")
        self._note(path, line)
        return path

    def _array_header(self) -> KeyPath:
        line = self.line
        self._expect("[[")
        key = self._key()
        self._expect("]]")
        path = (*self._within_arrays(key[:-1]), key[-1])
        index = self.counts.get(path, 0)
        self.counts[path] = index + 1
        self.lines.setdefault(path, line)
        self.lines[*path, index] = line
        return (*path, index)

    def _within_arrays(self, key: tuple[str, ...]) -> KeyPath:
        """A header's path, with the newest element wherever it passes through an array of tables."""
        path: KeyPath = ()
        for part in key:
            path = (*path, part)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        return path

    def _note(self, path: KeyPath, line: int) -> None:
        """A table or dotted key: its parents begin where they are first spoken of."""
        for n in range(1, len(path) + 1):
            self.lines.setdefault(path[:n], line)

    def _pair(self, table: KeyPath) -> None:
        line = self.line
        path = (*table, *self._key())
        if path in self.lines:
            self.twice.append((path, line))
        self._expect("=")
        self._eat(_SPACE)
        self._note(path, line)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        if self._take("["):
            self._array(path)
        elif self._take("{"):
            self._inline_table(path)
        elif self.text.startswith(('"', "'"), self.at):
            self._eat(_STRING)
        else:
            self._eat(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        for index in self._items("]"):
            line = self.line
            self._value((*path, index))
            self.lines[*path, index] = line

    def _inline_table(self, path: KeyPath) -> None:
        for _ in self._items("}"):
            self._pair(path)

    def _items(self, end: str) -> Iterator[int]:
        """Stand at each item between commas in turn, until past ``end``."""
        index = 0
        while True:
            self._eat(_BLANK)
            if self._take(end):
                return
            yield index
            index += 1
            self._eat(_BLANK)
            if not self._take(","):
                self._expect(end)
                return


def _unquoted(part: str) -> str:
    if part[0] == "'":
        return part[1:-1]
    if part[0] != '"':
        return part
    try:
        # Escapes are tomllib's business.
        return str(tomllib.loads(f"k={part}")["k"])
    except tomllib.TOMLDecodeError:
        raise _NotTomlError from None
