"""From facts to Gunicorn's files: its orders, and OpenSSL's groups. Pure."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.gunicorn.orders import FILE, Orders
from sealgate.engines.tls_context import OPENSSL_FILE, openssl_configuration

__all__ = ["render"]


def render(facts: RenderFacts) -> dict[str, bytes]:
    """Name to content."""
    return {
        FILE: Orders.of(facts).to_json().encode("ascii"),
        OPENSSL_FILE: openssl_configuration(facts.profile.groups),
    }
