"""Gunicorn under a keeper: ``python -P -m sealgate.runtime.inside.gunicorn``.

What it is told once comes as JSON on standard input, what may change stands in the file of orders, which a
HUP has it read again. Its answers go as JSON lines to the descriptor named there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from sealgate._system.process import ORDINARY, limit_capabilities
from sealgate.engines.servers.gunicorn.orders import Orders
from sealgate.runtime.app import load
from sealgate.runtime.inside.gunicorn.master import Master
from sealgate.runtime.inside.gunicorn.plan import Plan, settings
from sealgate.runtime.inside.gunicorn.worker import Worker

__all__ = ["main"]

_HUNG = 120  # seconds after which a worker that does not even look at its connections is ended
_BIND_LOW_PORTS = frozenset({10})
_NOT_THE_APPS = (
    *("GUNICORN_CMD_ARGS", "GUNICORN_PID", "GUNICORN_FD", "SCRIPT_NAME", "SERVER_SOFTWARE"),
    "SEALGATE_OPENSSL_CONF",
)


class Log(Logger):  # type: ignore[misc]  # Gunicorn has no types
    """Gunicorn's log, as ours looks."""

    error_fmt = "sealgate: gunicorn: %(message)s"


class Answers:
    """Tells the driver of events."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)  # noqa: FBT003 - the standard library's signature
        self._fd = fd

    def __call__(self, event: str, **facts: object) -> None:
        """One event, as a JSON line."""
        with contextlib.suppress(OSError):
            os.write(self._fd, json.dumps({"event": event, **facts}).encode("ascii") + b"\n")

    def close(self) -> None:
        """In a child, which has nothing to say there."""
        os.close(self._fd)


class Site(BaseApplication):  # type: ignore[misc]  # Gunicorn has no types
    """The app and its settings, by the orders in a file."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told
        self.plan = self.read()
        super().__init__()

    def read(self) -> Plan:
        """The orders as they are now. Raises OSError, ValueError, KeyError."""
        orders = Orders.from_json(Path(self._told["orders"]).read_bytes())
        told = self._told
        return Plan(
            orders,
            budget=told["budget"],
            counts=told["counts"],
            revocations=told["revocations"],
            issued=told["issued"],
            rates=told["rates"],
            folder=told["folder"],
        )

    def load_config(self) -> None:
        """Gunicorn's settings; no file and no environment is asked."""
        for name, value in self._settings().items():
            self.cfg.set(name, value)

    def use(self, plan: Plan) -> None:
        """Serve by another plan from now on."""
        self.plan = plan
        self.cfg, self.callable = Config(), None
        self.load_config()

    def _settings(self) -> dict[str, object]:
        return {
            **settings(self.plan),
            "bind": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._binds()],
            "worker_class": Worker.by(self.plan),
            "worker_tmp_dir": self._told["folder"],
            "timeout": _HUNG,
            "logger_class": Log,
            "loglevel": "warning",
            "errorlog": "-",
            "post_fork": lambda master, _worker: master.forked(),
            "post_worker_init": self._serving,
        }

    def _binds(self) -> tuple[tuple[str, int], ...]:
        return self.plan.orders.binds

    def _serving(self, _worker: object) -> None:
        self.master.serving()

    master: Master

    def load(self) -> object:
        """Import the app, in a worker. Raises AppError."""
        app, _ = load(self.plan.orders.app, Path(self.plan.orders.folder))
        return app


def main() -> None:
    """Serve until SIGTERM; then finish what is under way and end."""
    told = json.loads(sys.stdin.read())
    limit_capabilities(ORDINARY if os.geteuid() == 0 else _BIND_LOW_PORTS)
    if told["openssl"] is None:  # it has been read; what the app starts shall not
        os.environ.pop("OPENSSL_CONF", None)
    else:
        os.environ["OPENSSL_CONF"] = told["openssl"]
    for name in _NOT_THE_APPS:
        os.environ.pop(name, None)
    site = Site(told)
    site.master = Master(site, Answers(told["answers"]))
    site.master.run()


if __name__ == "__main__":
    main()
