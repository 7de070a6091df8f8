"""A token that does not count."""

from __future__ import annotations

__all__ = ["Refused"]


class Refused(Exception):
    """A stable word for the log, never for the caller: outside, all that do not count look the same."""
