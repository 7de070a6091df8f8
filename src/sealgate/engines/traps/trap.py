"""What a trap is, and what a module of traps says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sealgate.engines.configurations.directive import Directive, Unread
from sealgate.engines.configurations.library import Library

__all__ = ["Found", "Known", "Server", "Trap"]


@dataclass(frozen=True, slots=True)
class Trap:
    """One trap, where it was seen.

    Attributes:
        id: stable; the name of its section in ``docs/traps.md``.
        title: what is the case, in a few words.
        why: what comes of it.
        remedy: what to write instead.
        file: as the configuration names it; foreign text.
        line: 1-based.
    """

    id: str
    title: str
    why: str
    remedy: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Known:
    """A trap that may be seen."""

    id: str
    title: str
    why: str
    remedy: str

    def at(self, file: str, line: int) -> Trap:
        """Seen here."""
        return Trap(self.id, self.title, self.why, self.remedy, file, line)

    def on(self, directive: Directive) -> Trap:
        """Seen at a directive."""
        return self.at(directive.file, directive.line)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to."""

    traps: tuple[Trap, ...]
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The traps of one server.

    Attributes:
        id: as ``--engine`` says it; the name of its module.
        reads: which files can be given.
        known: all its traps.
        find: those in the configuration that begins in a file; reads, never runs, never raises.
        suits: does a file (its name, its text) look like this server's?
    """

    id: str
    title: str
    reads: str
    known: tuple[Known, ...]
    find: Callable[[str, Library], Found]
    suits: Callable[[str, str], bool]
