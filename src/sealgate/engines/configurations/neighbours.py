"""Sites of the user's own that stand where ours would: the same address, perhaps the same name.

Read from his configuration, and compared with what his server says itself where it can say so (`hidden`); a
regular expression that Python does not know may match every name, a variable be any address.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealgate.engines.configurations.apache import read_apache
from sealgate.engines.configurations.directive import Configuration, Directive, Unread
from sealgate.engines.configurations.installed import from_file
from sealgate.engines.configurations.library import Library
from sealgate.engines.configurations.nginx import read_nginx
from sealgate.policy.model import Endpoint

__all__ = ["Beside", "Neighbour", "Told", "beside", "hidden", "neighbours", "reader", "said", "unread"]

_EVERY_4, _EVERY_6 = frozenset({"", "*", "0.0.0.0", "_default_"}), frozenset({"", "*", "::", "_default_"})  # noqa: S104 - compared
_ADDRESS = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>\d{1,5}|\*|.*\$\{.*))?")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A site of the user's.

    Attributes:
        place: ``/etc/nginx/sites-enabled/api:3``.
        address: where it listens, as it says it; one of ours is the same, or among it.
        names: that it answers for.
        same: those of ours among them.
    """

    place: str
    address: str
    names: tuple[str, ...]
    same: tuple[str, ...]

    def __str__(self) -> str:
        if self.same:
            return f"{self.place} serves {', '.join(self.same)} on {self.address} already: one has to go"
        names = ", ".join(self.names[:3]) or "every name"
        return f"{self.place} listens on {self.address} too, for {names}"


@dataclass(frozen=True, slots=True)
class Beside:
    """A site of the user's on one of our addresses, as his server reads it.

    Attributes:
        neighbour: for people.
        block: all that it says.
        alone: its address is one of those that ours means by a wildcard: what comes there is its alone.
        together: its address is written as ours is: the server takes some things from the first such site.
    """

    neighbour: Neighbour
    block: Directive
    alone: bool
    together: bool


@dataclass(frozen=True, slots=True)
class Told:
    """A site, as the user's server says it: variables, macros and conditions are its affair.

    Attributes:
        place: where it was read from.
        address: where it listens.
        names: that it answers for.
    """

    place: str
    address: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Site:
    block: Directive
    names: tuple[str, ...]
    listens: tuple[str, ...]


def neighbours(
    server: str, main: Path, own: Path, ours: Sequence[Endpoint], names: Sequence[str]
) -> tuple[Neighbour, ...]:
    """What stands in our place; nothing for servers that serve one site only.

    Args:
        server: ``nginx`` or ``apache``.
        main: its main configuration.
        own: our file, which does not count.
        ours: where we would listen.
        names: that we would answer for.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    return tuple(dict.fromkeys(one.neighbour for one in beside(server, main, own, ours, names)))


def beside(
    server: str, main: Path, own: Path, ours: Sequence[Endpoint], names: Sequence[str]
) -> tuple[Beside, ...]:
    """The same with all that they say; arguments and errors as of `neighbours`."""
    if server not in _READERS:
        return ()
    read, sites = _READERS[server]
    name, library = from_file(main)
    found = []
    for site in sites(read(name, library).root):
        if site.block.file == str(own):
            continue
        same = tuple(one for one in names if any(_names(theirs, one, server) for theirs in site.names))
        for text in dict.fromkeys(site.listens):
            met = [one for one in ours if _meets(text, one, server)]
            if met:
                theirs = _host(text)
                wide = [one for one in met if _is_every(one.host, one)]
                alone = any(not _is_every(theirs, one) for one in wide)
                together = "${" in text or any(
                    theirs == one.host or (one in wide and _is_every(theirs, one)) for one in met
                )
                neighbour = Neighbour(site.block.place, text, site.names, same)
                found.append(Beside(neighbour, site.block, alone, together))
    return tuple(sorted(found, key=lambda one: not one.neighbour.same))


def hidden(
    server: str,
    told: Sequence[Told],
    known: Sequence[Beside],
    own: Path,
    ours: Sequence[Endpoint],
    names: Sequence[str],
) -> tuple[Neighbour, ...]:
    """Sites on our addresses, or with our names there, of which only the server itself says so.

    Args:
        server: ``nginx`` or ``apache``.
        told: all of its sites, as it says.
        known: what was read.
        own: our file, which does not count.
        ours: where we would listen.
        names: that we would answer for.
    """
    found = []
    for one in told:
        if one.place.startswith(f"{own}:") or not any(_meets(one.address, each, server) for each in ours):
            continue
        same = tuple(name for name in names if any(_names(theirs, name, server) for theirs in one.names))
        before = [each.neighbour.same for each in known if each.neighbour.place == one.place]
        if not before or not set(same).issubset(*before):
            found.append(Neighbour(one.place, one.address, one.names, same))
    return tuple(found)


def reader(server: str) -> Callable[[str, Library], Configuration] | None:
    """What reads this server's configuration; None: nothing does."""
    return _READERS[server][0] if server in _READERS else None


