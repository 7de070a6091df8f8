"""Who enforces what when nginx is installed by somebody else."""

from __future__ import annotations

from sealgate.engines.contract import Capability, Refusal
from sealgate.engines.installed.promises import Words, promises
from sealgate.engines.promises import UNANSWERED
from sealgate.policy.model import Policy

__all__ = ["capabilities"]

_WORDS = Words(
    title="nginx",
    host="one pattern for each name, before the request is passed on",
    path="path pattern before the request is passed on",
    addresses="geo, by a trie",
    spoofed="each known field by its name; X-Forwarded-* set anew",
    body="client_max_body_size",
    headers="header buffers",
    long=UNANSWERED,
    connections="at most {} requests at once; connections without one count for your own worker_connections",
    handshake="handshake done within {first}: one timer for it and the header",
    header="request header complete {first} after the connection, else it is closed",
    request="no pause of more than {pause} in a request body, nor before and in its answer; WebSocket {idle}",
    idle="closed after {idle} without a request, or in which the client takes nothing",
    groups=("X25519", "P-256", "P-384"),
    reload=(
        "a renewal's reload closes kept HTTP/1.1 connections, also under a request that was just sent:"
        " measured 35 of 768 requests of 2 clients in 20 reloads, over HTTP/2 0 of 1,460"
    ),
)


def capabilities(policy: Policy) -> tuple[Capability | Refusal, ...]:
    """Every promise of this policy; refusals among them."""
    return promises(policy, _WORDS)
