"""Which process is the installed server: told by its pid file, by its name, and by what it listens on.

Theory. A pid file may be older than its pid's present owner, may be missing (a container, a ``pid`` on the
command line), and the program that is asked may be a script that runs another one. So a process counts as
the server where it *is* the program, or where it has the name of one and listens. Where no pid file leads to
one, it is looked for: who holds the addresses that our site has there, else the only one of that name that
reads this very file. Who is there and does not count is named: silence would mean "it does not run".
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sealgate._system.commands import run
from sealgate.engines.installed.contract import Place
from sealgate.engines.installed.journal import Record
from sealgate.engines.installed.process import Master, begun, holders, listening, parent
from sealgate.errors import EngineError
from sealgate.policy.model import Endpoint

__all__ = ["command_line", "master", "not_running", "others", "ours"]

_SECONDS = 30.0


def ours(record: Record) -> frozenset[Endpoint]:
    """Addresses that the server listens on for our site alone, or may."""
    pending = record.pending.to if record.pending else None
    versions = [version for version in (record.standing, pending) if version is not None]
    return frozenset(
        endpoint
        for version in versions
        for endpoint in version.expected.https + version.expected.http
        if endpoint not in version.shared
    )


def master(place: Place, record: Record) -> Master:
    """The running server that reads this main configuration.

    Raises:
        EngineError: ``server-not-running``: several could be it.
    """
    if place.included.started is not None:
        found = place.included.started(place.program.path, place.main)
        return _known(found.pid) if found else Master()
    pid, path = _pid_of(place)
    if pid and _is(pid, place):
        return _known(pid)
    at_ours = holders(ours(record))
    likely = [one for one in at_ours if _is(one, place)] or _reading(place)
    if len(likely) == 1:
        return _known(likely[0])
    title = place.included.title
    if len(likely) > 1:
        fact = f"several {title}s were started with {place.main}: {', '.join(map(str, sorted(likely)))}"
        raise EngineError("server-not-running", fact, "stop all but one, or give each a pid file")
    if at_ours:
        return Master(doubt=f"{_named(min(at_ours))} holds the addresses of our site and is no {title}")
    return Master(doubt=f"{path} names {_named(pid)}, which is no {title}" if begun(pid) else "")


_PROGRAMS = frozenset({"apache2", "caddy", "envoy", "haproxy", "httpd", "nginx"})


def others(place: Place, endpoints: frozenset[Endpoint]) -> bool:
    """Are these addresses surely held by servers of another kind, so that nothing of ours is served there?

    The same certificate may well be: by `sealgate serve`, to which the site has moved.
    """
    held = holders(endpoints)
    if not held or place.included.started is not None:
        return False
    names = {_comm(pid) for pid in held}
    return all(name.startswith("python") or name in _PROGRAMS - {*place.included.processes} for name in names)


def _known(pid: int) -> Master:
    since = begun(pid)
    return Master(pid, since) if since else Master()


def _pid_of(place: Place) -> tuple[int, str]:
    """What its pid file says, and where that is; 0: nothing of use."""
    commands = place.included.ask(place.program.path, place.main)
    said = [run(command, seconds=_SECONDS).output for command in commands]
    with contextlib.suppress(OSError):  # what it no longer accepts, it does not print
        said.append(place.main.read_text(errors="replace"))
    path = place.included.pid_file("\n".join(said))
    try:
        # A file of somebody else's: a pipe, any size, any bytes.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            pid = int(os.read(handle, 32))
        finally:
            os.close(handle)
    except (OSError, ValueError):
        return 0, path
    return (pid, path) if 1 < pid < 2**31 else (0, path)


def _is(pid: int, place: Place) -> bool:
    """Is that process this server? By its program, or by its name and because it listens."""
    process = Path("/proc") / str(pid)
    names = place.included.processes
    try:
        # An upgrade of the package leaves "(deleted)" behind the name of what still runs.
        exe = Path(str((process / "exe").readlink()).removesuffix(" (deleted)"))
    except FileNotFoundError:
        return False
    except OSError:  # another user's
        return _comm(pid) in {place.program.path.name[:15], *names}
    if str(exe) == os.path.realpath(place.program.path):
        return True
    return exe.name in names and bool(listening(pid))


def _comm(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "comm").read_text(errors="replace").strip()
    return ""


def _reading(place: Place) -> list[int]:
    """Those of its name that listen and read this very file, as their command line says; no children."""
    pids = [int(process.name) for process in Path("/proc").iterdir() if process.name.isdigit()]
    named = {pid for pid in pids if _comm(pid) in place.included.processes}
    firsts = [pid for pid in sorted(named) if parent(pid) not in named]
    return [pid for pid in firsts if _is(pid, place) and _reads(pid, place)]


def _reads(pid: int, place: Place) -> bool:
    """Does its command line name the main configuration, or leave it at the usual one?

    A server in a container has the same usual name for another file.
    """
    process, main, option = Path("/proc") / str(pid), str(place.main), place.included.option
    try:
        line = os.fsdecode((process / "cmdline").read_bytes()).replace("\0", " ")
        if not Path(f"{process}/root{main}").samefile(main):
            return False
    except OSError:
        return False
    usual = main in place.included.mains and f" {option}" not in line
    return usual or any(f"{option}{blank}{main} " in f"{line} " for blank in ("", " "))


def command_line(pid: int) -> tuple[str, ...]:
    """The words by which a process was started, or the one that it shows instead; none: it cannot be read."""
    try:
        words = os.fsdecode((Path("/proc") / str(pid) / "cmdline").read_bytes()).split("\0")
    except OSError:
        return ()
    return tuple(word for word in words if word)


def _named(pid: int) -> str:
    return f"process {pid} ({_comm(pid) or 'gone by now'})"


def not_running(place: Place, found: Master) -> EngineError:
    """The server is not there, or not recognised: the error to raise."""
    title = place.included.title
    fact = f"no {title} runs that was started with {place.main}"
    if found.doubt:
        fact += f": {found.doubt}"
    return EngineError(
        "server-not-running",
        fact,
        "start it, or name the file that it was started with: --server-config FILE",
    )
