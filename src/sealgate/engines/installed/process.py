"""The installed server's processes: its check, its signals, its children, and what they listen on."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sealgate._system.commands import run
from sealgate.engines.installed.contract import Place
from sealgate.errors import EngineRefused
from sealgate.policy.model import Endpoint

__all__ = [
    "Master",
    "begun",
    "check",
    "children",
    "covered",
    "holders",
    "listening",
    "may_tell",
    "parent",
    "reload",
    "until_reloaded",
]

_LISTEN = "0A"
_SECONDS = 30.0
_POLL = 0.02
_QUIET = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "NOTIFY_SOCKET": "",
}
"""For a check: it leaves nothing behind, and reports to nobody."""
_PARENT, _BEGUN = 1, 19
"""Where these are in what follows the name in ``/proc/<pid>/stat`` (proc(5): fields 4 and 22)."""
_DUPLICATE = re.compile(r"a duplicate default server for (?P<address>\S+) in (?P<file>\S+):(?P<line>\d+)")

_UNKNOWN = re.compile(r'unknown directive "(?P<name>\w+)" in (?P<file>.+?):\d+')


@dataclass(frozen=True, slots=True)
class Master:
    """A running server's first process.

    Attributes:
        pid: 0: none was recognised.
        begun: as :func:`begun` says it.
        doubt: who is there and was not recognised, in words; empty: nobody.
    """

    pid: int = 0
    begun: int = 0
    doubt: str = ""


def check(place: Place, main: Path) -> None:
    """Have the server itself read a main configuration, without touching what runs.

    Raises:
        EngineRefused: ``engine-refused``, with its words.
    """
    kind, program = place.included, place.program.path
    started = kind.started(program, place.main) if kind.started else None
    folder = started.folder if started else None
    environ = {**started.environ, **_QUIET} if started else None
    done = run(kind.check(program, main, started), seconds=_SECONDS, environment=environ, folder=folder)
    if done.status:
        said = " ".join(done.output.replace(str(main), str(place.main)).split())[-600:]
        _same_modules(place, said)
        raise EngineRefused(
            "engine-refused",
            f"{place.included.title} does not accept this configuration: {said or f'status {done.status}'}",
            f"{_remedy(said, place.folder)}; nothing was changed",
        )


def _same_modules(place: Place, said: str) -> None:
    """A directive of ours that the server does not know is of a module that it was built without.

    Raises:
        EngineRefused: ``engine-refused``.
    """
    found = _UNKNOWN.search(said)
    if found and place.folder in Path(found["file"]).parents:
        raise EngineRefused(
            "engine-refused",
            f"{place.program.path} was built without the module of {found['name']}, which our file needs",
            "use a build that has it, as those of distributions do; nothing was changed",
        )


def _remedy(said: str, ours: Path) -> str:
    """What to do about the server's words; stock Debian has a default site that is in our place."""
    found = _DUPLICATE.search(said)
    if found is None:
        return "put right what it names"
    file, line = found["file"], found["line"]
    if ours in Path(file).parents:  # the other one was read first
        return f"take `default_server` out of your own server block on {found['address']}, then `nginx -t`"
    link = f" (or `rm {file}`, where you do not need that site)" if "/sites-enabled/" in file else ""
    return f"take `default_server` out of {file}, line {line}{link}, then `nginx -t`, and call this again"


def _stat(pid: int) -> list[str]:
    """What follows a process's name: state, parent and so on; empty: there is none, or nobody awaits it."""
    with contextlib.suppress(OSError):
        fields = (Path("/proc") / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return [] if fields[0] in "ZX" else fields
    return []


def parent(pid: int) -> int:
    """Whose child it is; 0: nobody's, or it is gone."""
    fields = _stat(pid)
    return int(fields[_PARENT]) if fields else 0


def begun(pid: int) -> int:
    """When it was started, in clock ticks after the machine: who has its pid later began later. 0: gone."""
    fields = _stat(pid)
    return int(fields[_BEGUN]) if fields else 0


def children(pid: int) -> frozenset[int]:
    """The processes that it started and that still are."""
    pids = [int(process.name) for process in Path("/proc").iterdir() if process.name.isdigit()]
    return frozenset(one for one in pids if parent(one) == pid)


def reload(place: Place, master: Master) -> frozenset[int]:
    """Ask it to read its configuration again.

    Returns:
        the children it had.

    Raises:
        ProcessLookupError: it is gone, or its pid is somebody else's by now.
        PermissionError: it is another user's.
    """
    before = children(master.pid)
    handle = os.pidfd_open(master.pid)  # from here on the number means this process
    try:
        if begun(master.pid) != master.begun:
            raise ProcessLookupError(master.pid)
        signal.pidfd_send_signal(handle, place.included.reload)
    finally:
        os.close(handle)
    return before


def may_tell(master: Master) -> bool:
    """Would a signal reach it? One of another user's hears root alone."""
    try:
        os.kill(master.pid, 0)
    except PermissionError:
        return False
    except ProcessLookupError:
        return True  # that it is gone is found out when it is told
    return True


def until_reloaded(pid: int, before: frozenset[int], seconds: float) -> bool:
    """Wait for children that it did not have before, and until those it had accept no more connections.

    Returns:
        False: none came, so it kept its old configuration.
    """
    end = time.monotonic() + seconds
    while not children(pid) - before:
        if time.monotonic() > end:
            return False
        time.sleep(_POLL)
    # Or a look could be answered by the old ones, and be content.
    while any(listening(child) for child in before) and time.monotonic() < end:
        time.sleep(_POLL)
    return True


def listening(pid: int) -> frozenset[Endpoint]:
    """The TCP addresses that a process listens on; empty where it cannot be seen."""
    sockets = _sockets(pid)
    return frozenset(endpoint for socket, endpoint in _listeners(pid) if socket in sockets)


def holders(endpoints: frozenset[Endpoint]) -> frozenset[int]:
    """Who holds the listening sockets of these addresses; empty where that cannot be seen.

    Children mostly have their parent's: only who is nobody's child among them counts.
    """
    wanted = {socket for socket, endpoint in _listeners(os.getpid()) if endpoint in endpoints}
    if not wanted:
        return frozenset()
    pids = [int(process.name) for process in Path("/proc").iterdir() if process.name.isdigit()]
    found = {pid for pid in pids if not wanted.isdisjoint(_sockets(pid))}
    return frozenset(pid for pid in found if parent(pid) not in found)


def _sockets(pid: int) -> frozenset[str]:
    """What its descriptors are: ``socket:[4711]``."""
    found = set()
    with contextlib.suppress(OSError):
        for entry in (Path("/proc") / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return frozenset(found)


def _listeners(pid: int) -> Iterator[tuple[str, Endpoint]]:
    """Listening sockets of a process's network, and their addresses."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (Path("/proc") / str(pid) / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    yield f"socket:[{fields[9]}]", _endpoint(fields[1])


def _endpoint(text: str) -> Endpoint:
    """``0100007F:1F90`` is 127.0.0.1:8080: words of 32 bits in the machine's order (proc(5))."""
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return Endpoint(socket.inet_ntop(family, packed), int(port, 16))


def covered(endpoint: Endpoint, held: frozenset[Endpoint]) -> bool:
    """Does somebody who listens on those listen on this one too? 0.0.0.0 and [::] mean every address."""
    if endpoint in held:
        return True
    version = ipaddress.ip_address(endpoint.host).version
    every = {"::", "0.0.0.0"} if version == 4 else {"::"}  # noqa: S104 - looked for, not listened on
    return any(Endpoint(host, endpoint.port) in held for host in every)
