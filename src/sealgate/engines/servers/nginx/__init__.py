"""nginx: TLS and HTTP in front of app workers or an upstream."""

from __future__ import annotations

from sealgate.engines.contract import Engine
from sealgate.engines.servers.nginx.binary import program
from sealgate.engines.servers.nginx.capabilities import capabilities
from sealgate.engines.servers.nginx.instance import Instance
from sealgate.engines.servers.nginx.render import render
from sealgate.engines.servers.nginx.versions import TESTED

__all__ = ["ENGINE"]

ENGINE = Engine(
    id="nginx",
    title="nginx",
    versions=TESTED,
    capabilities=capabilities,
    render=render,
    program=program,
    drive=Instance,
    identity="proof",
)
