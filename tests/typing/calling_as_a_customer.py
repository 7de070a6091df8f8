"""How a customer's Python client uses the context; type-checked, never run."""

from __future__ import annotations

import ssl
import urllib.request
from pathlib import Path

import sealgate


def call(folder: Path) -> bytes:
    """Ask a site, as the holder of a certificate."""
    context: ssl.SSLContext = sealgate.client_context(folder / "a.pem", str(folder / "a.key"), "root.pem")
    with urllib.request.urlopen("https://localhost:8443/", context=context) as answer:
        read: bytes = answer.read()
    return read


def changed(folder: Path) -> tuple[bool, str]:
    """Has it another pair now, and why not?"""
    context = sealgate.client_context(folder / "a.pem", folder / "a.key", folder / "root.pem")
    return context.refresh(), context.failed
