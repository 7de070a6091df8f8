"""Finds the servers whose traps are known: every module here with a constant ``TRAPS``."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from sealgate.engines import traps
from sealgate.engines.configurations.library import Library, UnreadableError
from sealgate.engines.traps.trap import Server
from sealgate.errors import UsageError
from sealgate.policy.quoting import shown

__all__ = ["guessed", "trapped", "trapped_ids"]


@cache
def trapped() -> tuple[Server, ...]:
    """All of them, by name."""
    modules = (
        importlib.import_module(f"{traps.__name__}.{m.name}") for m in pkgutil.iter_modules(traps.__path__)
    )
    found = (getattr(module, "TRAPS", None) for module in modules)
    return tuple(server for server in found if isinstance(server, Server))


def trapped_ids() -> tuple[str, ...]:
    """Their names."""
    return tuple(server.id for server in trapped())


_USUAL = {"nginx.conf": "nginx", "apache2.conf": "apache", "httpd.conf": "apache"}
"""What a file is whose name says it; those of the others are known by `suits`."""


def guessed(main: str, library: Library, engine: str | None, likely: str = "") -> Server:
    """The server that a configuration belongs to.

    Args:
        main: the file it begins in.
        library: where its files are.
        engine: its name, where the call says it.
        likely: the policy's; it decides where the text does not say otherwise.

    Raises:
        UsageError: ``server-config-unreadable``.
    """
    if engine is not None:
        return next(server for server in trapped() if server.id == engine)
    try:
        text = library.read(main)
    except UnreadableError as error:
        raise UsageError(
            "server-config-unreadable", f"{shown(main)} cannot be read: {error}", "name a file that can be"
        ) from None
    fitting = [server for server in trapped() if server.suits(main, text)]
    if len(fitting) == 1:
        return fitting[0]
    candidates = fitting or trapped()
    # Of nginx and Apache a file may be any few lines; one of the others would be known by its text.
    policys = likely if fitting or likely in _USUAL.values() else ""
    for name in (policys, _USUAL.get(main.rpartition("/")[2], "")):
        if found := [server for server in candidates if server.id == name]:
            return found[0]
    said = " or ".join(server.title for server in fitting) or "none of " + ", ".join(trapped_ids())
    fact = f"{shown(main)} could be a configuration of {said}"
    which = " or ".join(server.id for server in candidates)
    raise UsageError("server-config-unreadable", fact, f"say which: --engine {which}")
