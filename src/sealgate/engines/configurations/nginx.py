"""nginx's configuration as directives, by the library crossplane, one file at a time.

crossplane is given texts, never paths that a configuration names: includes are resolved here, where files are
bounded, cycles end, and a file that two contexts include is judged in both (crossplane parses it in the
first one only).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from sealgate.engines.configurations.directive import Configuration, Directive, Unread
from sealgate.engines.configurations.library import MOST_FILES, Library, UnreadableError

__all__ = ["read_nginx", "split_dump"]

# nginx itself nests five deep, and locations as deep as people bear.
_DEEPEST = 30
# A file may be included in several places; all of them together are bounded, too.
_MOST_DIRECTIVES = 100_000
# Of what stands directly in these every site has something.
_SHARED = ((), ("http",))
_HEADER = "# configuration file "
_END = "sealgate_end_of_file"


def read_nginx(main: str, library: Library) -> Configuration:
    """The configuration that begins in a file; what cannot be read is listed, nothing is raised.

    Args:
        main: absolute path of ``nginx.conf``; relative includes start in its folder, as in nginx.
        library: where its files are.
    """
    reading = _Reading(library, str(PurePosixPath(main).parent))
    block = tuple(reading.file(main, main, 0, (), ()))
    return Configuration(Directive("", (), main, 0, block), tuple(reading.unread))


def split_dump(dump: str) -> dict[str, str]:
    """The files in what ``nginx -T`` prints: name to text, the main file first."""
    texts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in dump.splitlines(keepends=True):
        bare = line.rstrip("\r\n")
        if bare.startswith(f"{_HEADER}/") and bare.endswith(":"):
            current = texts.setdefault(bare.removeprefix(_HEADER)[:-1], [])
            current.clear()  # printed once each; a comment of this form must not lengthen another file
        else:
            current.append(line)
    return {name: "".join(lines) for name, lines in texts.items()}


@dataclass(frozen=True, slots=True)
class _Parsed:
    """One file: statements, and mistakes with their lines; None: of the line that includes it."""

    items: list[dict[str, Any]]
    errors: tuple[tuple[int | None, str], ...] = ()


@dataclass(slots=True)
class _Reading:
    """One configuration under way."""

    library: Library
    folder: str
    unread: list[Unread] = field(default_factory=list)
    parsed: dict[str, _Parsed] = field(default_factory=dict)
    count: int = 0

    def file(
        self, name: str, at: str, line: int, open_files: tuple[str, ...], blocks: tuple[str, ...]
    ) -> Iterator[Directive]:
        """The directives of one file, those of its includes in their places; ``blocks`` are open there."""
        if name in open_files:
            self._unread(at, line, f"includes {name}, which is being read already", blocks)
            return
        if name not in self.parsed:
            if len(self.parsed) >= MOST_FILES:
                self._unread(at, line, f"more than {MOST_FILES} files; {name} was not read", blocks)
                return
            self.parsed[name] = self._parse(name)
        parsed = self.parsed[name]
        for number, why in parsed.errors:
            if number is None:
                self._unread(at, line, why, blocks)
            else:
                self._unread(name, number, why, blocks)
        yield from self._directives(parsed.items, name, (*open_files, name), 0, blocks)

    def _unread(self, file: str, line: int, why: str, blocks: tuple[str, ...]) -> None:
        """Once for each way in which it matters: a file may be included in several places."""
        one = Unread(file, line, why, apart=blocks not in _SHARED)
        if one not in self.unread:
            self.unread.append(one)

    def _parse(self, name: str) -> _Parsed:
        try:
            text = self.library.read(name)
        except UnreadableError as error:
            return _Parsed([], ((None, f"{name} cannot be read: {error}"),))
        parsed, errors = _crossplane(text)
        if "\r" in text:  # nginx ends no line by it, and crossplane does: a comment would reach less far
            errors.append((text[: text.index("\r")].count("\n") + 1, "a carriage return that ends no line"))
        return _Parsed(parsed, tuple(errors))

    def _directives(
        self,
        parsed: list[dict[str, Any]],
        name: str,
        open_files: tuple[str, ...],
        depth: int,
        blocks: tuple[str, ...],
    ) -> Iterator[Directive]:
        for item in parsed:
            line = int(item["line"])
            self.count += 1
            if self.count > _MOST_DIRECTIVES or depth > _DEEPEST:
                what = "too many directives" if self.count > _MOST_DIRECTIVES else "blocks nested too deep"
                self._unread(name, line, f"{what}; the rest was not read", blocks)
                return
            args = tuple(str(arg) for arg in item["args"])
            if item["directive"] == "include" and args:
                yield from self._included(args[0], name, line, open_files, blocks)
                continue
            block, own = item.get("block"), str(item["directive"])
            within = (*blocks, own)
            inside = (
                None if block is None else tuple(self._directives(block, name, open_files, depth + 1, within))
            )
            yield Directive(own, args, name, line, inside)

    def _included(
        self, pattern: str, name: str, line: int, open_files: tuple[str, ...], blocks: tuple[str, ...]
    ) -> Iterator[Directive]:
        whole = str(PurePosixPath(self.folder, pattern))
        if len(open_files) > _DEEPEST:
            self._unread(name, line, "files included too deep", blocks)
            return
        try:
            files = self.library.find(whole)
        except UnreadableError as error:
            self._unread(name, line, f"{pattern} cannot be followed: {error}", blocks)
            return
        for found in files:
            yield from self.file(found, name, line, open_files, blocks)


def _crossplane(text: str) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    """What crossplane makes of a text: statements, and mistakes with their lines."""
    # Here, because only two commands need it and start-up time is promised.
    import crossplane

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".conf") as file:
        # At a quote that is never closed crossplane ends without a word: then this end is not seen.
        file.write(f"{text}\n{_END};\n")
        file.flush()
        # No analysis: directives that crossplane does not know are read like all others.
        payload = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
    found = payload["config"][0]
    errors = [(error["line"] or 0, _why(str(error["error"]), file.name)) for error in found["errors"]]
    parsed: list[dict[str, Any]] = found["parsed"]
    if not errors and (not parsed or parsed[-1]["directive"] != _END):
        errors = [(parsed[-1]["line"] if parsed else 1, 'after this a quote or a ";" is missing')]
    return [item for item in parsed if _END not in (item["directive"], *item["args"][-1:])], errors


def _why(error: str, file: str) -> str:
    """Its sentence without the name of our temporary file."""
    if "recursion" in error:
        return "its blocks are nested too deep"
    return error.partition(f" in {file}")[0] or "it ends in the middle of a directive"
