"""What a process may set for itself: no core files, no tracing, an end with its parent, another user."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence

__all__ = ["become", "die_with_parent", "keep_memory_private", "raise_file_limit"]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent(parent: int, number: int = signal.SIGTERM) -> None:
    """Ask the kernel for `number` when the parent ends; ends at once where it already has."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def keep_memory_private() -> None:
    """No core file, and no tracing by others of the same user: keys are in this process's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def raise_file_limit(wanted: int) -> int:
    """Raise the soft limit of open files towards `wanted`; returns what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    target = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return wanted if soft == unlimited else soft


def become(uid: int, gid: int, groups: Sequence[int] = ()) -> None:
    """Give up root for another user, for good; checks that there is no way back."""
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise PermissionError("still able to become root after giving it up")
