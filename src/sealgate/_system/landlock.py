"""Confine this process and its children with Landlock (Linux, landlock(7)).

Theory: Landlock is an allow-list of hierarchies; a directory below an allowed one cannot be taken out
again. To hide a directory, everything *beside* it is allowed instead, on every level from the root down.
So inside the ancestors of a hidden directory only what existed at the start is reachable, and nothing
new can be made directly in them. The same holds above what may be read but not changed (`fixed`). Symbolic
links are skipped: what they lead to is judged where it really is.

A confined process can also neither trace, read the memory of, nor (Landlock ABI 6) signal a process that
is not confined with it; and it gains no privileges by execve(2).
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["READ", "WRITE", "Grant", "confine", "supported"]

# The same numbers on every architecture (kernel/arch syscall tables).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_SCOPE_SIGNAL = 1 << 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _REFER = 1 << 14, 1 << 13
_ALL_V1 = (1 << 13) - 1
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
READ = _EXECUTE | _READ_FILE | _READ_DIR
"""Read files, list directories, execute."""
WRITE = READ | (_ALL_V1 & ~(_MAKE_CHAR | _MAKE_BLOCK)) | _TRUNCATE | _REFER
"""Everything but making device nodes: one for the disk would show what is hidden."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A hierarchy (or a single file) that stays reachable inside a hidden directory."""

    path: Path
    rights: int = READ


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("rights", ctypes.c_uint64), ("fd", ctypes.c_int32))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def supported() -> int:
    """The kernel's Landlock ABI version; 0 where there is none (or no permission to use it)."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _CREATE_VERSION)))


def _handled(abi: int) -> int:
    return _ALL_V1 | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0)


def _is_above(path: Path, hidden: frozenset[Path]) -> bool:
    return any(path in candidate.parents for candidate in hidden)


def _children(path: Path) -> Iterator[Path]:
    try:
        with os.scandir(path) as entries:
            yield from (Path(entry.path) for entry in entries if not entry.is_symlink())
    except OSError:
        return


def grants(hidden: Iterable[Path], allowed: Iterable[Grant], fixed: Iterable[Path] = ()) -> Iterator[Grant]:
    """What to allow so that everything but `hidden` is reachable, and `allowed` nevertheless.

    All paths absolute and free of symbolic links. What is `fixed` can be read, not changed.
    """
    secret, still = frozenset(hidden), frozenset(fixed)
    todo = [(Path("/"), WRITE)]
    while todo:
        path, rights = todo.pop()
        if path in secret:
            continue
        if path in still:
            rights = READ
        if _is_above(path, secret) or (rights != READ and _is_above(path, still)):
            yield Grant(path, _READ_DIR)
            todo.extend((child, rights) for child in _children(path))
        else:
            yield Grant(path, rights)
    yield from allowed


def _add(libc: ctypes.CDLL, ruleset: int, grant: Grant, handled: int) -> None:
    try:
        fd = os.open(grant.path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # gone meanwhile, or not ours to reach: then it is not allowed either
    try:
        rights = grant.rights & handled
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FILE_ONLY
        if rights:
            rule = _PathBeneath(rights, fd)
            _check(
                libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0),
                "landlock_add_rule",
            )
    finally:
        os.close(fd)


def confine(*, hidden: Iterable[Path], allowed: Iterable[Grant] = (), fixed: Iterable[Path] = ()) -> int:
    """Hide directories from this process and all it starts, for ever.

    Args:
        hidden: directories (or files) to hide; resolved here.
        allowed: what inside them stays reachable.
        fixed: directories (or files) that can be read but not changed; resolved here.

    Returns:
        the Landlock ABI that holds, or 0 where the kernel has none: the caller must then say
        "not separated".

    Raises:
        OSError: Landlock is there but refused; never half applied.
    """
    abi = supported()
    if not abi:
        return 0
    libc, handled = _libc(), _handled(abi)
    scoped = _SCOPE_SIGNAL if abi >= 6 else 0
    attributes = _Ruleset(handled, 0, scoped)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _check(
        libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0), "landlock_create_ruleset"
    )
    try:
        resolved = [Path(os.path.realpath(path)) for path in hidden]
        inside = [Grant(Path(os.path.realpath(grant.path)), grant.rights) for grant in allowed]
        still = [Path(os.path.realpath(path)) for path in fixed]
        for grant in grants(resolved, inside, still):
            _add(libc, ruleset, grant, handled)
        _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
        _check(libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    return abi
