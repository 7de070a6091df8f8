"""Replace a file of somebody else's in one step, and leave everything about it but its bytes as it was."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from sealgate._system.files import Step, no_step, sync_directory, translated
from sealgate.errors import EngineError, StateBusy

__all__ = ["LARGEST", "beside", "locked", "read_regular", "replace_bytes", "write_beside"]

LARGEST = 16 * 1024**2
"""Bytes of a main configuration."""


def replace_bytes(path: Path, before: bytes, after: bytes, *, step: Step = no_step) -> None:
    """Replace the content; owner, mode, attributes and links to it stay.

    Args:
        path: a link is followed, and stays.
        before: what must be there.
        after: what shall be.
        step: see :data:`Step`.

    Raises:
        EngineError: ``server-config-changed``: something else is there; ``server-config-unfit``.
        StateError: it cannot be written; it is unchanged then.
    """
    real = Path(os.path.realpath(path))
    with translated(real):
        facts = real.stat()
        _check(real, facts)
        temporary = beside(real)
        temporary.unlink(missing_ok=True)
        step("beside")
        try:
            _write_like(temporary, after, real, facts)
            step("rename")
            _check_unchanged(real, before)
            temporary.replace(real)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_directory(real.parent)


def beside(path: Path) -> Path:
    """The name under which the next content is written first; what a killed process left is replaced."""
    real = Path(os.path.realpath(path))
    return real.with_name(f".{real.name}.sealgate-next")


def read_regular(path: Path) -> bytes:
    """A file of somebody else's: no pipe is waited for, no device read.

    Raises:
        OSError: it cannot be read, is none, or larger than any configuration.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(handle, "rb") as file:  # noqa: PTH123 - a handle
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(errno.EFBIG, f"it is larger than {LARGEST // 1024**2} MiB", str(path))
    return data


def _check_unchanged(real: Path, before: bytes) -> None:
    if read_regular(real) != before:
        fact = f"{real} was changed by somebody else just now"
        raise EngineError("server-config-changed", fact, "try again when nobody edits it")


def _check(real: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
        what = "has a second name (hard link)" if facts.st_nlink > 1 else "is not a regular file"
        remedy = "copy it to a file of its own, or add the line that `sealgate plan` shows by hand"
        raise EngineError("server-config-unfit", f"{real} {what}, which a replacement would break", remedy)


def _write_like(temporary: Path, data: bytes, model: Path, facts: os.stat_result) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    handle = os.open(temporary, flags, 0o600)
    try:
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        if (facts.st_uid, facts.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(handle, facts.st_uid, facts.st_gid)
        for name in os.listxattr(model) if hasattr(os, "listxattr") else ():
            os.setxattr(handle, name, os.getxattr(model, name))  # SELinux label, ACL
        os.fchmod(handle, stat.S_IMODE(facts.st_mode))
        os.fsync(handle)
    finally:
        os.close(handle)


def write_beside(path: Path, data: bytes) -> None:
    """A file of ours in somebody else's directory, for a moment; what a killed process left is replaced.

    Raises:
        StateError: it cannot be written.
    """
    with translated(path):
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:  # noqa: PTH123 - a handle
            file.write(data)


def _could_be_at_work(handle: int) -> bool:
    """Could who holds this directory's lock change what is in it?

    Whoever may read a directory may lock it too. Root does not let others keep it from renewing.
    """
    facts = os.fstat(handle)
    if os.geteuid() != 0:
        return True
    place = f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        held = [int(words[4]) for words in lines if words[1] == "FLOCK" and words[5] == place]
        users = {(Path("/proc") / str(pid)).stat().st_uid for pid in held}
    except (OSError, ValueError, IndexError):
        return True
    return not users or not users.isdisjoint({0, facts.st_uid})


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a directory of somebody else's; leaves nothing in it.

    Raises:
        StateBusy: ``server-busy``: another process of ours holds it.
        StateError: it cannot be opened.
    """
    with translated(directory):
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _could_be_at_work(handle):
                fact = f"another apply or rollback is at work on {directory}"
                raise StateBusy("server-busy", fact, "try again when it is done") from None
        yield
    finally:
        os.close(handle)
