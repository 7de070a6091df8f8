"""The configuration of a server that is installed on this machine; nothing of it is changed."""

from __future__ import annotations

import re
from pathlib import Path

from sealgate._system.commands import run
from sealgate.engines.configurations.library import Bounded, Disk, Library, Texts
from sealgate.engines.configurations.nginx import split_dump
from sealgate.errors import UsageError

__all__ = ["from_file", "installed_nginx"]

_SECONDS = 20
_USUAL = "/etc/nginx/nginx.conf"


def from_file(path: Path) -> tuple[str, Library]:
    """A configuration that begins in a file the user named.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    return _there(str(path.absolute()))


def installed_nginx() -> tuple[str, Library]:
    """The whole configuration of the installed nginx: what it prints itself, else its file.

    `nginx -T` needs the right to read the server's keys; the files alone often need none.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    dump = run(["nginx", "-T"], seconds=_SECONDS)
    texts = split_dump(dump.output) if dump.status == 0 else {}
    if texts:
        return next(iter(texts)), Bounded(Texts(texts))
    built = run(["nginx", "-V"], seconds=_SECONDS).output
    named = re.search(r"--conf-path=(/\S+)", built)
    return _there(named[1] if named else _USUAL)


def _there(name: str) -> tuple[str, Library]:
    if not Path(name).is_file():
        raise UsageError(
            "server-config-unreadable",
            f"there is no configuration file {name}",
            "name the server's main configuration file with --server-config",
        )
    return name, Bounded(Disk())
