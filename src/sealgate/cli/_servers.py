"""Names of servers whose configurations can be read; apart, so that `--help` need not import the readers."""

from __future__ import annotations

__all__ = ["ENGINES", "INSTALLED", "SERVERS", "TRAPPED"]

ENGINES = ("apache", "envoy", "gunicorn", "nginx", "uvicorn")
"""As ``site.engine`` has them; a test holds this and the registry together."""

INSTALLED = ("apache", "gunicorn", "nginx")
"""Those that ``plan``, ``apply``, ``rollback`` and ``observe`` work on; likewise."""

SERVERS = ("nginx",)
"""For which a policy can be proposed."""

TRAPPED = ("apache", "caddy", "envoy", "granian", "gunicorn", "hypercorn", "nginx", "uvicorn")
"""Whose traps are known; a test holds it and ``engines.traps.registry`` together."""
