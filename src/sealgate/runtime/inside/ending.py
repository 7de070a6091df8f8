"""How an HTTP/1.1 connection ends: what was written reaches the peer, and nobody is waited for without end.

A slow reader gets his time, a silent one `timeouts.idle`. After that the peer is told (TLS's close), and has
as long again for what lies in buffers that nobody can look into; where there cannot be much of that, one that
does not answer is not waited for so long.
"""

from __future__ import annotations

import asyncio

from sealgate.runtime.inside.deadlines import Alarm

__all__ = ["Ending"]

_LINGER = 2.0
_GOODBYE = 2.0
_LITTLE = 64 * 1024
_POLL = 0.1


class Ending:
    """Of one connection.

    Args:
        transport: to the peer.
        loop: whose clock counts.
        alarm: the connection's.
        idle: seconds for a peer that takes nothing.

    Attributes:
        begun: it only waits for its end.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, alarm: Alarm, idle: float
    ) -> None:
        self._transport, self._loop, self._alarm, self._idle = transport, loop, alarm, idle
        self._until = 0.0
        self.begun = False

    def finish(self, sent: int) -> None:
        """Close once all that was written is on its way; `sent`: bytes of the last answer."""
        if self._transport.is_closing():
            return
        if not self._transport.get_write_buffer_size():
            self.close(sent)
            return
        self.begun = True
        self._alarm.at(self._loop.time() + _POLL)

    def linger(self) -> None:
        """The same, but a moment later: what still comes is read and thrown away meanwhile.

        Closing over unread bytes would reset what was just said.
        """
        self.begun, self._until = True, self._loop.time() + _LINGER
        self._alarm.at(self._until)

    def close(self, sent: int) -> None:
        """Say so, and wait a while for an answer."""
        self._transport.close()
        if sent < _LITTLE:
            self._alarm.instead(_GOODBYE, self._transport.abort)

    def ring(self, now: float, size: int, moved: float, sent: int) -> None:
        """It is time to look; `size`: bytes that still wait; `moved`: when they last became fewer."""
        if size and now - moved > self._idle:
            self._transport.abort()
        elif not size and now >= self._until:
            self.close(sent)
        else:
            self._alarm.at(now + _POLL if size else self._until)
