"""What a watcher is told at its start: plain data, for both sides."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sealgate.monitor.snapshot import loads

__all__ = ["LONGEST", "Hook", "Orders"]

LONGEST = 8 * 1024 * 1024
"""Bytes of a line to the watcher; the other way they are fewer (``watching.py``)."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook, and what is signed with, base64."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Orders:
    """What a watcher is told at its start.

    Attributes:
        parent: pid of who started it.
        page, probes: descriptors of listening sockets; -1: there is none.
        listens: the page's address.
        hooks: who is told.
        notes: what an earlier watcher had kept.
        every: seconds between two asks.
    """

    parent: int
    page: int = -1
    probes: int = -1
    listens: str = ""
    hooks: tuple[Hook, ...] = ()
    notes: str = ""
    every: float = 5.0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Orders:
        """The reverse of `to_json`."""
        return loads(cls, text)
