"""Gunicorn with its own TLS."""

from __future__ import annotations

from bench.processes import Command
from bench.rows import APPS, IDLE_SECONDS, PYTHON, THREADS, Launch, Place, Row

__all__ = ["ROWS"]


def _launch(place: Place) -> Launch:
    files = ("--certfile", str(place.credentials.chain), "--keyfile", str(place.credentials.key))
    options = ("--workers", "1", "--worker-class", "gthread", "--threads", str(THREADS))
    keep = ("--keep-alive", str(IDLE_SECONDS), "--worker-connections", "19000", "--backlog", "4096")
    log = ("--access-logfile", str(place.access_log), "--log-level", "warning", "--no-control-socket")
    bind = ("--bind", f"{place.address}:{place.port}")
    argv = (PYTHON, "-m", "gunicorn", *bind, *files, *options, *keep, *log, "apps:hello_wsgi")
    return Launch((Command(argv, cwd=APPS),), lambda: place.credentials.root)


ROWS = (Row("gunicorn", "Gunicorn gthread, own TLS", _launch, needs=("python:gunicorn",), order=40),)
