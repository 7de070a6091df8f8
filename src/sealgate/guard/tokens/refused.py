"""A token that does not count."""

from __future__ import annotations

__all__ = ["KeysUnknown", "Refused"]


class Refused(Exception):
    """A stable word for the log, never for the caller: outside, all that do not count look the same."""


class KeysUnknown(Refused):
    """Nobody can say if it counts: no key of its issuer could be had yet. That is not the caller's fault."""
