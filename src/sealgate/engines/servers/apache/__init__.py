"""Apache (2.4, event MPM): TLS and HTTP in front of app workers or an upstream."""

from __future__ import annotations

from sealgate.engines.contract import Engine
from sealgate.engines.servers.apache.binary import TESTED, program
from sealgate.engines.servers.apache.capabilities import capabilities
from sealgate.engines.servers.apache.instance import Instance
from sealgate.engines.servers.apache.render import render

__all__ = ["ENGINE"]

ENGINE = Engine(
    id="apache",
    title="Apache",
    versions=(".".join(map(str, TESTED)),),
    capabilities=capabilities,
    render=render,
    program=program,
    drive=Instance,
    identity="proof",
)
