"""What Gunicorn's processes are told: one JSON file, written whole; a HUP makes a new one count."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from sealgate.engines.facts import RenderFacts
from sealgate.engines.tls_context import TlsSettings

__all__ = ["FILE", "FOLDER", "Orders"]

FOLDER = "engines/gunicorn"
FILE = "gunicorn.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """Everything that Gunicorn's processes depend on.

    Attributes:
        app: ``module:attribute``.
        folder: where the module is looked for first.
        guard: absolute path of the guard's published policy.
        binds: host and port of each HTTPS listener.
        workers: processes.
        threads: of each; each of them answers one request at a time.
        tls: what the context is made from.
        hsts, hsts_local: as :class:`RenderFacts` has them.
        body, headers: bytes of a request; connections: open at once, of all processes together.
        handshake_seconds, header_seconds, request_seconds, idle_seconds, drain_seconds: as ``timeouts``.
    """

    app: str
    folder: str
    guard: str
    binds: tuple[tuple[str, int], ...]
    workers: int
    threads: int
    tls: TlsSettings
    hsts: str
    hsts_local: str
    body: int
    headers: int
    connections: int
    handshake_seconds: float
    header_seconds: float
    request_seconds: float
    idle_seconds: float
    drain_seconds: float

    @classmethod
    def of(cls, facts: RenderFacts) -> Self:
        """What a policy means for Gunicorn."""
        policy, app = facts.policy, facts.app
        limits, timeouts = policy.limits, policy.timeouts
        return cls(
            app=app.app if app else "",
            folder=app.folder if app else "",
            guard=app.guard if app else "",
            binds=tuple((endpoint.host, endpoint.port) for endpoint in policy.listen.https),
            workers=policy.site.workers,
            threads=policy.site.threads,
            tls=TlsSettings.of(facts),
            hsts=facts.hsts,
            hsts_local=facts.hsts_local,
            body=limits.body,
            headers=limits.headers,
            connections=limits.connections,
            handshake_seconds=timeouts.handshake,
            header_seconds=timeouts.headers,
            request_seconds=timeouts.request,
            idle_seconds=timeouts.idle,
            drain_seconds=timeouts.drain,
        )

    def to_json(self) -> str:
        """ASCII, one key a line, stable in order."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The reverse of :meth:`to_json`."""
        raw: dict[str, Any] = json.loads(text)
        raw["tls"] = TlsSettings.from_dict(raw["tls"])
        raw["binds"] = tuple((host, port) for host, port in raw["binds"])
        return cls(**raw)
