"""One app worker: a process of its own, with the guard inside, on a unix socket of its own.

Started by the keeper as ``python -P -m sealgate.runtime.worker``: its orders come as JSON on standard input
(paths, never secrets), its answers go as JSON lines to the descriptor named there. In this order: the socket,
the compiled policy, another user (where the keeper is root), Landlock; only then is anything of the user's
imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sealgate._system.landlock import WRITE, Grant, confine
from sealgate._system.process import ORDINARY, become, die_with_parent, limit_capabilities
from sealgate._system.sockets import bind_unix
from sealgate.errors import AppError, SealgateError
from sealgate.guard.compiled import Compiled
from sealgate.runtime.app import load

__all__ = ["Orders", "main"]


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told.

    Attributes:
        app: `module:attribute`.
        folder: where the module is looked for first.
        socket: unix socket to listen on.
        guard: the published policy of the guard.
        threads: of a WSGI app.
        hidden: what Landlock hides.
        readable: what stays readable inside it.
        writable: what stays writable inside it.
        uid, gid: whom to become; -1: stay.
        socket_uid: who else may connect to the socket (the engine's user); -1: nobody.
        parent: pid of the keeper.
        answers: file descriptor for answers.
    """

    app: str
    folder: str
    socket: str
    guard: str
    threads: int
    hidden: tuple[str, ...]
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    uid: int
    gid: int
    socket_uid: int
    parent: int
    answers: int

    def to_json(self) -> str:
        """For the worker's standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Orders:
        """The reverse of `to_json`."""
        raw: dict[str, Any] = json.loads(text)
        facts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in raw.items()}
        return cls(**facts)


def main() -> int:
    """Serve until SIGTERM; then finish what is under way and end."""
    orders = Orders.from_json(sys.stdin.read())
    answers = os.fdopen(orders.answers, "w", buffering=1, encoding="utf-8")
    os.set_inheritable(answers.fileno(), False)  # noqa: FBT003 - the standard library's signature

    def answer(event: str, **facts: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            answers.write(json.dumps({"event": event, **facts}) + "\n")

    try:
        _serve(orders, answer)
    except SealgateError as error:
        answer("failed", code=error.code, fact=error.fact, remedy=error.remedy, details=_texts(error.details))
        return int(error.exit)
    return 0


def _texts(details: dict[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in details.items()}


def _serve(orders: Orders, answer: Callable[..., None]) -> None:
    sock = bind_unix(Path(orders.socket))
    if orders.socket_uid >= 0:
        os.chown(orders.socket, orders.socket_uid, -1)
    compiled = Compiled.from_json(Path(orders.guard).read_bytes())
    landlock = _separate(orders)
    app, interface = load(orders.app, Path(orders.folder))
    facts = {"interface": interface, "landlock": landlock, "uid": os.getuid()}
    from sealgate.runtime.serving import serve

    serve(
        app,
        interface,
        compiled,
        sock,
        threads=orders.threads,
        ready=lambda: answer("ready", **facts),
        failed=lambda message: answer("failed", **_startup_failed(orders.app, message)),
    )


def _startup_failed(app: str, message: str) -> dict[str, object]:
    error = AppError(
        "app-startup-failed", f"{app} failed in its lifespan startup: {message}", "mend its startup"
    )
    return {"code": error.code, "fact": error.fact, "remedy": error.remedy, "details": {}}


def _separate(orders: Orders) -> int:
    if orders.uid >= 0:
        become(orders.uid, orders.gid)
    limit_capabilities(ORDINARY if os.geteuid() == 0 else frozenset())
    die_with_parent(orders.parent)
    allowed = [Grant(Path(path)) for path in orders.readable]
    allowed += [Grant(Path(path), WRITE) for path in orders.writable]
    return confine(hidden=[Path(path) for path in orders.hidden], allowed=allowed)


if __name__ == "__main__":
    sys.exit(main())
