"""Sealgate, guard included: the app as WSGI, as ASGI, and as somebody else's server behind it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench.machine import BenchError
from bench.processes import Command
from bench.rows import APPS, IDLE_SECONDS, PYTHON, THREADS, Launch, Place, Row
from bench.rows._backends import backend

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ROWS", "serve"]

_POLICY = """\
[site]
names = ["localhost", "{address}"]
{site}
workers = 1
threads = {threads}
[listen]
https = ["{address}:{port}"]
http = ["{address}:{spare_port}"]
[limits]
connections = 19000
[timeouts]
idle = "{idle}s"
[monitor]
listen = ""
"""


def serve(site: str, *, upstream: bool = False) -> Callable[[Place], Launch]:
    """`sealgate serve` with these lines under `[site]`; before it the server that stands behind."""

    def launch(place: Place) -> Launch:
        policy = place.write("sealgate.toml", _policy(place, site))
        # The app's module is looked for beside the policy.
        place.write("apps.py", (APPS / "apps.py").read_text())
        call = (PYTHON, "-m", "sealgate")
        options = ("--state", str(place.directory / "state"), "--config", str(policy))
        serve = Command((*call, "serve", *options), cwd=APPS)
        before = (backend("granian", place),) if upstream else ()
        return Launch((*before, serve), lambda: _root((*call, "trust", "--print", *options)))

    return launch


def _policy(place: Place, site: str) -> str:
    return _POLICY.format(
        site=site.format(socket=place.socket),
        address=place.address,
        port=place.port,
        spare_port=place.spare_port,
        threads=THREADS,
        idle=IDLE_SECONDS,
    )


def _root(command: tuple[str, ...]) -> Path:
    done = subprocess.run(command, cwd=APPS, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode or not done.stdout.strip():
        raise BenchError(f"sealgate trust --print did not name the root: {done.stderr.strip()[-300:]}")
    return Path(done.stdout.strip().splitlines()[-1])


_NEEDS = ("python:sealgate", "python:granian", "python:envoy")

ROWS = (
    Row("sealgate-wsgi", "Sealgate (WSGI)", serve('app = "apps:hello_wsgi"'),
        needs=_NEEDS, order=10, quick=True),
    Row("sealgate-asgi", "Sealgate (ASGI)", serve('app = "apps:hello_asgi"'), needs=_NEEDS, order=11),
    Row("sealgate-upstream", "Sealgate → Granian (upstream)",
        serve('upstream = "unix:{socket}"', upstream=True), needs=_NEEDS, order=12),
)  # fmt: skip
