"""What the user's own configuration would bring into our site, unseen by the policy: looked for, and refused.

A server applies to every site what stands outside of all of them. Which lines those are is each kind's to
say (``Included.inherited``); what could not be read might be one of them, and counts as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealgate.engines.configurations.installed import from_file
from sealgate.engines.configurations.library import Library, Texts
from sealgate.engines.configurations.neighbours import reader
from sealgate.engines.installed.contract import Place, nothing_inherited
from sealgate.errors import EngineError
from sealgate.policy.quoting import printable

__all__ = ["Inherited", "inherits", "refuse"]

_MOST_TOLD = 20
REMEDY = "move each line into your own server blocks, or say what it means in the policy"
_READABLE = "have every file that is included be there, readable, and without mistakes"


@dataclass(frozen=True, slots=True)
class Inherited:
    """One line of the user's that would count in our site.

    Attributes:
        place: ``/etc/nginx/nginx.conf:12``; foreign text.
        directive: its name alone: what follows it may be a secret; empty: it could not be read.
        why: it could not be read, a part of a sentence; else empty.
    """

    place: str
    directive: str
    why: str = ""

    @property
    def remedy(self) -> str:
        """What its owner can do."""
        return _READABLE if self.why else REMEDY

    def __str__(self) -> str:
        if self.why:
            return printable(f"{self.place}: {self.why}, so nobody knows what it brings into our site")
        return printable(f"{self.place}: {self.directive} would count in our site too, unseen by the policy")


@dataclass(frozen=True, slots=True)
class _With:
    """A library in which one file reads as it shall be, whether it is there yet or not."""

    inner: Library
    own: str
    text: str

    def find(self, pattern: str) -> tuple[str, ...]:
        """See :class:`Library`."""
        return self.inner.find(pattern)

    def read(self, name: str) -> str:
        """See :class:`Library`."""
        return self.text if name == self.own else self.inner.read(name)

    def folder(self, name: str) -> tuple[str, ...] | None:
        """See :class:`Library`."""
        return self.inner.folder(name)


def inherits(place: Place, content: bytes) -> tuple[Inherited, ...]:
    """What counts in our site and is not ours; nothing where a server's sites have nothing in common.

    Args:
        place: the server; its files are read as they are on disk.
        content: of our file.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    kind, own = place.included, str(place.own)
    read = reader(kind.id)
    if read is None or kind.inherited is nothing_inherited:
        return ()
    name, library = from_file(place.main)
    text = content.decode(errors="replace")
    whole = read(name, _With(library, own, text))
    ours = read(own, Texts({own: text}))
    found = (one for one in kind.inherited(whole.root, ours.root) if one.file != own)
    unread = (one for one in whole.unread if not one.apart)
    every = (
        *(Inherited(one.place, one.name) for one in found),
        *(Inherited(one.place, "", one.why) for one in unread),
    )
    return tuple(dict.fromkeys(every))


def _remedy(found: Iterable[Inherited]) -> str:
    """What to do about all of them."""
    return "; ".join(dict.fromkeys(one.remedy for one in found))


def refuse(found: tuple[Inherited, ...]) -> None:
    """Nothing is touched where something of the user's would count in our site.

    Raises:
        EngineError: ``server-config-inherits``: all of them, or the first where there are thousands.
    """
    if found:
        told = "; ".join(map(str, found[:_MOST_TOLD]))
        more = f"; and {len(found) - _MOST_TOLD} more, which plan lists" if len(found) > _MOST_TOLD else ""
        raise EngineError("server-config-inherits", told + more, _remedy(found))
