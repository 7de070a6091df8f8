"""From what is on disk to what shall be: pure.

The order is such that at every moment the server would start: a file stands before the line that includes it,
and the line is out before the file goes.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sealgate.engines.installed.journal import Record, Stamp, Version
from sealgate.errors import EngineError

__all__ = ["Act", "Disk", "acts", "rollback_to"]


class Act(enum.Enum):
    """One step of a change; each can be the last one before a power cut."""

    WRITE = "write our file"
    INCLUDE = "add the include line"
    EXCLUDE = "take the include line out"
    RELOAD = "reload"
    LOOK = "look"
    REMOVE = "remove our file"


@dataclass(frozen=True, slots=True)
class Disk:
    """What is there.

    Attributes:
        own: our file; None: there is none.
        main: the main configuration.
        lines: how many include lines of ours are in it.
        stamp: of our file, no newer than the bytes.
    """

    own: bytes | None
    main: bytes
    lines: int
    stamp: Stamp | None = None


def acts(disk: Disk, content: bytes | None) -> tuple[Act, ...]:
    """What leads to this content of our file; None: to neither file nor line."""
    if content is None:
        out = (Act.EXCLUDE,) if disk.lines else ()
        return (*out, Act.RELOAD, Act.LOOK, *((Act.REMOVE,) if disk.own is not None else ()))
    write = (Act.WRITE,) if disk.own != content else ()
    # More than one: the server would refuse it, or serve everything twice.
    line = {0: (Act.INCLUDE,), 1: ()}.get(disk.lines, (Act.EXCLUDE, Act.INCLUDE))
    return (*write, *line, Act.RELOAD, Act.LOOK)


def rollback_to(record: Record, *, everything: bool) -> Version | None:
    """Where a rollback leads; None: ours is taken out.

    Raises:
        EngineError: ``nothing-applied``.
    """
    pending = record.pending
    if everything:
        if record.standing is None and pending is None:
            raise _nothing()
        return None
    if pending is not None:
        # Broken off: an apply is taken back, a rollback goes on.
        return pending.to if pending.order == "rollback" else record.standing
    if record.standing is None:
        raise _nothing()
    return record.history[-1] if record.history else None


def _nothing() -> EngineError:
    return EngineError(
        "nothing-applied", "nothing of ours is in this server", "put it there with: sealgate apply"
    )
