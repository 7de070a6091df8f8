"""Files that are either whole or not there: atomic writes, links, private directories, locks.

A write goes to a temporary file beside its target (same file system, so rename(2) is one step), is
fsynced, renamed, and the directory is fsynced. Who dies in between leaves a ``.name.*.tmp`` behind and the
old file untouched. The writer holds flock(2) on its temporary file, so the next writer can tell a leftover
of the dead (lockable) from the work of the living, and removes only the former.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from sealgate.errors import StateBusy, StateError, StateInsecure

__all__ = [
    "FileLock",
    "Step",
    "check_not_readable_by_others",
    "check_not_writable_by_others",
    "check_parents",
    "close_directory",
    "no_step",
    "private_directory",
    "raise_flag",
    "swap_link",
    "sync_directory",
    "translated",
    "write_atomic",
]

Step = Callable[[str], None]
"""Called with a name before each step of a change; tests kill the process in it."""

_READ_ONLY = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def no_step(_name: str) -> None:
    """The step hook of production: nothing."""


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the operating system's word on a write into ours.

    Raises:
        StateError: ``state-full`` (ENOSPC, EDQUOT), ``state-read-only`` (EROFS, EACCES, EPERM),
            ``state-unusable`` (anything else).
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StateError(
                "state-full",
                f"no space is left to write {path}",
                "free some space on that file system and try again; what was there before is untouched",
                path=str(path),
            ) from error
        if error.errno in _READ_ONLY:
            raise StateError(
                "state-read-only",
                f"{path} cannot be written ({os.strerror(error.errno or 0)})",
                "make it writable for this user, or name another directory with --state",
                path=str(path),
            ) from error
        raise StateError(
            "state-unusable",
            f"{path} cannot be used ({os.strerror(error.errno or 0)})",
            "put right what the message names, or name another directory with --state",
            path=str(path),
        ) from error


def sync_directory(path: Path) -> None:
    """Make renames inside the directory survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files for ``path`` whose writer is dead; leave those a living writer has locked."""
    prefix, suffix = f".{path.name}.", ".tmp"
    for name in os.listdir(path.parent):  # noqa: PTH208 - names only, no Path for each
        if not (name.startswith(prefix) and name.endswith(suffix)):
            continue
        left = path.parent / name
        with contextlib.suppress(OSError):
            if left.is_symlink():
                left.unlink()
                continue
            handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()
            finally:
                os.close(handle)


def _create_beside(path: Path, mode: int) -> tuple[int, Path]:
    """A new, locked temporary file beside ``path`` that no cleaner has taken for a leftover."""
    while True:
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(temporary, flags, mode)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            # Before the first byte: the umask may have taken bits away that the caller asked for.
            os.fchmod(handle, mode)
            return handle, temporary
        os.close(handle)


def write_atomic(path: Path, data: bytes, mode: int = 0o600, *, step: Step = no_step) -> None:
    """Replace ``path`` by ``data`` in one step; readers see the old bytes or the new, never a mixture.

    Args:
        path: the file; its directory must exist. A symbolic link there is replaced, not followed.
        data: the whole new content.
        mode: permission bits, in force before the first byte is written.
        step: see :data:`Step`.

    Raises:
        StateError: ``state-full``, ``state-read-only``, ``state-unusable``; ``path`` is then unchanged.
    """
    with translated(path):
        _remove_leftovers(path)
        step("create")
        handle, temporary = _create_beside(path, mode)
        try:
            step("write")
            with open(handle, "wb", closefd=False) as file:
                file.write(data)
            step("fsync")
            os.fsync(handle)
            step("rename")
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(handle)
        step("sync-directory")
        sync_directory(path.parent)


def swap_link(link: Path, target: str | Path, *, step: Step = no_step) -> None:
    """Point the symbolic link ``link`` at ``target`` in one step (rename(2)).

    Raises:
        StateError: as :func:`write_atomic`; the old link is then still there.
    """
    with translated(link):
        _remove_leftovers(link)
        temporary = link.parent / f".{link.name}.{secrets.token_hex(8)}.tmp"
        step("link")
        temporary.symlink_to(target)
        try:
            step("swap")
            temporary.replace(link)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        step("sync-directory")
        sync_directory(link.parent)


def _insecure(path: Path, fact: str, remedy: str, code: str) -> StateInsecure:
    return StateInsecure(code, f"{path} {fact}", remedy, path=str(path))


def _check_part(part: Path, code: str) -> None:
    """One directory on the way, for root: only root may be able to swap what is below it."""
    facts = part.stat()
    sticky = facts.st_uid == 0 and facts.st_mode & stat.S_ISVTX
    if facts.st_uid:
        raise _insecure(
            part, f"belongs to user {facts.st_uid}", f"chown root {part}, or use another place", code
        )
    if facts.st_mode & 0o022 and not sticky:
        raise _insecure(
            part, "can be written by other users", f"chmod go-w {part}, or use another place", code
        )


def check_not_writable_by_others(path: Path, *, code: str = "state-insecure") -> None:
    """Refuse a file or directory that somebody else could change.

    It must belong to this user (or root) and not be writable by group or others. For root, the same
    holds for every directory above it (a sticky directory of root's, such as /tmp, is fine): who can rename
    a parent can replace what is in it.

    Raises:
        StateInsecure: with ``code``.
        OSError: the path cannot be looked at.
    """
    real = path.resolve(strict=True)
    facts = real.stat()
    uid = os.geteuid()
    if facts.st_uid not in (0, uid):
        raise _insecure(
            path,
            f"belongs to user {facts.st_uid}, not to this one",
            f"chown {uid} {path}, or use another place",
            code,
        )
    if facts.st_mode & 0o022:
        raise _insecure(path, "can be written by other users", f"chmod go-w {path}", code)
    check_parents(real, code=code)


def check_parents(path: Path, *, code: str = "state-insecure") -> None:
    """For root: refuse a path, there yet or not, with a directory above it that somebody else could change.

    Raises:
        StateInsecure: with ``code``.
    """
    if os.geteuid() == 0:
        for part in path.resolve().parents:
            if part.exists():
                _check_part(part, code)


def check_not_readable_by_others(path: Path, *, code: str = "state-insecure") -> None:
    """Refuse a secret that is a symbolic link, no regular file, somebody else's, or open to group or others.

    Raises:
        StateInsecure: with ``code``.
        OSError: the path cannot be looked at.
    """
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        raise _insecure(
            path,
            "is a symbolic link where a key file belongs",
            f"replace it by the file itself: {path}",
            code,
        )
    if not stat.S_ISREG(facts.st_mode):
        raise _insecure(path, "is not a regular file", f"put the key file there: {path}", code)
    if facts.st_uid not in (0, os.geteuid()):
        raise _insecure(path, f"belongs to user {facts.st_uid}, not to this one", f"chown it: {path}", code)
    if facts.st_mode & 0o077:
        raise _insecure(path, "can be read by other users", f"chmod 600 {path}", code)


def private_directory(path: Path, mode: int = 0o700) -> Path:
    """Make the directory (and its parents) with ``mode`` where it is not there; refuse one others may write.

    Raises:
        StateError: it cannot be made.
        StateInsecure: it is a symbolic link, somebody else's, or writable by group or others.
    """
    with translated(path):
        if not path.is_symlink() and not path.exists():
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=mode)
                path.chmod(mode)
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            raise _insecure(
                path,
                "is a symbolic link where a directory belongs",
                f"remove the link: {path}",
                "state-insecure",
            )
        if not stat.S_ISDIR(facts.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        if facts.st_uid not in (0, os.geteuid()):
            raise _insecure(
                path,
                f"belongs to user {facts.st_uid}, not to this one",
                f"chown it: {path}",
                "state-insecure",
            )
        if facts.st_mode & 0o022:
            raise _insecure(path, "can be written by other users", f"chmod go-w {path}", "state-insecure")
    return path


def close_directory(path: Path, allowed: int = 0o700) -> int:
    """Take away what group and others may do in a directory of ours, beyond `allowed` (permission bits).

    Returns:
        its permission bits before, where there was something to take away; else 0.

    Raises:
        OSError: it cannot be looked at, or is not ours.
    """
    # Not opened: who took the owner's own rights away must not keep us from giving them back.
    facts = path.lstat()
    mode = stat.S_IMODE(facts.st_mode)
    if not stat.S_ISDIR(facts.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not mode & 0o077 & ~allowed and mode & 0o700 == 0o700:
        return 0
    path.chmod(allowed)
    return mode


class FileLock:
    """An exclusive flock(2) that never waits, and names its holder.

    One object may be entered several times by its process (the keeper holds it for life, and what it
    calls takes it again); another process, or another object, gets :class:`StateBusy`. Not for use by
    several threads at once. A lock dies with its process, so there is nothing to clean up after a crash.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1
        self._depth = 0

    @property
    def held(self) -> bool:
        """Does this object hold the lock?"""
        return self._depth > 0

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StateBusy: ``state-busy``; ``details["pid"]`` is the holder's, 0 where unknown.
            StateError: the lock file cannot be opened.
        """
        if not self._depth:
            self._handle = self._take()
        self._depth += 1

    def _take(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with translated(self.path):
            handle = os.open(self.path, flags, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
                os.close(handle)
                raise _busy(self.path, int(holder) if holder.isdecimal() else 0) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        return handle

    def release(self) -> None:
        """Give the lock back (as often as it was taken)."""
        self._depth -= 1
        if not self._depth:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _busy(path: Path, pid: int) -> StateBusy:
    who = f"process {pid}" if pid else "another process"
    return StateBusy(
        "state-busy",
        f"{who} is working on {path.parent}",
        f"wait for it or stop it{f' (kill {pid})' if pid else ''}, or name another directory with --state",
        path=str(path.parent),
        pid=pid,
    )


def raise_flag(path: Path) -> None:
    """Make an empty file in a directory that belongs to somebody else, without following what lies there.

    What is there already, whatever it is, is left alone: a flag is only asked for its presence.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
