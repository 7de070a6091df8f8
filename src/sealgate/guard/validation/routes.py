"""Which operation a path is: templates in a tree of segments. Pure.

What is named in full is preferred to what has parameters (OpenAPI 3.1.1, Paths Object), segment by segment. A
parameter is never empty and never more than its part of a segment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Generic, TypeVar

from sealgate.policy.openapi import Json

__all__ = ["Routes", "places"]

_PIECE = re.compile(r"\{([^/{}]+)\}")
Value = TypeVar("Value")


class _Node(Generic[Value]):
    __slots__ = ("leaf", "named", "open")

    def __init__(self) -> None:
        self.named: dict[str, _Node[Value]] = {}
        self.open: list[tuple[re.Pattern[str], _Node[Value]]] = []
        self.leaf: dict[str, Value] = {}


class Routes(Generic[Value]):
    """Values by path template and method."""

    def __init__(self) -> None:
        self._root: _Node[Value] = _Node()
        self._plain: dict[str, dict[str, Value]] = {}

    def add(self, template: str, method: str, value: Value) -> None:
        """One operation."""
        if "{" not in template:
            self._plain.setdefault(template, {})[method] = value
            return
        node = self._root
        for segment in template.split("/")[1:]:
            node = self._next(node, segment)
        node.leaf[method] = value

    @staticmethod
    def _next(node: _Node[Value], segment: str) -> _Node[Value]:
        pieces = _PIECE.split(segment)
        if len(pieces) == 1:
            return node.named.setdefault(segment, _Node())
        words = [re.escape(one) if at % 2 == 0 else "(.+?)" for at, one in enumerate(pieces)]
        pattern = re.compile("".join(words), re.DOTALL)
        for known, there in node.open:
            if known == pattern:
                return there
        child: _Node[Value] = _Node()
        node.open.append((pattern, child))
        # The more of it is written out, the sooner it is asked.
        node.open.sort(key=lambda one: -len(_plain_part(one[0].pattern)))
        return child

    def at(self, path: str) -> tuple[dict[str, Value], dict[str, str]] | None:
        """By method what is at a path, and by place what its parameters say; None: nothing is."""
        found = self._plain.get(path)
        if found is not None:
            return found, {}
        if not path.startswith("/"):
            return None
        for leaf, values in self._below(self._root, path.split("/")[1:], 0):
            return leaf, values
        return None

    def _below(
        self, node: _Node[Value], segments: list[str], at: int
    ) -> Iterator[tuple[dict[str, Value], dict[str, str]]]:
        if at == len(segments):
            if node.leaf:
                yield node.leaf, {}
            return
        segment = segments[at]
        child = node.named.get(segment)
        if child is not None:
            yield from self._below(child, segments, at + 1)
        for pattern, below in node.open:
            match = pattern.fullmatch(segment)
            if match is not None:
                own = {f"{at}.{number}": text for number, text in enumerate(match.groups())}
                for leaf, values in self._below(below, segments, at + 1):
                    yield leaf, own | values


def places(template: str) -> dict[str, str]:
    """By place what a parameter of a template is called."""
    return {
        f"{at}.{number}": name
        for at, segment in enumerate(template.split("/")[1:])
        for number, name in enumerate(_PIECE.findall(segment))
    }


def _plain_part(pattern: str) -> str:
    return pattern.replace("(.+?)", "")


_Any = Json
