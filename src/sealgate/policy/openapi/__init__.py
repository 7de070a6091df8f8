"""OpenAPI 3.0 and 3.1 documents as what a guard validates requests by. Pure but for :mod:`.document`."""

from __future__ import annotations

from typing import Any

__all__ = ["Json"]

Json = Any
"""What JSON can say: its types are what is found out here."""
