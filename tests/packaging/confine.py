"""Runs a command under the system call rules of packaging/sealgate.service, without systemd as init.

Usage: ``python confine.py COMMAND...``. It reads SystemCallFilter, SystemCallErrorNumber,
MemoryDenyWriteExecute and RestrictAddressFamilies from the unit and loads the same rules by libseccomp,
which systemd itself uses.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "packaging/sealgate.service"

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EQUAL, _MASKED_EQUAL, _GREATER = 4, 7, 6
_WRITE, _EXEC = 2, 4
_PR_SET_NO_NEW_PRIVS = 38


class _Comparison(ctypes.Structure):
    """scmp_arg_cmp of seccomp.h."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


_library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
_library.seccomp_init.restype = ctypes.c_void_p
_library.seccomp_init.argtypes = (ctypes.c_uint32,)
_library.seccomp_load.argtypes = (ctypes.c_void_p,)
_library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
_library.seccomp_rule_add_array.argtypes = (
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.POINTER(_Comparison),
)


def _settings(name: str) -> list[str]:
    lines = UNIT.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def _sets() -> dict[str, list[str]]:
    """systemd's named sets of system calls, as this systemd knows them."""
    command = ["systemd-analyze", "--no-pager", "syscall-filter"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found: dict[str, list[str]] = {}
    name = ""
    for line in out.splitlines():
        if line.startswith("@"):
            name = line.strip()
            found[name] = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            found[name].append(line.strip())
    return found


def allowed() -> set[str]:
    """The names of the system calls that the unit leaves, its lines taken in order."""
    sets = _sets()

    def expand(word: str) -> set[str]:
        if not word.startswith("@"):
            return {word}
        return set().union(*(expand(each) for each in sets[word]))

    names: set[str] = set()
    for value in _settings("SystemCallFilter"):
        words = value.removeprefix("~").split()
        meant = set().union(*(expand(word) for word in words))
        names = names - meant if value.startswith("~") else names | meant
    # What systemd always adds: without these a process can neither start nor end.
    return names | expand("@default")


def _add(context: int, action: int, name: str, *comparisons: _Comparison) -> None:
    number = _library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:  # not on this machine's architecture, or newer than its libseccomp
        return
    array = (_Comparison * len(comparisons))(*comparisons)
    if _library.seccomp_rule_add_array(context, action, number, len(comparisons), array):
        raise OSError(f"libseccomp refused a rule for {name}")


def _load(context: int) -> None:
    if _library.seccomp_load(context):
        raise OSError("libseccomp could not load the rules")


def _deny_writable_code(action: int) -> int:
    context: int = _library.seccomp_init(_ALLOW)
    both = _WRITE | _EXEC
    _add(context, action, "mmap", _Comparison(2, _MASKED_EQUAL, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        _add(context, action, name, _Comparison(2, _MASKED_EQUAL, _EXEC, _EXEC))
    return context


def _deny_families(kept: set[int]) -> int:
    context: int = _library.seccomp_init(_ALLOW)
    action = _ERRNO | errno.EAFNOSUPPORT
    for family in range(max(kept)):
        if family not in kept:
            _add(context, action, "socket", _Comparison(0, _EQUAL, family, 0))
    _add(context, action, "socket", _Comparison(0, _GREATER, max(kept), 0))
    return context


def confine() -> None:
    """Load the rules into this process; its children inherit them."""
    (error,) = _settings("SystemCallErrorNumber")
    refusal = _ERRNO | getattr(errno, error)
    names = allowed()
    (families,) = _settings("RestrictAddressFamilies")
    contexts = [_deny_families({int(getattr(socket, family)) for family in families.split()})]
    if _settings("MemoryDenyWriteExecute") == ["yes"]:
        contexts.append(_deny_writable_code(_ERRNO | errno.EPERM))
    # Last: it may well not allow loading further rules.
    last: int = _library.seccomp_init(refusal)
    for name in sorted(names):
        _add(last, _ALLOW, name)
    if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no_new_privs was refused")
    for context in [*contexts, last]:
        _load(context)


if __name__ == "__main__":
    confine()
    os.execvp(sys.argv[1], sys.argv[1:])
