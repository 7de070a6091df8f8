"""One app worker: a process of its own, with the guard inside, on a unix socket of its own.

Started by the keeper as ``python -P -m sealgate.runtime.worker``: its orders come as JSON on standard input
(paths, never secrets), its answers go as JSON lines to the descriptor named there. Another user (where the
keeper is root) and Landlock hold before this interpreter starts (``workers.py``): an app may have changed
what an interpreter loads by itself, such as a ``.pth`` file.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sealgate._system.process import ORDINARY, die_with_parent, limit_capabilities
from sealgate.engines.counts import Row
from sealgate.errors import AppError, SealgateError
from sealgate.guard.compiled import Compiled
from sealgate.guard.sources import source
from sealgate.pki.revocations import Revoked
from sealgate.runtime.app import load
from sealgate.runtime.means import means_of

__all__ = ["Orders", "main"]


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told.

    Attributes:
        app: `module:attribute`.
        folder: where the module is looked for first.
        listener: file descriptor of the unix socket to serve.
        guard: the published policy of the guard, as JSON: another user cannot reach its file.
        threads: of a WSGI app.
        identity: how the guard learns who called (``Engine.identity``).
        proof: what the engine shows with each request, where it shows one.
        parent: pid of the keeper.
        answers: file descriptor for answers.
        counts: file descriptor of the memory in which it counts; -1: nobody reads that.
        revocations: file descriptor of the revoked clients; -1: nobody is.
        issued: file descriptor of the keys by which tokens count; -1: none.
        rates: file descriptor of the budgets of callers; -1: nobody counts.
    """

    app: str
    folder: str
    listener: int
    guard: str
    threads: int
    parent: int
    answers: int
    identity: str = "h2"
    proof: str = ""
    counts: int = -1
    revocations: int = -1
    issued: int = -1
    rates: int = -1

    def to_json(self) -> str:
        """For the worker's standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Orders:
        """The reverse of `to_json`."""
        raw: dict[str, Any] = json.loads(text)
        return cls(**raw)


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


def _revoked(fd: int) -> Revoked | tuple[()]:
    if fd < 0:
        return ()
    revoked = Revoked(fd)
    os.close(fd)
    return revoked


def _texts(details: dict[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in details.items()}


def _serve(orders: Orders, answer: Callable[..., None]) -> None:
    sock = socket.socket(fileno=orders.listener)
    sock.set_inheritable(False)
    counts = Row(orders.counts)
    if orders.counts >= 0:
        os.close(orders.counts)
    revoked = _revoked(orders.revocations)
    means = means_of(orders.issued, orders.rates, counts)
    if orders.issued >= 0:
        os.close(orders.issued)
    # Again, where Landlock is missing: execve(2) gave root everything back, and forgets nothing else.
    limit_capabilities(ORDINARY if os.geteuid() == 0 else frozenset())
    die_with_parent(orders.parent)
    compiled = Compiled.from_json(orders.guard.encode())
    app, interface = load(orders.app, Path(orders.folder))
    facts = {"interface": interface, "uid": os.getuid()}
    from sealgate.runtime.serving import serve

    serve(
        app,
        interface,
        compiled,
        sock,
        source=source(
            orders.identity,
            orders.proof,
            clients=compiled.clients != "off",
            compiled=compiled,
            given=revoked,
        ),
        revoked=revoked,
        means=means,
        threads=orders.threads,
        counts=counts,
        ready=lambda: answer("ready", **facts),
        failed=lambda message: answer("failed", **_startup_failed(orders.app, message)),
    )


def _startup_failed(app: str, message: str) -> dict[str, object]:
    error = AppError(
        "app-startup-failed", f"{app} failed in its lifespan startup: {message}", "mend its startup"
    )
    return {"code": error.code, "fact": error.fact, "remedy": error.remedy, "details": {}}


if __name__ == "__main__":
    sys.exit(main())
