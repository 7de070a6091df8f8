"""The engine's process before it becomes the engine: another user, its end with ours, Landlock."""

from __future__ import annotations

import os
from pathlib import Path

from sealgate._system.landlock import WRITE, Grant, confine
from sealgate._system.process import (
    ENGINE_AS_ROOT,
    ENGINE_AS_USER,
    become,
    die_with_parent,
    limit_capabilities,
    raise_file_limit,
)
from sealgate.engines.contract import Driver
from sealgate.runtime.separation import Separation

__all__ = ["confine_engine", "confine_watcher"]

_MOST_FILES = 1 << 20


def confine_engine(separation: Separation, driver: Driver, *, inside: bool) -> None:
    """Between fork and exec of an engine.

    Args:
        separation: who may touch what.
        driver: the engine.
        inside: the app runs in this process. It needs more of the machine than a server does; of the state
            directory it gets what the server needs, and the authorities' keys stay closed.
    """
    raise_file_limit(_MOST_FILES)  # a reload may allow more connections
    if separation.engine.uid >= 0:
        become(separation.engine.uid, separation.engine.gid, keep=ENGINE_AS_USER)
    elif os.geteuid() == 0:
        limit_capabilities(ENGINE_AS_ROOT)
    os.setsid()
    die_with_parent(os.getppid())
    parts = ("server", "clients", "challenges")
    live = tuple(separation.state / "live" / part for part in parts)
    if inside:
        readable = (*live, *separation.app_readable(), separation.state / "engines")
        writable = (*separation.app_writable(), driver.folder)
        allowed = [Grant(path) for path in readable] + [Grant(path, WRITE) for path in writable]
        confine(hidden=separation.hidden, allowed=allowed, fixed=separation.fixed)
        return
    grants = separation.engine_grants((*live, *driver.reads), [driver.folder])
    confine(hidden=[Path("/")], allowed=grants)


def confine_watcher(separation: Separation) -> None:
    """Between fork and exec of the watcher: no key, no file of anybody's, nothing to write, no capability.

    Where the keeper is root it becomes the engine's user, as whom no app worker can trace or end it; what
    that user may read of the state directory, Landlock takes away.
    """
    if separation.engine.uid >= 0:
        become(separation.engine.uid, separation.engine.gid)
    limit_capabilities(frozenset())
    die_with_parent(os.getppid())
    # Two layers, both hold: what is hidden stays so even where a program's folder stands above it.
    confine(hidden=separation.hidden, fixed=separation.fixed)
    confine(hidden=[Path("/")], allowed=separation.program_grants())
