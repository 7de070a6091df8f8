"""TOML written from plain data, in several styles, with the line of every key: for the tests beside this."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from hypothesis import strategies as st

KEYS = st.one_of(
    st.sampled_from(["site", "names", "listen", "https", "a", "b-c", "1"]), st.text(min_size=1, max_size=6)
).filter(lambda k: not any(0xD800 <= ord(c) <= 0xDFFF for c in k))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)),  # noqa: DTZ001 - TOML's local time
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
TREES = st.dictionaries(KEYS, VALUES, max_size=5)

Path = tuple[str | int, ...]


def text(value: str) -> str:
    """A basic string; DEL is legal in JSON and not in TOML."""
    return json.dumps(value).replace("\x7f", "\\u007f") if value.isascii() else _long_escapes(value)


def _long_escapes(value: str) -> str:
    plain = (c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in value)
    return f'"{"".join(plain)}"'


def inline(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(k)} = {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return value.isoformat() if isinstance(value, dt.datetime) else repr(value)


class Writer:
    """Writes a tree with tables as headers and lists over several lines, and notes where each key is."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.where: dict[Path, int] = {}

    def table(self, path: Path, header: tuple[str, ...], data: dict[str, Any]) -> None:
        for key, value in data.items():
            if not _is_table(value) and not _is_tables(value):
                self._pair((*path, key), key, value)
        for key, value in data.items():
            name = (*header, key)
            if _is_table(value):
                self._add((*path, key), f"[{'.'.join(map(text, name))}] # [not.a.header]")
                self.table((*path, key), name, value)
            elif _is_tables(value):
                for index, item in enumerate(value):
                    self._add((*path, key, index), f"[[{' . '.join(map(text, name))}]]")
                    self.where.setdefault((*path, key), len(self.lines))
                    self.table((*path, key, index), name, item)

    def _add(self, path: Path, line: str) -> None:
        self.lines.append(line)
        self.where[path] = len(self.lines)

    def _pair(self, path: Path, key: str, value: Any) -> None:
        if isinstance(value, list) and value:
            self._add(path, f"{text(key)} = [ # ] , not the end")
            for index, item in enumerate(value):
                self._add((*path, index), f"  {inline(item)},")
            self.lines.append("]")
        else:
            self._add(path, f"{text(key)} = {inline(value)}")


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def written(data: dict[str, Any]) -> tuple[str, dict[Path, int]]:
    """The text, and the line of every key written on a line of its own."""
    writer = Writer()
    writer.table((), (), data)
    return "\n".join(writer.lines) + "\n", writer.where
