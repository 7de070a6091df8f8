"""Settings of servers that are written in Python: a file of theirs, or what they are called with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sealgate.engines.configurations.directive import Unread
from sealgate.engines.configurations.library import Library, UnreadableError
from sealgate.engines.configurations.settings import UnparsedError
from sealgate.engines.traps.trap import Found, Trap

__all__ = ["found"]

Judge = Callable[[str, str], Iterable[Trap]]
"""From a file's name and its text."""


def found(main: str, library: Library, in_python: Judge, in_calls: Judge) -> Found:
    """The traps of a file, each once; it is read, never run."""
    try:
        text = library.read(main)
        traps = list(in_python(main, text) if main.endswith(".py") else in_calls(main, text))
    except UnreadableError as error:
        return Found((), (Unread(main, 0, f"it cannot be read: {error}"),))
    except UnparsedError as error:
        return Found((), (Unread(main, error.line, str(error)),))
    return Found(tuple(dict.fromkeys(traps)))
