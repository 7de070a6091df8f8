"""An Apache that is installed and running: one file of ours, included by the last line of its own."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.neighbours import Told
from sealgate.engines.contract import Capability, Refusal
from sealgate.engines.installed.contract import Included, Sources, check_path, count
from sealgate.engines.installed.promises import Words, promises
from sealgate.engines.servers.apache.binary import find
from sealgate.engines.servers.apache.facts import quoted, whole_seconds
from sealgate.engines.servers.apache.included_site import render
from sealgate.engines.servers.apache.inherited import inherited
from sealgate.engines.servers.apache.limits import ENDS
from sealgate.policy.model import Policy, is_address

__all__ = ["INCLUDED", "exclude", "include"]

_NOTE = b"# The site of Sealgate; taken out by: sealgate rollback --all"
# Debian's configuration is full of variables that apachectl reads from the file beside it, as a shell does.
_SHELL = '[ -r "$0" ] && . "$0"; exec "$@"'
_PID_FILE = '[ -r "$0" ] && . "$0"; printf \'PidFile: "%s"\\n\' "$APACHE_PID_FILE"'
_WORDS = Words(
    title="Apache",
    host="mod_rewrite, before the request is passed on",
    path="mod_rewrite, before the request is passed on",
    addresses="the first rule, by an expression in the form of a tree",
    spoofed="each known field removed, others of these families refused; X-Forwarded-* set anew",
    body="LimitRequestBody",
    headers="LimitRequestLine and LimitRequestFieldSize, each for itself; too much is 400",
    long=ENDS,
    connections="up to {} connections where your own MaxRequestWorkers allows as many",
    handshake="handshake done within {handshake}",
    header="request header complete {headers} after its beginning, else 408",
    request="request body complete within {request}, no pause of more than {pause} before and in its answer",
    idle="closed after {idle} without a request, or in which nothing moves",
    groups=("X25519", "P-256", "P-384"),
    reload=(
        "a renewal's reload closes kept connections, also under a request that was just sent:"
        " measured 14 of 2,463 requests of 2 clients in 20 reloads, over HTTP/2 6 of 4,587"
    ),
    seconds=whole_seconds,
)


def _capabilities(policy: Policy) -> tuple[Capability | Refusal, ...]:
    return promises(policy, _WORDS)


def _line(own: str) -> bytes:
    return _NOTE + b"\n" + _directive(own)


def _directive(own: str) -> bytes:
    return f"Include {quoted(own)}".encode()


def include(main: bytes, own: str) -> bytes:
    """With our line last: the modules that are loaded before are not loaded again."""
    check_path(own)
    # Without an end of line before, it gets none after: so that taking it out leaves what was.
    return main + _line(own) + b"\n" if main.endswith(b"\n") or not main else main + b"\n" + _line(own)


def exclude(main: bytes, own: str) -> bytes:
    """Without our lines, and without what somebody left of them; what else was edited since stays."""
    line = _line(own)
    main = main.replace(line + b"\n", b"").removesuffix(b"\n" + line)
    main = main.removeprefix(line) if main == line else main
    return main.replace(_NOTE + b"\n", b"").replace(_directive(own), b"")


def _run(program: Path, main: Path, *options: str) -> tuple[str, ...]:
    return ("sh", "-c", _SHELL, str(main.parent / "envvars"), str(program), *options, "-f", str(main))


def _check(program: Path, main: Path, _started: object = None) -> tuple[str, ...]:
    return _run(program, main, "-t")


def _ask(program: Path, main: Path) -> tuple[tuple[str, ...], ...]:
    asked = _run(program, main, "-t", "-D", "DUMP_RUN_CFG")
    return (asked, ("sh", "-c", _PID_FILE, str(main.parent / "envvars")))


def _pid_file(output: str) -> str:
    """What it says it uses; else what its environment says."""
    return next((path for path in re.findall(r'^PidFile: "([^"]+)"', output, re.MULTILINE)), "")


_SOURCE = re.compile(r"^\s+\((?:\*|\d+)\) (/.*)$", re.MULTILINE)
_SITE = re.compile(r"(?P<head>\S+|\s+port \S+ namevhost)\s+(?P<name>\S+) \((?P<place>.+:\d+)\)")
_SEVERAL = re.compile(r"(\S+)\s+is a NameVirtualHost")
_ALIAS = re.compile(r"\s+(?:wild )?alias (\S+)")
_VALUED = "CDEcdefkn"
"""Options with a value: in the next word, or the rest of this one (httpd's main.c, mpm_common.h)."""


def _sources(program: Path, main: Path, argv: tuple[str, ...]) -> tuple[str, ...]:
    """With the words by which the running one decides what an IfDefine means."""
    defined = [word for letter, value in _options(argv) if letter == "D" for word in ("-D", value)]
    return _run(program, main, "-t", "-D", "DUMP_INCLUDES", "-D", "DUMP_VHOSTS", *defined)


def _sites(output: str) -> tuple[Told, ...]:
    """One address has its only site beside it, or below it all of them, each with what else it is called."""
    found: list[Told] = []
    address = ""
    for line in output.splitlines():
        if several := _SEVERAL.fullmatch(line):
            address = several[1]
        elif site := _SITE.fullmatch(line):
            here = address if site["head"].startswith(" ") else site["head"]
            found.append(Told(site["place"], here, (site["name"],)))
        elif found and (alias := _ALIAS.fullmatch(line)):
            found[-1] = replace(found[-1], names=(*found[-1].names, alias[1]))
    return tuple(found)


def _options(argv: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Those with a value."""
    words = iter(argv[1:])
    for word in words:
        letters = word[1:] if word.startswith("-") else ""
        at = next((at for at, letter in enumerate(letters) if letter in _VALUED), None)
        if at is not None:
            yield letters[at], letters[at + 1 :] or next(words, "")


def _disturbs(block: Directive, own: Directive) -> tuple[str, str]:
    """What Apache takes from the first host of an address for all of them: ours is never the first."""
    if any(one.value.lower() == "on" for one in block.own("remoteipproxyprotocol")):
        return (
            "has RemoteIPProxyProtocol, which would count for our clients too",
            "give this site an address of its own",
        )
    hosts = own.own("virtualhost")
    ours = [one for host in hosts for one in host.own("requestreadtimeout")]
    lines, theirs = {one.args for one in ours}, {one.args for one in block.own("requestreadtimeout")}
    if lines and (not theirs or theirs - lines):  # of several the last counts, for each stage
        line = f"RequestReadTimeout {' '.join(ours[0].args)}"
        return (
            "has other RequestReadTimeout values, and Apache takes those of the first host for all",
            f"write into that host: {line}; or give this site an address of its own",
        )
    names = (name for host in hosts for one in host.own("servername", "serveralias") for name in one.args)
    address = next((name for name in names if is_address(name.strip("[]"))), "")
    if address and any(one.value.lower() != "off" for one in block.own("sslengine")):
        return (  # RFC 6066 §3: no address is sent as a name
            f"answers handshakes that name nobody, so those for {address}, a name of ours",
            f"take {address} out of site.names, or give this site an address of its own",
        )
    return "", ""


def _alters(argv: tuple[str, ...]) -> str:
    """Directives before and after the files, and another root for relative names."""
    found = [f"-{letter}" for letter, _ in _options(argv) if letter in "cCd"]
    return " ".join(dict.fromkeys(found))


INCLUDED = Included(
    id="apache",
    title="Apache",
    mains=("/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf", "/usr/local/apache2/conf/httpd.conf"),
    find=find,
    capabilities=_capabilities,
    render=render,
    include=include,
    exclude=exclude,
    count=count,
    check=_check,
    ask=_ask,
    pid_file=_pid_file,
    processes=("apache2", "httpd"),
    option="-f",
    listens_once=True,
    reload=signal.SIGUSR1,
    inherited=inherited,
    disturbs=_disturbs,
    sources=Sources(_sources, lambda output: tuple(_SOURCE.findall(output)), _sites),
    alters=_alters,
)
