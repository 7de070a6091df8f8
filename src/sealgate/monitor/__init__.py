"""Watching a deployment: gather, decide, act. Nothing here opens a private key."""

from __future__ import annotations

__all__: list[str] = []
