"""The state directory stays closed: looked at every two seconds while serving.

Landlock does not cover chmod(2), so an app of the keeper's own user can open the directory to other users. It
cannot be kept from it, but what it did can be undone and said. One directory counts: all the rest is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from sealgate._system.files import close_directory

__all__ = ["keep_closed"]

_EVERY = 2.0


async def keep_closed(folder: Path, allowed: int, say: Callable[[str], None]) -> None:
    """Take away, again and again, what others may do there beyond `allowed`; never returns."""
    unseen = ""
    while True:
        try:
            mode = close_directory(folder, allowed)
            problem = ""
        except OSError as error:
            mode, problem = 0, f"{folder} cannot be looked at ({error.strerror})"
        if problem and problem != unseen:
            say(problem)
        unseen = problem
        if mode:
            say(
                f"somebody opened {folder} to other users (mode {mode:o}); closed again. "
                "If it was not you, take the keys in it for read: stop, remove it, start anew"
            )
        await asyncio.sleep(_EVERY)
