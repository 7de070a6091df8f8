"""Envoy's bootstrap, YAML or JSON, as directives; files that it names as sources stand where they are named.

A key is a directive, an item of a list one of the name ``-``, and names are the protocol's own
(``requireClientCertificate`` is ``require_client_certificate``). The parser is asked for events with lines
and for nothing else: no tag of YAML builds an object. An alias is read wherever it stands, so all is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from sealgate.engines.configurations.directive import Configuration, Directive, Unread
from sealgate.engines.configurations.library import MOST_FILES, Library, UnreadableError

__all__ = ["read_envoy"]

# Rules in rules (and_rules, or_ids) nest deepest: a real one has about thirty.
_DEEPEST = 80
_MOST_DIRECTIVES = 100_000
_KINDS = {"Scalar": "scalar", "MappingStart": "mapping", "SequenceStart": "sequence"}
_TOO_DEEP = "nested too deep"
_CAMEL = re.compile(r"[a-z][a-z0-9]*(?:[A-Z][a-z0-9]*)+")
# Envoy takes a source from another program under these; the first two in place of a file.
_ASKED = frozenset({"api_config_source", "ads"})
_SOURCES = frozenset({"lds_config", "config_source", "sds_config"})


def read_envoy(main: str, library: Library) -> Configuration:
    """The configuration that begins in a bootstrap file; what cannot be read is listed, nothing is raised.

    Args:
        main: its name. A relative name in it starts where Envoy was started, which nobody wrote down: it
            is looked for beside the file, then in the folders above it.
        library: where its files are.
    """
    reading = _Reading(library, PurePosixPath(main))
    block = reading.file(main, main, 0, ())
    return Configuration(Directive("", (), main, 0, tuple(block)), tuple(reading.unread))


@dataclass(slots=True)
class _Reading:
    """One configuration under way."""

    library: Library
    main: PurePosixPath
    unread: list[Unread] = field(default_factory=list)
    files: int = 0
    count: int = 0

    def file(self, name: str, at: str, line: int, open_files: tuple[str, ...]) -> list[Directive]:
        """The directives of one file."""
        found = self._text(name, at, line)
        if found is None:
            return []
        path, text = found
        if path in open_files:
            self.unread.append(Unread(at, line, f"names {path}, which is being read already"))
            return []
        node, why, number = _parsed(text)
        if why:
            self.unread.append(Unread(path, number, why))
        if node is None or node.kind != "mapping":
            if not why:
                self.unread.append(Unread(path, 0, "it is no bootstrap: there are no keys in it"))
            return []
        return list(self._inside(node, path, (*open_files, path), 0))

    def _text(self, name: str, at: str, line: int) -> tuple[str, str] | None:
        self.files += 1
        if self.files > MOST_FILES:
            self.unread.append(Unread(at, line, f"more than {MOST_FILES} files; {name} was not read"))
            return None
        why = ""
        for path in self._candidates(name):
            try:
                return path, self.library.read(path)
            except UnreadableError as error:
                why = why or str(error)
        self.unread.append(Unread(at, line, f"{name} cannot be read: {why}"))
        return None

    def _candidates(self, name: str) -> Iterator[str]:
        if name == str(self.main) or name.startswith("/"):
            yield name
            return
        yield from (str(folder / name) for folder in self.main.parents)

    def _inside(self, node: _Node, name: str, open_files: tuple[str, ...], depth: int) -> Iterator[Directive]:
        for title, line, value in node.entries():
            self.count += 1
            if self.count > _MOST_DIRECTIVES or depth > _DEEPEST:
                self._cut(name, line, "too many keys" if depth <= _DEEPEST else _TOO_DEEP)
                return
            if value.kind == "scalar":
                yield Directive(title, (value.text,), name, line)
                continue
            block = tuple(self._inside(value, name, open_files, depth + 1))
            yield Directive(title, (), name, line, block + self._named(title, block, name, open_files))

    def _cut(self, name: str, line: int, what: str) -> None:
        """Said once: where keys are too many, each list that is left says it again."""
        if not any(one.why.startswith(what) for one in self.unread):
            self.unread.append(Unread(name, line, f"{what}; the rest was not read"))

    def _named(
        self, title: str, block: tuple[Directive, ...], name: str, open_files: tuple[str, ...]
    ) -> tuple[Directive, ...]:
        """What the file holds that a source names; a note where it is another program's to say."""
        for one in block:
            if one.name == "path" and one.value and (title == "path_config_source" or title in _SOURCES):
                return tuple(self.file(one.value, name, one.line, open_files))
            if one.name in _ASKED and title in _SOURCES:
                self.unread.append(Unread(name, one.line, "it comes from another program (xDS)"))
        return ()


@dataclass(slots=True)
class _Node:
    """A value; of a mapping ``items`` are keys and values in turn."""

    kind: str
    line: int
    text: str = ""
    items: list[_Node] = field(default_factory=list)

    def entries(self) -> Iterator[tuple[str, int, _Node]]:
        """Name, line and value of all that is inside."""
        if self.kind == "sequence":
            yield from (("-", item.line, item) for item in self.items)
        else:
            pairs = zip(self.items[::2], self.items[1::2], strict=True)
            yield from ((_title(key.text), key.line, value) for key, value in pairs)


def _title(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower() if _CAMEL.fullmatch(name) else name


def _parsed(text: str) -> tuple[_Node | None, str, int]:
    """The top value; or why there is none, and the line."""
    # Here, because only one command needs it and start-up time is promised.
    import yaml

    # Indented by tabs it may be JSON, but not YAML; in JSON they mean nothing, nor do they in YAML's braces.
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")
    line = 0
    try:
        # Events and not nodes: libyaml's composer calls itself for each level and would end the process.
        return _composed(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))), "", 0
    except _RefusedError as error:
        return None, str(error), error.line
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
    return None, "it is neither YAML nor JSON", line


class _RefusedError(Exception):
    """A text that is YAML and is not read all the same."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line


def _composed(events: Iterable[Any]) -> _Node | None:
    """The value that a parser's events describe.

    Raises:
        _RefusedError: too deep, too much, more than one document, an alias of nothing.
    """
    top = _Node("sequence", 0)
    open_nodes, anchors, count = [top], dict[str, _Node](), 0
    for event in events:
        kind, count = type(event).__name__.removesuffix("Event"), count + 1
        line = event.start_mark.line + 1
        if kind in {"MappingEnd", "SequenceEnd"}:
            open_nodes.pop()
        if kind in {"Alias", "Scalar", "MappingStart", "SequenceStart"}:
            anchor = getattr(event, "anchor", None) or ""
            if kind == "Alias" and anchor not in anchors:
                raise _RefusedError("it is neither YAML nor JSON", line)
            text = str(getattr(event, "value", ""))
            node = anchors[anchor] if kind == "Alias" else _Node(_KINDS[kind], line, text)
            if anchor:
                anchors[anchor] = node
            open_nodes[-1].items.append(node)
            if kind in {"MappingStart", "SequenceStart"}:
                open_nodes.append(node)
        if len(open_nodes) > _DEEPEST or count > 4 * _MOST_DIRECTIVES:
            raise _RefusedError(_TOO_DEEP if len(open_nodes) > _DEEPEST else "it is too much to read", line)
        if len(top.items) > 1:
            raise _RefusedError("it is more than one document", line)
    return top.items[0] if top.items else None
