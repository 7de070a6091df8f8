"""From facts to the files of uvicorn's workers: their settings, and OpenSSL's groups. Pure."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.uvicorn.settings import SITE, Settings
from sealgate.engines.tls_context import OPENSSL_FILE, openssl_configuration

__all__ = ["render"]


def render(facts: RenderFacts) -> dict[str, bytes]:
    """Name to content."""
    return {
        SITE: Settings.of(facts).to_json(),
        OPENSSL_FILE: openssl_configuration(facts.profile.groups),
    }
