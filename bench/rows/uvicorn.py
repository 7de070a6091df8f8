"""uvicorn with its own TLS: httptools, and uvloop where it is installed."""

from __future__ import annotations

from bench.processes import Command
from bench.rows import APPS, IDLE_SECONDS, PYTHON, Launch, Place, Row
from bench.rows._backends import LOOP

__all__ = ["ROWS"]


def _launch(place: Place) -> Launch:
    files = ("--ssl-certfile", str(place.credentials.chain), "--ssl-keyfile", str(place.credentials.key))
    options = ("--http", "httptools", "--loop", LOOP, "--ws", "none", "--lifespan", "off")
    # uvicorn logs requests at level info, on stdout: the file that the bench gives it.
    keep = ("--timeout-keep-alive", str(IDLE_SECONDS), "--backlog", "4096", "--log-level", "info")
    bind = ("--host", place.address, "--port", str(place.port))
    argv = (PYTHON, "-m", "uvicorn", *bind, *files, *options, *keep, "apps:hello_asgi")
    return Launch((Command(argv, cwd=APPS),), lambda: place.credentials.root)


ROWS = (
    Row("uvicorn", "uvicorn, own TLS", _launch,
        needs=("python:uvicorn", "python:httptools"), order=41, note=f"httptools, {LOOP}"),
)  # fmt: skip
