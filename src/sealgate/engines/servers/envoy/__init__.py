"""Envoy: TLS and HTTP in front of app workers or an upstream."""

from __future__ import annotations

from sealgate.engines.contract import Engine
from sealgate.engines.servers.envoy.binary import TESTED, program
from sealgate.engines.servers.envoy.capabilities import capabilities
from sealgate.engines.servers.envoy.instance import Instance
from sealgate.engines.servers.envoy.render import render

__all__ = ["ENGINE"]

ENGINE = Engine(
    id="envoy",
    title="Envoy",
    versions=(".".join(map(str, TESTED)),),
    capabilities=capabilities,
    render=render,
    program=program,
    drive=Instance,
)
