"""What a uvicorn worker is told: plain data, rendered as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from sealgate.engines.facts import RenderFacts
from sealgate.engines.redirect import Redirect
from sealgate.engines.tls_context import TlsSettings

__all__ = ["FOLDER", "SITE", "Settings"]

FOLDER = "engines/uvicorn"
SITE = "site.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One site.

    Attributes:
        app: `module:attribute`, ASGI.
        folder: absolute; where the module is looked for first.
        guard: absolute path of the guard's published policy.
        workers: processes.
        tls: what the context is made from; paths relative to the state directory.
        redirect: orders of the redirect process, without descriptors.
        hsts, hsts_local: as in the facts.
        body, headers: bytes at most.
        connections: open ones at most, of all processes and listeners.
        handshake, header, request, idle, drain: seconds, as the policy's timeouts.
    """

    app: str
    folder: str
    guard: str
    workers: int
    tls: TlsSettings
    redirect: Redirect
    hsts: str
    hsts_local: str
    body: int
    headers: int
    connections: int
    handshake: float
    header: float
    request: float
    idle: float
    drain: float

    @classmethod
    def of(cls, facts: RenderFacts) -> Self:
        """From what the keeper tells an engine."""
        policy, app = facts.policy, facts.app
        timeouts = policy.timeouts
        return cls(
            app=app.app if app else policy.site.app,
            folder=app.folder if app else "",
            guard=app.guard if app else "",
            workers=policy.site.workers,
            tls=TlsSettings.of(facts),
            redirect=Redirect.of(policy, listeners=(), parent=0),
            hsts=facts.hsts,
            hsts_local=facts.hsts_local,
            body=policy.limits.body,
            headers=policy.limits.headers,
            connections=policy.limits.connections,
            handshake=timeouts.handshake,
            header=timeouts.headers,
            request=timeouts.request,
            idle=timeouts.idle,
            drain=timeouts.drain,
        )

    def to_json(self) -> bytes:
        """The file's content."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode("ascii")

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The reverse of :meth:`to_json`."""
        raw: dict[str, Any] = json.loads(text)
        values = {field.name: raw[field.name] for field in fields(cls)}
        values["tls"] = TlsSettings.from_dict(raw["tls"])
        values["redirect"] = Redirect.from_json(json.dumps(raw["redirect"]))
        return cls(**values)
