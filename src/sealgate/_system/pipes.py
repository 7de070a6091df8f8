"""Pipes that another process writes many small pieces to, and that are read in few large ones.

A reader that waits in read(2) is woken for every write: for access logs that is a change of process for each
request, and costs more than the line itself. So a pipe is made as large as an ordinary user may have it, and
after each piece its reader sleeps a moment in which more can gather. The writer notices nothing: the pipe
would have to fill up within that moment, and then the reader does not sleep.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

__all__ = ["gathered"]

_LARGE = 1 << 20
"""Bytes; what an ordinary user may ask for (``/proc/sys/fs/pipe-max-size``)."""

_MOMENT = 0.05
"""Seconds that a large pipe is left alone; a smaller one accordingly less."""


def gathered(end: int, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    """What comes out of a pipe, until nobody can write to it any more.

    Args:
        end: descriptor to read from; stays open.
        sleep: seconds to let pass.

    Raises:
        OSError: it cannot be read.
    """
    room = _enlarged(end)
    while piece := os.read(end, room):
        yield piece
        if len(piece) < room // 2:
            sleep(_MOMENT * room / _LARGE)


def _enlarged(end: int) -> int:
    """Make it large, and say how large it is: who has many pipes already gets no large ones (pipe(7))."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux has it
        return _LARGE // 16
    with contextlib.suppress(OSError):
        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _LARGE)
    return fcntl.fcntl(end, fcntl.F_GETPIPE_SZ)
