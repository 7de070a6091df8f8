r"""Command lines of a program wherever they stand: units, Procfiles, container files, shell scripts.

Read, never run. A line counts where a word of it is the program's name (``granian``, ``/opt/v/bin/granian``,
``python -m granian``); ``\`` at its end goes on in the next.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Call", "calls", "variables"]

_LONGEST = 20_000
_ASSIGNED = re.compile(
    r"^\s*(?:export\s+|ENV\s+|Environment=|-\s+)?[\"']?([A-Z][A-Z0-9_]{2,60})\s*[=:]\s*(.*)$"
)


@dataclass(frozen=True, slots=True)
class Call:
    """The words after the program's name, and the line that it stands in."""

    words: tuple[str, ...]
    line: int

    def value(self, *options: str) -> str | None:
        """The value of the last of these options; empty for one without, None where none is there."""
        found = None
        for index, word in enumerate(self.words):
            name, equals, value = word.partition("=")
            if name in options:
                after = self.words[index + 1] if index + 1 < len(self.words) else ""
                found = value if equals else ("" if after.startswith("-") else after)
        return found


def calls(text: str, program: str) -> Iterator[Call]:
    """Every call of a program in a text."""
    for line, content in _logical(text):
        # Taking a line apart is dear, and a file may have a million of them.
        words = _split(content) if program in content else []
        for index, word in enumerate(words):
            if word == program or word.endswith(f"/{program}"):
                yield Call(tuple(words[index + 1 :]), line)
                break


def variables(text: str, prefix: str) -> dict[str, tuple[str, int]]:
    """Environment variables that begin so and are set in a text: name to value and line."""
    found = {}
    for number, line in enumerate(text.split("\n"), 1):
        match = _ASSIGNED.match(line[:_LONGEST])
        if match and match[1].startswith(prefix):
            found[match[1]] = (match[2].strip().strip("\"'"), number)
    return found


def _logical(text: str) -> Iterator[tuple[int, str]]:
    begun, parts = 0, ""
    for number, raw in enumerate(text.split("\n"), 1):
        begun = begun or number
        parts += raw.removesuffix("\\") + " "
        if raw.endswith("\\") and len(parts) < _LONGEST:
            continue
        if not parts.lstrip().startswith("#"):
            yield begun, parts[:_LONGEST]
        begun, parts = 0, ""
    if parts.strip():
        yield begun, parts[:_LONGEST]


def _split(content: str) -> list[str]:
    # JSON lists of container files: ["granian", "--ssl-client-verify"].
    plain = content.replace('", "', '" "').replace('["', '"').replace('"]', '"')
    try:
        return shlex.split(plain, comments=False)
    except ValueError:
        return plain.replace('"', " ").replace("'", " ").split()
