"""How much memory this process may use."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["memory_limit"]

_GROUPS = Path("/sys/fs/cgroup")


def memory_limit() -> int:
    """Bytes: the machine's memory, or less where a control group (cgroups(7), version 2) says so."""
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _limits():
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limit = min(limit, int(text))
    return limit


def _limits() -> list[Path]:
    """The limit of this process's control group, and of those it is in."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = next((line[3:] for line in lines if line.startswith("0::/")), "/")
    group = _GROUPS / own.lstrip("/")
    return [folder / "memory.max" for folder in (group, *group.parents) if folder.is_relative_to(_GROUPS)]
