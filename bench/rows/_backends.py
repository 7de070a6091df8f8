"""Servers of the app behind a proxy: plain HTTP on a unix socket, no access log."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from bench.processes import Command
from bench.rows import APPS, IDLE_SECONDS, PYTHON, THREADS, Place

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BACKENDS", "LOOP", "backend", "granian", "gunicorn", "uvicorn"]

LOOP = "uvloop" if find_spec("uvloop") else "asyncio"
"""uvicorn's event loop: the faster one where it is installed; the table says which."""


def granian(socket: Path, *, asgi: bool = False) -> Command:
    """One worker, HTTP/1.1."""
    # Whom a server started as root becomes must reach it.
    where = ("--uds", str(socket), "--uds-permissions", "0o777")
    argv = (PYTHON, "-m", "granian", *where, "--workers", "1", "--http", "1", "--no-ws")
    kind = ("--interface", "asgi") if asgi else ("--interface", "wsgi", "--blocking-threads", str(THREADS))
    app = "apps:hello_asgi" if asgi else "apps:hello_wsgi"
    return Command((*argv, *kind, "--log-level", "warning", app), cwd=APPS)


def gunicorn(socket: Path) -> Command:
    """One gthread worker."""
    options = ("--workers", "1", "--worker-class", "gthread", "--threads", str(THREADS))
    keep = ("--keep-alive", str(IDLE_SECONDS), "--log-level", "warning", "--no-control-socket")
    argv = (PYTHON, "-m", "gunicorn", "--bind", f"unix:{socket}", *options, *keep, "apps:hello_wsgi")
    return Command(argv, cwd=APPS)


def uvicorn(socket: Path) -> Command:
    """One process, httptools, the loop named above."""
    options = ("--http", "httptools", "--loop", LOOP, "--ws", "none", "--lifespan", "off")
    keep = ("--timeout-keep-alive", str(IDLE_SECONDS), "--no-access-log", "--log-level", "warning")
    argv = (PYTHON, "-m", "uvicorn", "--uds", str(socket), *options, *keep, "apps:hello_asgi")
    return Command(argv, cwd=APPS)


BACKENDS = {"granian": granian, "gunicorn": gunicorn, "uvicorn": uvicorn}


def backend(name: str, place: Place) -> Command:
    """The named one, on the place's socket."""
    return BACKENDS[name](place.socket)
