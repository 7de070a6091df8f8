"""Sealgate puts an API behind HTTPS and keeps it there."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