def unread(server: str, main: Path, own: Path) -> tuple[Unread, ...]:
    """Parts of the user's configuration in which there may be more neighbours.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    if server not in _READERS:
        return ()
    name, library = from_file(main)
    return tuple(one for one in _READERS[server][0](name, library).unread if one.file != str(own))


def said(server: str, main: Path, own: Path, ours: Sequence[Endpoint]) -> frozenset[Endpoint]:
    """Addresses among ours that the user's files may say are listened on.

    Those under a condition count too; where a part could not be read it may name any.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    if server not in _READERS:
        return frozenset()
    name, library = from_file(main)
    configuration = _READERS[server][0](name, library)
    if any(one.file != str(own) for one in configuration.unread):
        return frozenset(ours)
    found = configuration.root.walk()
    texts = {one.value for one in found if one.name == "listen" and one.file != str(own)}
    return frozenset(one for one in ours if any(_meets(text, one, server) for text in texts))


def _names(theirs: str, ours: str, server: str) -> bool:
    """Does a name of theirs, with whatever stands for many in that server, take one of ours?"""
    if server == "apache":
        return fnmatch.fnmatchcase(ours, theirs.lower().replace("[", "[[]"))
    if theirs.startswith("~"):
        try:
            return re.search(theirs[1:], ours, re.IGNORECASE) is not None
        except (re.error, OverflowError, RecursionError):
            return True
    theirs = theirs.lower()
    if theirs.startswith("."):
        return ours.endswith(theirs) or ours == theirs[1:]
    return (
        theirs == ours
        or (theirs.startswith("*.") and ours.endswith(theirs[1:]))
        or (theirs.endswith(".*") and ours.startswith(theirs[:-1]))
    )


def _host(text: str) -> str:
    match = _ADDRESS.fullmatch(text if not text.isdigit() else f":{text}")
    if match is None:
        return ""
    return match["host"] if match["six"] is None else match["six"]


def _is_every(host: str, ours: Endpoint) -> bool:
    return host in (_EVERY_6 if ":" in ours.host else _EVERY_4)


def _meets(text: str, ours: Endpoint, server: str) -> bool:
    match = _ADDRESS.fullmatch(text if not text.isdigit() else f":{text}")
    if match is None or not _same_port(match["port"] or ("*" if server == "apache" else "80"), ours):
        return False
    if "${" in (match["host"] or ""):
        return True
    every = _EVERY_6 if ":" in ours.host else _EVERY_4
    host = match["host"] if match["six"] is None else match["six"]
    alike = match["six"] is None or ":" in ours.host  # [::] is IPv6 alone, as nginx has it by default
    return host == ours.host or (alike and (host in every or (ours.host in every and _family(host, ours))))


def _same_port(port: str, ours: Endpoint) -> bool:
    """Apache takes ``*`` and none for all of them; what a variable says is not known."""
    return port == "*" or "${" in port or int(port) == ours.port


def _family(host: str, ours: Endpoint) -> bool:
    return (":" in host) == (":" in ours.host)


def _nginx(root: Directive) -> Iterator[_Site]:
    for http in root.own("http"):
        for server in http.own("server"):
            names = tuple(word for one in server.own("server_name") for word in one.args)
            listens = tuple(one.value for one in server.own("listen") if not one.value.startswith("unix:"))
            yield _Site(server, names, listens or ("80",))


def _apache(root: Directive) -> Iterator[_Site]:
    for host in root.own("virtualhost"):
        words = [word for one in host.own("servername", "serveralias") for word in one.args]
        names = tuple(re.sub(r"^\w+://|:\d+$", "", word) for word in words)
        yield _Site(host, names, host.args)


_READERS: Mapping[
    str, tuple[Callable[[str, Library], Configuration], Callable[[Directive], Iterator[_Site]]]
] = {"nginx": (read_nginx, _nginx), "apache": (read_apache, _apache)}
