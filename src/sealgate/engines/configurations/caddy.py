"""A Caddyfile as directives: words, quotes, blocks in braces; snippets and imported files where they stand.

Only as far as traps need it: nothing is substituted, a snippet is read where it is written and not where it
is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from sealgate.engines.configurations.directive import Configuration, Directive, Unread
from sealgate.engines.configurations.library import MOST_FILES, Library, UnreadableError

__all__ = ["read_caddyfile"]

_DEEPEST = 30
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"?|`([^`]*)`?|(\S+)', re.DOTALL)


def read_caddyfile(main: str, library: Library) -> Configuration:
    """The configuration that begins in a file; what cannot be read is listed, nothing is raised."""
    block: list[Directive] = []
    unread: list[Unread] = []
    waiting, seen = [(main, main, 0)], {main}
    while waiting:
        name, at, line = waiting.pop(0)
        try:
            text = library.read(name)
        except UnreadableError as error:
            # `import` of a snippet looks the same as that of a file.
            if any(mark in name for mark in "./*") or name == main:
                unread.append(Unread(at, line, f"{name} cannot be read: {error}"))
            continue
        found, why = _directives(text, name)
        block += found
        unread += [Unread(name, number, said) for number, said in why]
        for one in (each for top in found for each in top.walk() if each.name == "import" and each.args):
            try:
                files = library.find(str(PurePosixPath(name).parent / one.value))
            except UnreadableError as error:
                unread.append(Unread(one.file, one.line, f"{one.value} cannot be followed: {error}"))
                continue
            for more in files:
                if more not in seen and len(seen) < MOST_FILES and "/" in one.value + more[-1:]:
                    seen.add(more)
                    waiting.append((more, one.file, one.line))
    return Configuration(Directive("", (), main, 0, tuple(block)), tuple(unread))


def _directives(text: str, name: str) -> tuple[list[Directive], list[tuple[int, str]]]:
    """All of a text; blocks that are never closed end with it."""
    stack: list[tuple[list[str], int, list[Directive]]] = [([""], 0, [])]
    wrong: list[tuple[int, str]] = []

    def close() -> None:
        words, line, inside = stack.pop()
        stack[-1][2].append(Directive(words[0] if words else "", tuple(words[1:]), name, line, tuple(inside)))

    for line, words in _lines(text):
        if words == ["}"]:
            if len(stack) == 1:
                wrong.append((line, "closes nothing that is open"))
            else:
                close()
            continue
        if words[-1] == "{":
            if len(stack) > _DEEPEST:
                wrong.append((line, "blocks nested too deep; the rest was not read"))
                break
            stack.append((words[:-1], line, []))
            continue
        stack[-1][2].append(Directive(words[0], tuple(words[1:]), name, line))
    while len(stack) > 1:
        wrong.append((stack[-1][1], "a block is never closed"))
        close()
    return stack[0][2], wrong


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that has any; a quote may reach over several lines."""
    words: list[str] = []
    line, begun, position = 1, 1, 0
    while position < len(text):
        char = text[position]
        if char == "\n":
            if words:
                yield begun, words
            line, position, words = line + 1, position + 1, []
        elif char.isspace():
            position += 1
        elif char == "#":
            end = text.find("\n", position)
            position = len(text) if end < 0 else end
        elif text.startswith("\\\n", position):  # goes on in the next line
            line, position = line + 1, position + 2
        else:
            begun = begun if words else line
            match = _TOKEN.match(text, position)
            if match is None:
                return
            words.append(next((group for group in match.groups() if group is not None), ""))
            line, position = line + match[0].count("\n"), match.end()
    if words:
        yield begun, words
