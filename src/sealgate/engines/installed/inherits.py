"""What the user's own configuration would bring into our site, unseen by the policy: looked for, and refused.

A server applies to every site what stands outside of all of them. Which lines those are is each kind's to
say (``Included.inherited``); what could not be read might be one of them, and counts as one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sealgate._system.commands import MOST, run
from sealgate.engines.configurations.installed import from_file
from sealgate.engines.configurations.library import Library, Texts
from sealgate.engines.configurations.neighbours import Told, beside, hidden, reader
from sealgate.engines.installed.contract import Place, nothing_inherited
from sealgate.errors import EngineError
from sealgate.policy.model import Endpoint
from sealgate.policy.quoting import printable

__all__ = ["Inherited", "in_our_place", "inherits", "refuse"]

_MOST_TOLD = 20
_SECONDS = 30.0
REMEDY = "move each line into your own server blocks, or say what it means in the policy"
_ONE_OF_TWO = "take the name or the address out of one of the two"
_PLAINLY = "write that site without macros and variables, or give it an address of its own"
_READABLE = "have every file that is included be there, readable, and without mistakes"


@dataclass(frozen=True, slots=True)
class Inherited:
    """One line of the user's that would count in our site.

    Attributes:
        place: ``/etc/nginx/nginx.conf:12``; foreign text.
        directive: its name alone: what follows it may be a secret; empty: it could not be read.
        why: it could not be read, a part of a sentence; else empty.
        fact: something else is in our way, a whole sentence; else empty.
        cure: what its owner can do about that.
    """

    place: str
    directive: str
    why: str = ""
    fact: str = ""
    cure: str = ""

    @property
    def remedy(self) -> str:
        """What its owner can do."""
        return self.cure or (_READABLE if self.why else REMEDY)

    def __str__(self) -> str:
        if self.fact:
            return printable(self.fact)
        if self.why:
            return printable(f"{self.place}: {self.why}, so nobody knows what it brings into our site")
        return printable(f"{self.place}: {self.directive} would count in our site too, unseen by the policy")


@dataclass(frozen=True, slots=True)
class _With:
    """A library in which one file reads as it shall be, whether it is there yet or not.

    ``names`` are the files that were read.
    """

    inner: Library
    own: str
    text: str
    names: set[str] = field(default_factory=set)

    def find(self, pattern: str) -> tuple[str, ...]:
        """See :class:`Library`."""
        return self.inner.find(pattern)

    def read(self, name: str) -> str:
        """See :class:`Library`."""
        text = self.text if name == self.own else self.inner.read(name)
        self.names.add(os.path.realpath(name))
        return text

    def folder(self, name: str) -> tuple[str, ...] | None:
        """See :class:`Library`."""
        return self.inner.folder(name)


def inherits(place: Place, content: bytes, argv: Sequence[str] = ()) -> tuple[Inherited, ...]:
    """What counts in our site and is not ours; nothing where a server's sites have nothing in common.

    Args:
        place: the server; its files are read as they are on disk.
        content: of our file.
        argv: of the running server, where it is known.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    kind, own = place.included, str(place.own)
    read = reader(kind.id)
    if read is None or kind.inherited is nothing_inherited:
        return ()
    name, library = from_file(place.main)
    text = content.decode(errors="replace")
    followed = _With(library, own, text)
    whole = read(name, followed)
    ours = read(own, Texts({own: text}))
    found = (one for one in kind.inherited(whole.root, ours.root) if one.file != own)
    unread = (one for one in whole.unread if not one.apart)
    every = (
        *(Inherited(one.place, one.name) for one in found),
        *(Inherited(one.place, "", one.why) for one in unread),
        *_unfollowed(place, followed.names, argv),
        *_command_line(place, argv),
    )
    return tuple(dict.fromkeys(every))


def _unfollowed(place: Place, names: set[str], argv: Sequence[str]) -> Iterator[Inherited]:
    """Files that the server reads, as it says itself, and that were not read here."""
    sources = place.included.sources
    if sources is None:
        return
    program, main = place.program.path, place.main
    done = run(sources.command(program, main, tuple(argv)), seconds=_SECONDS)
    told = sources.names(done.output)
    if done.status and run(place.included.check(program, main), seconds=_SECONDS).status:
        return  # it would not start by these files: the check of what is to be written says why
    if done.status or not told or len(done.output) >= MOST:
        why = "the server itself does not say which files it reads"
        yield Inherited(str(place.main), "", why)
        return
    for one in dict.fromkeys(told):
        if os.path.realpath(one) not in names | {os.path.realpath(place.own)}:
            yield Inherited(one, "", "the server reads it by an include that was not understood here")


def in_our_place(
    place: Place, content: bytes, ours: Sequence[Endpoint], names: Sequence[str], argv: Sequence[str] = ()
) -> tuple[Inherited, ...]:
    """Sites of the user's that would answer in our place, or change what ours does.

    Args:
        place: the server.
        content: of our file.
        ours: where our site is.
        names: of our site.
        argv: of the running server, where it is known.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    read = reader(place.included.id)
    if read is None:
        return ()
    own = str(place.own)
    root = read(own, Texts({own: content.decode(errors="replace")})).root
    found = []
    kind = place.included
    known = beside(kind.id, place.main, place.own, ours, names)
    for site in hidden(kind.id, _sites(place, argv), known, place.own, ours, names):
        unknown = f"{site.place} has a site on {site.address} that was not understood here"
        fact = str(site) if site.same else unknown
        found.append(Inherited(site.place, "", fact=fact, cure=_ONE_OF_TWO if site.same else _PLAINLY))
    for one in known:
        told, where = one.neighbour, one.neighbour.place
        part, cure = place.included.disturbs(one.block, root) if one.together else ("", "")
        if told.same:
            found.append(Inherited(where, "", fact=str(told), cure=_ONE_OF_TWO))
        elif any("${" in name for name in told.names):
            fact = f"{where}, on {told.address} too, has a name that was not understood here"
            found.append(Inherited(where, "", fact=fact, cure=_PLAINLY))
        elif one.alone:
            fact = f"{where} listens on {told.address} alone: whatever comes there is its, our names too"
            cure = "name the addresses of this site in listen, and not all of them"
            found.append(Inherited(where, "", fact=fact, cure=cure))
        elif part:
            found.append(Inherited(where, "", fact=f"{where}, on {told.address} too, {part}", cure=cure))
    return tuple(dict.fromkeys(found))


def _sites(place: Place, argv: Sequence[str]) -> tuple[Told, ...]:
    """What the server says of its sites; that it says nothing is said by `_unfollowed`."""
    sources = place.included.sources
    if sources is None:
        return ()
    done = run(sources.command(place.program.path, place.main, tuple(argv)), seconds=_SECONDS)
    return () if done.status else sources.sites(done.output)


def _command_line(place: Place, argv: Sequence[str]) -> Iterator[Inherited]:
    said = place.included.alters(tuple(argv))
    if said:
        title = place.included.title
        fact = f"{title} was started with {said}, which changes what its files say"
        cure = f"start {title} without {said}; say it in its files instead"
        yield Inherited(str(place.main), "", fact=fact, cure=cure)


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
