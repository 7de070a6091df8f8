r"""Apache's configuration as directives. No library reads it; its syntax is one line, one directive.

What httpd does, followed here: names without case, ``\`` at the end of a line goes on in the next,
comments are whole lines, ``<Section>`` to ``</Section>``, ``Include`` of files, patterns and folders
relative to ``ServerRoot``, ``Define``. What only httpd can know is taken as there: ``IfModule``,
``IfDefine`` and ``IfVersion`` are read as if their condition held. So a variable that is defined under a
condition, twice, or taken back has no value here: it stays as it is written, and nobody knows what it means.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sealgate.engines.configurations.directive import Configuration, Directive, Unread
from sealgate.engines.configurations.library import MOST_FILES, Library, UnreadableError

__all__ = ["read_apache"]

_DEEPEST = 30
_MOST_DIRECTIVES = 100_000
_CONDITIONS = frozenset({"ifmodule", "ifdefine", "ifversion", "iffile", "ifdirective", "ifsection"})
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"?|\'((?:[^\'\\]|\\.)*)\'?|(\S+)')
_VARIABLE = re.compile(r"\$\{([^{}]+)\}")


def read_apache(main: str, library: Library) -> Configuration:
    """The configuration that begins in a file; what cannot be read is listed, nothing is raised.

    Args:
        main: absolute path of ``apache2.conf`` or ``httpd.conf``; its folder is the first ``ServerRoot``.
        library: where its files are.
    """
    reading = _Reading(library, str(PurePosixPath(main).parent))
    reading.file(main, Directive("", (), main, 0), ())
    reading.close_all(main)
    return Configuration(Directive("", (), main, 0, tuple(reading.stack[0].inside)), tuple(reading.unread))


@dataclass(slots=True)
class _Section:
    """A section under way."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    inside: list[Directive] = field(default_factory=list)


@dataclass(slots=True)
class _Reading:
    """One configuration under way; sections may not reach over the end of a file."""

    library: Library
    root: str
    unread: list[Unread] = field(default_factory=list)
    defined: dict[str, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    stack: list[_Section] = field(default_factory=lambda: [_Section("", (), "", 0)])
    files: int = 0
    count: int = 0

    def file(self, name: str, by: Directive, open_files: tuple[str, ...]) -> None:
        """Read one file into the section that is open; ``by`` includes it."""
        why = ""
        if name in open_files or len(open_files) > _DEEPEST:
            why = f"includes {name}, which is being read already, or too deep"
        elif self.files >= MOST_FILES:
            why = f"more than {MOST_FILES} files; {name} was not read"
        if why:
            self.unread.append(Unread(by.file, by.line, why))
            return
        self.files += 1
        try:
            text = self.library.read(name)
        except UnreadableError as error:
            if by.name != "includeoptional" or os.strerror(errno.ENOENT) not in str(error):
                self.unread.append(Unread(by.file, by.line, f"{name} cannot be read: {error}"))
            return
        depth = len(self.stack)
        for number, content in _lines(text):
            self.count += 1
            if self.count > _MOST_DIRECTIVES:
                self.unread.append(Unread(name, number, "too many directives; the rest was not read"))
                break
            self._line(content, name, number, (*open_files, name), depth)
        while len(self.stack) > depth:
            self._close(name, "is never closed")

    def close_all(self, main: str) -> None:
        """Whatever a broken file left open."""
        while len(self.stack) > 1:
            self._close(main, "is never closed")

    def _line(self, content: str, name: str, line: int, open_files: tuple[str, ...], depth: int) -> None:
        if content.startswith("</"):
            self._end(content[2:].rstrip("> \t").lower(), name, line, depth)
            return
        section = content.startswith("<")
        words = _words(self._expanded(content[1:].rstrip().removesuffix(">") if section else content))
        if not words:
            return
        keyword, args = words[0].lower(), tuple(words[1:])
        if section:
            if len(self.stack) > _DEEPEST:
                self.unread.append(Unread(name, line, "sections nested too deep"))
                return
            self.stack.append(_Section(keyword, args, name, line))
        elif keyword in {"include", "includeoptional"} and args:
            self._include(Directive(keyword, args, name, line), open_files)
        else:
            self._remember(keyword, args)
            self.stack[-1].inside.append(Directive(keyword, args, name, line))

    def _remember(self, keyword: str, args: tuple[str, ...]) -> None:
        perhaps = any(section.name in _CONDITIONS for section in self.stack)
        if keyword == "serverroot" and args:
            self.root = "${ServerRoot}" if perhaps and self.root != args[0] else args[0]
        if keyword in {"define", "undefine"} and args:
            value = args[1] if len(args) > 1 else ""
            same = keyword == "define" and self.defined.get(args[0], value) == value and not perhaps
            if not same or args[0] in self.doubtful:
                self.doubtful.add(args[0])
            self.defined[args[0]] = value

    def _end(self, keyword: str, name: str, line: int, depth: int) -> None:
        if len(self.stack) <= depth or self.stack[-1].name != keyword:
            self.unread.append(Unread(name, line, f"</{keyword}> closes nothing that is open here"))
            return
        self._close(name, "")

    def _close(self, name: str, why: str) -> None:
        section = self.stack.pop()
        if why:
            self.unread.append(Unread(section.file or name, section.line, f"<{section.name}> {why}"))
        outer = self.stack[-1].inside
        if section.name in _CONDITIONS:
            outer.extend(section.inside)
        else:
            outer.append(
                Directive(section.name, section.args, section.file, section.line, tuple(section.inside))
            )

    def _include(self, directive: Directive, open_files: tuple[str, ...]) -> None:
        path = str(PurePosixPath(self.root, directive.value))
        if "${" in path:
            why = f"includes {directive.value}, and what a variable in it says is not known here"
            self.unread.append(Unread(directive.file, directive.line, why))
            return
        try:
            files = self.library.find(path)
        except UnreadableError as error:
            why = f"{directive.value} cannot be followed: {error}"
            self.unread.append(Unread(directive.file, directive.line, why))
            return
        for found in files:
            below = self.library.folder(found)
            for file in (found,) if below is None else below:
                self.file(file, directive, open_files)

    def _expanded(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            known = match[1] not in self.doubtful
            return self.defined.get(match[1], match[0]) if known else match[0]

        return _VARIABLE.sub(value, text)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines without comments and blanks, each with the number of its first."""
    begun, parts = 0, ""
    for number, raw in enumerate(text.split("\n"), 1):
        begun = begun or number
        if raw.endswith("\\"):  # httpd 2.4 looks at the last one alone, in comments too
            parts += raw[:-1]
            continue
        content = (parts + raw).strip()
        if content and not content.startswith("#"):
            yield begun, content
        begun, parts = 0, ""
    if parts.strip() and not parts.lstrip().startswith("#"):
        yield begun, parts.strip()


def _words(text: str) -> list[str]:
    r"""Words as httpd's ap_getword_conf takes them: quotes hold one together, ``\"`` in them is a quote."""
    words = []
    for double, single, bare in _WORD.findall(text):
        quoted = double or single
        words.append(re.sub(r"\\([\"'\\])", r"\1", quoted) if quoted or not bare else bare)
    return words
