"""An nginx that is installed and running: one file of ours, included by one line in its ``http`` block."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

from sealgate.engines.installed.contract import Included, Sources, check_path, count
from sealgate.engines.servers.nginx.binary import find
from sealgate.engines.servers.nginx.included_promises import capabilities
from sealgate.engines.servers.nginx.included_site import render
from sealgate.engines.servers.nginx.inherited import inherited
from sealgate.errors import EngineError

__all__ = ["INCLUDED", "exclude", "include", "tokens"]

_TOKEN = re.compile(
    rb"""(?P<space>[ \t\r\n]+) | (?P<comment>\#[^\n]*) | (?P<mark>[;{}])
       | (?P<word> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'
           | (?:[^\s;{}"'\\$]|\\.|\$\{[^}]*\}|\$) (?:[^\s;{}\\$]|\\.|\$\{[^}]*\}|\$)* )""",
    re.VERBOSE | re.DOTALL,
)
_QUIET_REST = re.compile(rb"[ \t\r]*(?:#[^\n]*)?\n")
_NOTE = b"# the site of Sealgate; taken out by: sealgate rollback --all"


def _line(own: str) -> bytes:
    """A whole line."""
    return b"    " + _directive(own) + b"  " + _NOTE + b"\n"


def _inline(own: str) -> bytes:
    """For files that go on right after the brace: a comment would swallow what follows."""
    return b" " + _directive(own)


def _directive(own: str) -> bytes:
    escaped = own.replace("\\", "\\\\").replace('"', '\\"')
    return f'include "{escaped}";'.encode()


def tokens(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Words and marks of a configuration, each with where it ends; comments and blanks are passed over.

    Raises:
        EngineError: ``server-config-unfit``: a quote is not closed.
    """
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _unfit(f"what stands at byte {at} cannot be read")
        at = found.end()
        if found["mark"] or found["word"]:
            yield found[0], at


def _http(text: bytes) -> int:
    """Right after the brace that opens the ``http`` block at the top."""
    depth = 0
    words: list[bytes] = []
    for token, end in tokens(text):
        if token == b"{":
            if depth == 0 and words == [b"http"]:
                return end
            depth += 1
        elif token == b"}":
            depth -= 1
        if token in (b"{", b"}", b";"):
            words = []
        else:
            words.append(token)
    raise _unfit("it has no http block of its own")


def _unfit(fact: str) -> EngineError:
    return EngineError(
        "server-config-unfit",
        f"nginx's main configuration cannot take an include line: {fact}",
        "name the file that the server was started with: --server-config FILE",
    )


def include(main: bytes, own: str) -> bytes:
    """With our line first in the ``http`` block."""
    check_path(own)
    at = _http(main)
    rest = _QUIET_REST.match(main, at)
    if rest is None:
        return main[:at] + _inline(own) + main[at:]
    return main[: rest.end()] + _line(own) + main[rest.end() :]


def exclude(main: bytes, own: str) -> bytes:
    """Without our lines, and without what somebody left of them; what else was edited since stays."""
    return main.replace(_line(own), b"").replace(_inline(own), b"").replace(_directive(own), b"")


def _check(program: Path, main: Path, _started: object = None) -> tuple[str, ...]:
    return (str(program), "-t", "-q", "-c", str(main))


def _ask(program: Path, main: Path) -> tuple[tuple[str, ...], ...]:
    return ((str(program), "-V"), (str(program), "-T", "-q", "-c", str(main)))


_SOURCE = re.compile(r"^# configuration file (/.*):$", re.MULTILINE)


def _sources(program: Path, main: Path, _argv: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (str(program), "-T", "-q", "-c", str(main))


def _alters(argv: tuple[str, ...]) -> str:
    """Of ``-g``: it stands for the main file's first lines, and may include others. One word: its title."""
    said = " ".join(re.split(r"\s-[?hvVtTq]*g", " ".join(argv))[1:])  # options stand together, as in -qg
    return "-g with include or load_module" if re.search(r"\b(?:include|load_module)\b", said) else ""


def _pid_file(output: str) -> str:
    """The ``pid`` directive at the top of what ``-T`` prints, else what was compiled in."""
    built = re.search(r"--pid-path=(\S+)", output)
    prefix = re.search(r"--prefix=(\S+)", output)
    said = re.search(r"^[ \t]*pid[ \t]+([^;\n]+);", output, re.MULTILINE)
    path = said[1].strip().strip("\"'") if said else (built[1] if built else "")
    return str(Path(prefix[1] if prefix else "/") / path) if path else ""


INCLUDED = Included(
    id="nginx",
    title="nginx",
    mains=("/etc/nginx/nginx.conf", "/usr/local/etc/nginx/nginx.conf", "/opt/homebrew/etc/nginx/nginx.conf"),
    find=find,
    capabilities=capabilities,
    render=render,
    include=include,
    exclude=exclude,
    count=count,
    check=_check,
    ask=_ask,
    pid_file=_pid_file,
    processes=("nginx",),
    option="-c",
    inherited=inherited,
    sources=Sources(_sources, lambda output: tuple(_SOURCE.findall(output))),
    alters=_alters,
    reload=signal.SIGHUP,
)
