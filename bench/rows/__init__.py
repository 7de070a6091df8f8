"""What is compared. One file per server; each has a constant ``ROWS``.

Equal for all, and kept so by every file here:

- one app worker; WSGI apps get eight threads; the front server has the one core anyway;
- the outermost server writes one access log line per request into a file, servers behind it write none;
- between proxy and app: a unix socket, kept open; to the client: HTTP/1.1, kept open;
- ECDSA P-256, a chain of two, TLS 1.3 (what the client offers is fixed: X25519, AES-128-GCM);
- idle connections are kept for five minutes, so that 10,000 of them can be counted.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.pki import Credentials
    from bench.processes import Command

__all__ = ["APPS", "IDLE_SECONDS", "PYTHON", "THREADS", "Launch", "Place", "Row", "all_rows"]

APPS = Path(__file__).parent.parent
PYTHON = sys.executable
THREADS = 8
IDLE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Place:
    """What one start of one row is given: a directory and a port of its own, and a certificate."""

    directory: Path
    address: str
    port: int
    spare_port: int
    credentials: Credentials

    @property
    def access_log(self) -> Path:
        """Where the outermost server logs."""
        return self.directory / "access.log"

    @property
    def socket(self) -> Path:
        """Between proxy and app."""
        return self.directory / "app.sock"

    def write(self, name: str, text: str) -> Path:
        """A configuration file in the directory."""
        path = self.directory / name
        path.write_text(text)
        return path


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start it, and which root its certificate hangs from (asked for once it serves)."""

    commands: tuple[Command, ...]
    root: Callable[[], Path]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    id: str
    title: str
    launch: Callable[[Place], Launch]
    needs: tuple[str, ...] = ()
    """Programs (``nginx``) and Python modules (``python:gunicorn``) it cannot do without."""
    order: int = 100
    note: str = ""
    quick: bool = field(default=False)
    """Is it among the few of ``--quick``?"""


def all_rows() -> tuple[Row, ...]:
    """Every row of every file in this folder, in the table's order."""
    found: list[Row] = []
    for module in pkgutil.iter_modules(__path__):
        found += getattr(importlib.import_module(f"{__name__}.{module.name}"), "ROWS", ())
    return tuple(sorted(found, key=lambda row: (row.order, row.id)))
