"""uvicorn: TLS, HTTP/1.1, the guard and an ASGI app in the same processes."""

from __future__ import annotations

from sealgate.engines.contract import Engine
from sealgate.engines.servers.uvicorn.capabilities import capabilities
from sealgate.engines.servers.uvicorn.installation import TESTED, program
from sealgate.engines.servers.uvicorn.instance import Instance
from sealgate.engines.servers.uvicorn.render import render

__all__ = ["ENGINE"]

ENGINE = Engine(
    id="uvicorn",
    title="uvicorn",
    versions=TESTED,
    capabilities=capabilities,
    render=render,
    program=program,
    drive=Instance,
    identity="inside",
    apps=("asgi",),
)
