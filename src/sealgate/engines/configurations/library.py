"""Where the text of a configuration comes from: the disk, or texts that are here already (``nginx -T``).

A configuration may name any file, and may be somebody's attempt to harm: devices and pipes are not opened,
files and their number are bounded, and nothing that is read is ever run.
"""

from __future__ import annotations

import fnmatch
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["LARGEST", "MOST_FILES", "MOST_TEXT", "Bounded", "Disk", "Library", "Texts", "UnreadableError"]

LARGEST = 1024**2
"""Bytes of one file."""
MOST_TEXT = 4 * 1024**2
"""Bytes of all files together; a reader takes some seconds for them."""
MOST_FILES = 500
"""Files of one configuration."""
MOST_NAMES = 200_000
"""Names in folders that are looked through for one configuration's patterns: some seconds."""

_MAGIC = "*?["


class UnreadableError(Exception):
    """A file that cannot be read; its text is a part of a sentence."""


class Library(Protocol):
    """Finds and reads the files of one configuration."""

    def find(self, pattern: str) -> tuple[str, ...]:
        """The names that an absolute path with ``*``, ``?`` and ``[]`` stands for, sorted.

        A path without them stands for itself, whether it is there or not.

        Raises:
            UnreadableError: too much would have to be looked through.
        """

    def read(self, name: str) -> str:
        """The text of a file.

        Raises:
            UnreadableError: why not.
        """

    def folder(self, name: str) -> tuple[str, ...] | None:
        """All files below a folder, sorted; None where it is none."""


@dataclass(slots=True)
class Disk:
    """Files as they lie on the disk; ``left`` is how many names may still be looked at for patterns."""

    left: int = MOST_NAMES

    def find(self, pattern: str) -> tuple[str, ...]:
        """See :class:`Library`."""
        if not _is_pattern(pattern):
            return (pattern,)
        if "\0" in pattern or pattern.count("*") > 8 or not pattern.startswith("/"):
            return ()
        places = [""]
        for part in pattern.split("/")[1:]:
            if _is_pattern(part):
                places = [found for place in places for found in self._among(place, part)]
            else:
                places = [f"{place}/{part}" for place in places]
        there = (place for place in places if os.path.lexists(place))
        return tuple(itertools.islice(sorted(there), MOST_FILES + 1))

    def _among(self, place: str, pattern: str) -> Iterator[str]:
        """What is in a folder, as the system's glob has it: a star is no dot at the beginning."""
        try:
            with os.scandir(place or "/") as entries:
                for entry in entries:
                    self.left -= 1
                    if self.left < 0:
                        raise UnreadableError(f"more than {MOST_NAMES} names would have to be looked through")
                    hidden = entry.name.startswith(".") and not pattern.startswith(".")
                    if not hidden and fnmatch.fnmatchcase(entry.name, pattern):
                        yield f"{place}/{entry.name}"
        except (OSError, ValueError):  # no folder, or none of ours; a name that is none
            return

    def read(self, name: str) -> str:
        """See :class:`Library`."""
        try:
            # Without O_NONBLOCK a pipe would be waited for.
            descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError) as error:
            raise UnreadableError(getattr(error, "strerror", None) or "its name is none") from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableError("it is no regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                raw = file.read(LARGEST + 1)
        finally:
            os.close(descriptor)
        if len(raw) > LARGEST:
            raise UnreadableError(f"it is larger than {LARGEST // 1024**2} MiB")
        return raw.decode("utf-8", "replace").replace("\r\n", "\n")

    def folder(self, name: str) -> tuple[str, ...] | None:
        """See :class:`Library`."""
        try:
            if not Path(name).is_dir():
                return None
            names = itertools.islice(Path(name).rglob("*"), MOST_NAMES)
            below = (str(path) for path in names if path.is_file())
            return tuple(sorted(itertools.islice(below, MOST_FILES + 1)))
        except (OSError, ValueError):
            return ()


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in _MAGIC)


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts by name."""

    texts: Mapping[str, str]

    def find(self, pattern: str) -> tuple[str, ...]:
        """See :class:`Library`."""
        if not _is_pattern(pattern):
            return (pattern,)
        # As the system's glob: a star does not reach over a slash.
        depth = pattern.count("/")
        found = fnmatch.filter(self.texts, pattern)
        return tuple(sorted(name for name in found if name.count("/") == depth))

    def read(self, name: str) -> str:
        """See :class:`Library`."""
        try:
            return self.texts[name]
        except KeyError:
            raise UnreadableError("No such file or directory") from None

    def folder(self, name: str) -> tuple[str, ...] | None:
        """See :class:`Library`."""
        below = tuple(sorted(each for each in self.texts if each.startswith(f"{name.rstrip('/')}/")))
        return below or None


@dataclass(slots=True)
class Bounded:
    """Another library, of which only so much is read."""

    inner: Library
    left: int = MOST_TEXT

    def find(self, pattern: str) -> tuple[str, ...]:
        """See :class:`Library`."""
        return self.inner.find(pattern)

    def read(self, name: str) -> str:
        """See :class:`Library`."""
        text = self.inner.read(name)
        if len(text) > self.left:
            raise UnreadableError(f"all files together are larger than {MOST_TEXT // 1024**2} MiB")
        self.left -= len(text)
        return text

    def folder(self, name: str) -> tuple[str, ...] | None:
        """See :class:`Library`."""
        return self.inner.folder(name)
