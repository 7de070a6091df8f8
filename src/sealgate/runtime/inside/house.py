"""What all connections of a uvicorn worker share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sealgate.engines.counts import Row
from sealgate.engines.servers.uvicorn.settings import Settings
from sealgate.runtime.inside.answers import Hsts
from sealgate.runtime.inside.journal import Journal

__all__ = ["House"]


@dataclass(slots=True)
class House:
    """One process's.

    Attributes:
        app: the guard, with the app behind it.
        settings: the site's.
        hsts: its value by name.
        journal: the access log.
        counts: of what is answered.
        suites: TLS suite by OpenSSL's name to its number.
        draining: the process is to end: connections end after their next answer.
        closing: and the moment for idle ones is over.
    """

    app: Any
    settings: Settings
    hsts: Hsts
    journal: Journal
    counts: Row = field(default_factory=Row)
    suites: dict[str, int] = field(default_factory=dict)
    draining: bool = False
    closing: bool = False
