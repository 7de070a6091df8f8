"""What an installed server is: one constant ``INCLUDED`` in ``engines/servers/<name>/included.py``.

Everything here is data and pure functions; what is done with them is the same for every server.
"""

from __future__ import annotations

import importlib
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sealgate.engines import servers
from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.neighbours import Told
from sealgate.engines.contract import Capability, Program, Refusal
from sealgate.engines.facts import Backend, RenderFacts
from sealgate.engines.registry import engine_ids
from sealgate.errors import EngineError, UsageError
from sealgate.policy.model import Endpoint, Policy

__all__ = [
    "Check",
    "Included",
    "Place",
    "Sources",
    "Started",
    "check_encoding",
    "check_path",
    "count",
    "included",
    "included_ids",
    "nothing_inherited",
]

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A running server's master, and how it was started.

    Attributes:
        pid: its own.
        argv: its command line.
        folder: its working directory.
        environ: its environment; may hold secrets.
    """

    pid: int
    argv: Argv
    folder: Path
    environ: Mapping[str, str] = field(repr=False)


class Check(Protocol):
    """Says by which command the server reads a main configuration."""

    def __call__(self, program: Path, main: Path, started: Started | None = None, /) -> Argv:
        """The program, the file, and how the running one was started, where that is known."""


@dataclass(frozen=True, slots=True)
class Sources:
    """How a server is asked which files it reads, and which sites it finds in them.

    Attributes:
        command: by which it says so: for its program, a main configuration, the running one's command line.
        names: of the files, in its output.
        sites: likewise, with addresses and names as it understands them; nothing where it does not say.
    """

    command: Callable[[Path, Path, Argv], Argv]
    names: Callable[[str], tuple[str, ...]]
    sites: Callable[[str], tuple[Told, ...]] = lambda _output: ()


def nothing_inherited(root: Directive, own: Directive) -> tuple[Directive, ...]:  # noqa: ARG001 - see Included
    """For servers whose own settings our file does not share."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """A kind of server that can include a file of ours.

    Attributes:
        id: the engine's.
        title: as people say it.
        mains: where its main configuration usually is.
        find: its program, whatever its version. Raises EngineMissing.
        capabilities: who enforces what of a policy when the server is not ours; refusals among them.
        render: our whole file, from facts and the addresses that the server listens on already by itself.
        include: the main configuration with a line that includes our file, from its bytes and our path.
            Raises EngineError ``server-config-unfit``.
        exclude: the same without; the exact opposite. What has no such line comes back as it is.
        count: how many such lines there are; mostly :func:`count`.
        check: the command by which the server reads a main configuration and says what is wrong with it.
        ask: commands whose output together says where its pid file is.
        pid_file: finds it in that output; empty: it is not there.
        processes: what its processes are called, whatever the program's file is.
        option: of its command line, that names a main configuration.
        listens_once: an address that its files name twice ends it.
        reload: the signal upon which the server reads its configuration without losing a request.
        backend: what stands behind it: another server, or the app inside of it.
        unobserved: what no look from outside tells, one sentence each.
        running: main configurations of those that run, for servers that have no usual place for it.
        started: for servers whose master no pid file names: how the one with this main configuration was
            started, from the program and that; its check is run in the same way. Raises EngineError.
        inherited: what the user's configuration says outside of our site and the server applies inside of it,
            and our file does not say itself; what is not known to be harmless is among it. From the root of
            his configuration, our file perhaps in it, and the root of our file alone, by the same reader.
        sources: which files it reads, as it says itself: a reader may follow an include otherwise.
        disturbs: what a site of the user's on our very address would bring into ours, from his block and the
            root of our file: a part of a sentence and what to do about it; empty: nothing.
        alters: what of a running one's command line changes what its files mean, a part of a sentence.
    """

    id: str
    title: str
    mains: tuple[str, ...]
    find: Callable[[Mapping[str, str]], Path]
    capabilities: Callable[[Policy], tuple[Capability | Refusal, ...]]
    render: Callable[[RenderFacts, tuple[Endpoint, ...]], bytes]
    include: Callable[[bytes, str], bytes]
    exclude: Callable[[bytes, str], bytes]
    count: Callable[[bytes, str], int]
    check: Check
    ask: Callable[[Path, Path], tuple[Argv, ...]]
    pid_file: Callable[[str], str]
    reload: signal.Signals
    processes: tuple[str, ...] = ()
    option: str = ""
    listens_once: bool = False
    backend: Backend = "upstream"
    unobserved: tuple[str, ...] = ("limits and timeouts: the server keeps them, no look tries them",)
    running: Callable[[], tuple[Path, ...]] = tuple
    started: Callable[[Path, Path], Started | None] | None = None
    inherited: Callable[[Directive, Directive], tuple[Directive, ...]] = nothing_inherited
    sources: Sources | None = None
    disturbs: Callable[[Directive, Directive], tuple[str, str]] = lambda _block, _own: ("", "")
    alters: Callable[[Argv], str] = lambda _argv: ""


@dataclass(frozen=True, slots=True)
class Place:
    """One installed server, and our files for it.

    Attributes:
        included: what kind.
        program: that is running.
        main: its main configuration, absolute, as it was named (links kept).
        folder: ours alone, ``<state>/engines/installed/<name>``.
    """

    included: Included
    program: Program
    main: Path
    folder: Path

    @property
    def own(self) -> Path:
        """Our file."""
        return self.folder / "sealgate.conf"

    @property
    def candidate(self) -> Path:
        """Our file before it counts."""
        return self.folder / "candidate.conf"

    @property
    def main_candidate(self) -> Path:
        """The main configuration before it counts: beside it, for what it includes by relative names."""
        return self.main.with_name(f".{self.main.name}.sealgate")


def check_encoding(folder: Path) -> None:
    """May a path stand in other people's files at all? Names on disk are bytes, and need not be text.

    Raises:
        EngineError: ``server-config-unfit``.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise EngineError(
            "server-config-unfit",
            f"{str(folder)!a} cannot be named in a configuration: it is not UTF-8",
            "name another state directory with --state",
        ) from None


def check_path(own: str) -> None:
    """May our file's path stand in an include line? Servers take some characters for patterns.

    Raises:
        EngineError: ``server-config-unfit``.
    """
    if re.search(r"[*?\[\]\x00-\x1f\x7f]", own):
        raise EngineError(
            "server-config-unfit",
            f"{own!a} cannot be included: the server would take it for a pattern",
            "name another state directory with --state: without * ? [ ] and control characters",
        )


def count(main: bytes, own: str) -> int:
    """How often our file is named in a main configuration, in whatever way; comments do not count."""
    lines = main.split(b"\n")
    return sum(line.count(own.encode()) for line in lines if not line.lstrip().startswith(b"#"))


def included_ids() -> tuple[str, ...]:
    """The engines that can be installed servers too, sorted."""
    folders = [Path(folder) for folder in servers.__path__]
    return tuple(
        name for name in engine_ids() if any((folder / name / "included.py").is_file() for folder in folders)
    )


def included(name: str) -> Included:
    """The kind of installed server of this name.

    Raises:
        UsageError: ``engine-not-included``.
    """
    ids = included_ids()
    if name not in ids:
        raise UsageError(
            "engine-not-included",
            f"an installed {name} cannot include a site of ours",
            f"name the server with --engine {' or '.join(ids)}, or let it be run by: sealgate serve",
        )
    found = importlib.import_module(f"sealgate.engines.servers.{name}.included").INCLUDED
    if not isinstance(found, Included) or found.id != name:
        raise TypeError(f"sealgate.engines.servers.{name}.included.INCLUDED is not of {name}")
    return found
