"""Gunicorn: TLS, HTTP, the guard and a WSGI app in the same processes."""

from __future__ import annotations

from sealgate.engines.contract import Engine
from sealgate.engines.servers.gunicorn.capabilities import capabilities
from sealgate.engines.servers.gunicorn.installation import TESTED, program
from sealgate.engines.servers.gunicorn.instance import Instance
from sealgate.engines.servers.gunicorn.render import render

__all__ = ["ENGINE"]

ENGINE = Engine(
    id="gunicorn",
    title="Gunicorn",
    versions=TESTED,
    capabilities=capabilities,
    render=render,
    program=program,
    drive=Instance,
    identity="inside",
    apps=("wsgi",),
)
