"""When a connection's time has run out: a pure function of its phase and the policy's times."""

from __future__ import annotations

from sealgate.engines.servers.gunicorn.orders import Orders
from sealgate.runtime.inside.gunicorn.connection import Connection, Phase

__all__ = ["LINGER", "due"]

LINGER = 1.0
"""Seconds for a client to take the end of its answer; while stopping, for one that may be sending."""


def due(connection: Connection, orders: Orders, now: float, stopping: float = 0.0) -> bool:
    """Has its time run out?

    Args:
        connection: in whatever phase.
        orders: with the policy's times.
        now: monotonic.
        stopping: since when the worker takes no more connections; 0: it does.
    """
    since = now - connection.since
    moved = now - max(connection.moved, connection.since)
    match connection.phase:
        case Phase.HANDSHAKE:
            late = since > orders.handshake_seconds
        case Phase.HEAD if connection.began:
            late = now - connection.began > orders.header_seconds
        case Phase.HEAD if stopping:
            late = now - max(connection.since, stopping) > LINGER
        case Phase.HEAD:
            late = since > orders.idle_seconds
        case Phase.BODY:
            late = now - connection.began > orders.request_seconds
        case Phase.ANSWER if connection.cut:
            late = False
        case Phase.ANSWER if connection.begun:
            late = moved > orders.idle_seconds
        case Phase.ANSWER:
            late = since > orders.request_seconds
        case Phase.FLUSH:
            late = moved > orders.idle_seconds
        case _:
            late = since > LINGER
    return late
