"""How a guard reads the header of a request, whatever server hands it over."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Fields"]


class Fields(Protocol):
    """The request's header, as it came."""

    def __call__(self, name: str, /) -> list[str]:
        """All values of the field of that name (lower-case), as latin-1; in WSGI joined by commas."""
