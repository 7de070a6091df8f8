"""A request as a line of the access log, with the keys that Envoy's has."""

from __future__ import annotations

import time

from sealgate._system.clock import system_clock
from sealgate.runtime.inside.gunicorn.connection import Connection

__all__ = ["host_of", "record"]

_LONGEST_AGENT = 256


def host_of(request: object) -> str:
    """The Host field of Gunicorn's request; empty where there is none."""
    return next((value for name, value in getattr(request, "headers", ()) if name == "HOST"), "")


def record(connection: Connection, *, status: int, sent: int, request_id: str = "") -> dict[str, object]:
    """One event; what is not known is empty. No query string, no field but Host and User-Agent."""
    request = connection.request
    fields = dict(getattr(request, "headers", ()))
    version = getattr(request, "version", None)
    began = connection.began or time.monotonic()
    body = connection.chunks.size if connection.chunks is not None else connection.length
    return {
        "time": system_clock().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "address": connection.client[0],
        "method": getattr(request, "method", None),
        "host": fields.get("HOST"),
        "path": (getattr(request, "uri", None) or "").partition("?")[0],
        "protocol": f"HTTP/{version[0]}.{version[1]}" if version else None,
        "status": status,
        "milliseconds": round((time.monotonic() - began) * 1000),
        "received": body if request is not None else 0,
        "sent": sent,
        "request_id": request_id,
        "user_agent": fields.get("USER-AGENT", "")[:_LONGEST_AGENT],
        "tls": connection.version,
        "cipher": connection.cipher,
        "client": connection.fingerprint,
    }
