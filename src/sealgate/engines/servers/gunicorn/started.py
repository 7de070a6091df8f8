"""The Gunicorns that run on this machine as this user, as /proc shows them, and the file of each.

Only a process that is Python running Gunicorn counts, and of these only the arbiter: its workers have the
same command line, and it as their parent. Other users' are not looked at: what their configuration says would
be run here as us. Where ``setproctitle`` has replaced the command line, nothing can be known.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import Any

from sealgate.engines.installed.contract import Started
from sealgate.errors import EngineError

__all__ = ["DECIDED", "check_words", "config_of", "running", "started"]

# What the policy decides: given on the command line, it would win over any file.
DECIDED = (
    *("bind", "worker_class", "worker_connections", "graceful_timeout", "keepalive", "certfile", "keyfile"),
    *("ca_certs", "cert_reqs", "ciphers", "do_handshake_on_connect", "http_protocols", "http_parser"),
    *("limit_request_line", "limit_request_fields", "limit_request_field_size", "header_map"),
    *("forwarder_headers", "forwarded_allow_ips", "proxy_protocol", "permit_obsolete_folding"),
    *("strip_header_spaces", "permit_unconventional_http_method", "permit_unconventional_http_version"),
    *("casefold_http_method", "sendfile", "control_socket_disable"),
)
_USUAL = "gunicorn.conf.py"


def running() -> tuple[Path, ...]:
    """The configuration files of those that run."""
    found = {}
    for pid in _pids():
        one = _started(pid)
        if one is not None and (config := config_of(one)) is not None:
            found[config] = one
    return tuple(sorted(found))


def started(program: Path, main: Path) -> Started | None:
    """The arbiter that was started with this file; None: there is none.

    Raises:
        EngineError: ``server-not-running``: there are several.
    """
    del program  # it is the process that says which Python it is
    real = os.path.realpath(main)
    found = [
        one
        for pid in _pids()
        if (one := _started(pid)) is not None
        and (config := config_of(one)) is not None
        and os.path.realpath(config) == real
    ]
    if len(found) > 1:
        pids = ", ".join(str(one.pid) for one in found)
        fact = f"several Gunicorns were started with {main}: {pids}"
        raise EngineError("server-not-running", fact, "give each a configuration file of its own")
    return found[0] if found else None


def _pids() -> list[int]:
    return sorted(int(process.name) for process in Path("/proc").iterdir() if process.name.isdigit())


def _started(pid: int) -> Started | None:
    """A process, if it is a Gunicorn of ours and no worker of one."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        process = Path("/proc") / str(pid)
        if not _is_ours(process):
            return None
        argv = _argv(process)
        parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
        if _words(argv) is None or argv == _argv(process.with_name(parent)):
            return None
        if not (process / "exe").readlink().name.startswith("python"):
            return None
        pairs = (process / "environ").read_bytes().split(b"\0")
        environ = dict(os.fsdecode(pair).split("=", 1) for pair in pairs if b"=" in pair)
        folder = (process / "cwd").readlink()
        # Last of all once more: what was read may be of a program that it became as another user.
        return Started(pid, argv, folder, environ) if _is_ours(process) else None
    return None


def _is_ours(process: Path) -> bool:
    """Is it this user's in every respect? Who runs a setuid program (su) has his own real id meanwhile."""
    lines = (process / "status").read_text(errors="replace").splitlines()
    ids = next((line.split()[1:] for line in lines if line.startswith("Uid:")), [])
    return set(ids) == {str(os.geteuid())}


def _argv(process: Path) -> tuple[str, ...]:
    try:
        return tuple(os.fsdecode(word) for word in (process / "cmdline").read_bytes().split(b"\0")[:-1])
    except OSError:
        return ()


def _words(argv: tuple[str, ...]) -> tuple[str, ...] | None:
    """What follows Gunicorn's name; None: this is no Gunicorn."""
    for at in (0, 1):
        if len(argv) > at and Path(argv[at]).name == "gunicorn":
            return argv[at + 1 :]
    for at in range(1, len(argv) - 1):
        if argv[at] == "-m" and argv[at + 1] in {"gunicorn", "gunicorn.app.wsgiapp"}:
            return argv[at + 2 :]
    return None


def _options(one: Started) -> tuple[Any, Any]:
    """The command line, and the variable that Gunicorn reads like one; parsed by Gunicorn itself."""
    from gunicorn.config import Config

    parser = Config().parser()
    parser.exit_on_error = False
    try:
        more = shlex.split(one.environ.get("GUNICORN_CMD_ARGS", ""))
        return parser.parse_known_args(_words(one.argv) or ())[0], parser.parse_known_args(more)[0]
    except (SystemExit, Exception):  # noqa: BLE001 - argparse's several; it runs, so it could be parsed once
        raise ValueError("not a command line of this Gunicorn") from None


def config_of(one: Started) -> Path | None:
    """Its configuration file, absolute; None: it has none, or a module."""
    args, more = _options(one)
    named = args.config or more.config or (_USUAL if (one.folder / _USUAL).is_file() else "")
    if not named or named.startswith("python:"):
        return None
    return one.folder / named.removeprefix("file:")


def check_words(one: Started) -> tuple[str, ...]:
    """Its command line again; what the policy decides must not be in it.

    Raises:
        EngineError: ``server-config-unfit``.
    """
    args, more = _options(one)
    for name in DECIDED:
        if getattr(args, name, None) is not None or getattr(more, name, None) is not None:
            option = f"--{name.replace('_', '-')}"
            fact = f"Gunicorn was started with {option}, which wins over any file; the policy decides it"
            raise EngineError("server-config-unfit", fact, "leave it out of the command line, and restart it")
    return one.argv
