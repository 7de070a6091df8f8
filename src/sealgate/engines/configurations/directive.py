"""What a server's configuration is made of, whatever its syntax: directives, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Configuration", "Directive", "Unread"]


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive, or one block with its inside.

    Attributes:
        name: lower case where the server does not care about case.
        args: without their quotes.
        file: as the configuration names it; foreign text.
        line: 1-based.
        block: what stands inside; None where it is no block.
    """

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    block: tuple[Directive, ...] | None = None

    @property
    def inside(self) -> tuple[Directive, ...]:
        """The directives of a block; none where it is no block."""
        return self.block or ()

    @property
    def value(self) -> str:
        """The first argument, or an empty text."""
        return self.args[0] if self.args else ""

    @property
    def place(self) -> str:
        """``/etc/nginx/nginx.conf:12``."""
        return f"{self.file}:{self.line}"

    def own(self, *names: str) -> tuple[Directive, ...]:
        """The directives of these names that stand directly in this block."""
        return tuple(one for one in self.inside if one.name in names)

    def last(self, name: str) -> Directive | None:
        """The one of this name that counts in this block: servers take the last, or refuse a second."""
        found = self.own(name)
        return found[-1] if found else None

    def walk(self) -> Iterator[Directive]:
        """This one and everything inside it, in the order of the file."""
        yield self
        for one in self.inside:
            yield from one.walk()


@dataclass(frozen=True, slots=True)
class Unread:
    """A part of the configuration that could not be read, and so was not judged.

    Attributes:
        file: that has it, or that includes it.
        line: 1-based; 0: not known.
        why: a part of a sentence.
        apart: it stands in a block of the user's, so that no other site has anything of it.
    """

    file: str
    line: int
    why: str
    apart: bool = False

    @property
    def place(self) -> str:
        """``/etc/nginx/nginx.conf:12``; only the file where no line is known."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration, its included files in their places.

    Attributes:
        root: a block without a name that holds everything.
        unread: what is missing in it.
    """

    root: Directive
    unread: tuple[Unread, ...] = ()
