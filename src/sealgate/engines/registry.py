"""Finds the engines: every package in ``engines/servers/`` with a constant ``ENGINE``."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import cache

from sealgate.engines import servers
from sealgate.engines.contract import Engine
from sealgate.errors import UsageError
from sealgate.policy.quoting import shown

__all__ = ["engine", "engine_ids"]


@cache
def engine_ids() -> tuple[str, ...]:
    """The names of all engines, sorted; nothing of them is imported yet."""
    found = pkgutil.iter_modules(servers.__path__)
    return tuple(sorted(m.name for m in found if m.ispkg and not m.name.startswith("_")))


@cache
def engine(name: str) -> Engine:
    """The engine of this name.

    Raises:
        UsageError: ``engine-unknown``.
    """
    if name not in engine_ids():
        close = difflib.get_close_matches(name.lower(), engine_ids(), n=1)
        remedy = f"use {close[0]}, if that was meant" if close else f"use one of {', '.join(engine_ids())}"
        raise UsageError("engine-unknown", f"there is no engine {shown(name)}", remedy)
    found = importlib.import_module(f"sealgate.engines.servers.{name}").ENGINE
    if not isinstance(found, Engine) or found.id != name:
        raise TypeError(f"sealgate.engines.servers.{name}.ENGINE is not the engine {name}")
    return found
