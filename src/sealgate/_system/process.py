"""What a process may set for itself: no core files, no tracing, an end with its parent, another user."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence

__all__ = [
    "ENGINE_AS_ROOT",
    "ENGINE_AS_USER",
    "ORDINARY",
    "become",
    "die_with_parent",
    "keep_memory_private",
    "limit_capabilities",
    "raise_file_limit",
]

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT = 1, 4, 8, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
# What an app that runs as root may need: files of others, other users, low ports. Not: modules, raw devices,
# tracing, mounts, file handles; with any of those it would see through every wall.
ORDINARY = frozenset({0, 1, 3, 4, 5, 6, 7, 10})
# An engine with a user of its own: low ports, and its certificate and rendered files, which are the keeper's.
# File modes would have to be right before every swap; what it may really read is Landlock's affair.
ENGINE_AS_USER = frozenset({2, 10})
# An engine that runs as root: files of others (the state directory's place) and low ports.
ENGINE_AS_ROOT = frozenset({1, 10})


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel for `number` when the parent ends; ends at once where it already has.

    SIGKILL by default: with the keeper gone nobody is left who would end one that takes its time.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def keep_memory_private() -> None:
    """No core file, and no tracing by others of the same user: keys are in this process's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def limit_capabilities(keep: frozenset[int], *, ambient: bool = False) -> None:
    """Keep at most these capabilities (capabilities(7)), of those that are there.

    Args:
        keep: numbers of capabilities below 32.
        ambient: they survive execve(2); otherwise none does.

    Raises:
        OSError: the kernel refused.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), sets) < 0:
        raise OSError(ctypes.get_errno(), "capget")
    mask = sum(1 << number for number in keep) & sets[0].permitted
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
    sets[0] = _Sets(mask, mask, mask if ambient else 0)
    sets[1] = _Sets(0, 0, 0)
    if libc.capset(ctypes.byref(header), sets) < 0:
        raise OSError(ctypes.get_errno(), "capset")
    for number in keep if ambient else ():
        if mask >> number & 1:
            libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number, 0, 0)


def raise_file_limit(wanted: int) -> int:
    """Raise the soft limit of open files towards `wanted`; returns what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    target = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return wanted if soft == unlimited else soft


def become(uid: int, gid: int, groups: Sequence[int] = (), *, keep: frozenset[int] = frozenset()) -> None:
    """Give up root for another user, for good; checks that there is no way back.

    Args:
        uid: the user to become.
        gid: its group.
        groups: further groups.
        keep: capabilities that stay, over execve(2) too.
    """
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    if keep:
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setresuid(uid, uid, uid)
    if keep:
        limit_capabilities(keep, ambient=True)
    try:
        os.setuid(0)
    except PermissionError:
        return
    raise PermissionError("still able to become root after giving it up")
