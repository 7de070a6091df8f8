"""What drivers share whose engine runs the app inside of itself: files, sockets, the app's environment."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from sealgate._system.files import private_directory, write_atomic
from sealgate.engines.facts import RenderFacts
from sealgate.policy.model import Endpoint

__all__ = ["Rendered", "app_environment", "listening", "published"]

_BACKLOG = 2048
# What is the keeper's own business with the system.
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class Rendered:
    """An engine's files, as they are in force.

    Args:
        folder: where they lie; what was there before is kept in ``previous``.

    Attributes:
        files: name to content.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[str, bytes] = {}

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write what differs, keep what was there before. Raises StateError."""
        private_directory(self._folder)
        previous = private_directory(self._folder / "previous")
        for name in sorted(files):
            if self.files.get(name) != files[name]:
                if name in self.files:
                    write_atomic(previous / name, self.files[name])
                write_atomic(self._folder / name, files[name])
        self.files = dict(files)


def published(facts: RenderFacts) -> bytes:
    """The guard's policy as it is published now: what new workers read."""
    return Path(facts.app.guard).read_bytes() if facts.app else b""


def app_environment(state: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of an app, made from the keeper's."""
    ours = {key: value for key, value in environ.items() if key not in _OURS}
    temporary = state / "run" / "tmp"
    if temporary.is_dir():  # made where an app could not write to the usual one (runtime/separation.py)
        ours["TMPDIR"] = str(temporary)
    return ours


def listening(endpoint: Endpoint) -> socket.socket:
    """A listening socket, not blocking. Raises OSError."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((endpoint.host, endpoint.port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        listener.close()
        raise
    return listener
