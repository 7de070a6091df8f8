"""One TLS connection of a worker: never blocking for its poller, patient within bounds for the app's thread.

Theory: in each phase a connection has one owner. The poller shakes hands, reads whole requests, flushes what
is left of an answer, and closes. The app's thread only writes: as far as the kernel takes it, then into
`outbox`; only beyond that it waits, and then it has no turn (`readers.py`, `turns.py`). So neither slow
senders nor slow readers keep the app from others. The one thing that both may do at once is to end the
exchange, under a lock: an app that is too slow has lost its connection.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import hashlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sealgate.runtime.inside.gunicorn.framing import Chunks
from sealgate.runtime.inside.gunicorn.inbox import Inbox
from sealgate.runtime.inside.gunicorn.readers import Readers
from sealgate.runtime.inside.head import Head

__all__ = ["Connection", "Phase"]

Address = tuple[Any, ...]
"""As `socket.getpeername` gives it."""

_PIECE = 64 * 1024
_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Phase(enum.Enum):
    """What is waited for."""

    HANDSHAKE = "handshake"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    FLUSH = "flush"
    LINGER = "linger"
    CLOSED = "closed"


class Connection:
    """A client's connection.

    Args:
        tls: not blocking; the handshake is still to come.
        client: its address and port.
        server: the listener's.
        idle: seconds after which a reader that takes nothing is given up.
        folder: for large request bodies.
        readers: says how much of an answer is kept for who does not read it.
        aside: around each wait of the app's thread for its reader, with the bytes that it holds.

    Attributes:
        since: when the phase began.
        began: when the first byte of the request came; 0: none did.
        moved: when something was last written.
        taken: bytes of the answer that went out.
        answering: when its first byte was ready.
        begun: the answer has begun.
        cut: ended from outside of the app's thread, which may not know yet.
        last: no request after this one.
        events: what the poller waits for; 0: it does not.
    """

    def __init__(
        self,
        tls: ssl.SSLSocket,
        client: Address,
        server: Address,
        *,
        idle: float,
        folder: str | None,
        readers: Readers,
        aside: Callable[[Connection, int], AbstractContextManager[None]],
    ) -> None:
        self.tls, self.client, self.server = tls, client, server
        self.inbox = Inbox(folder)
        self.outbox = bytearray()
        self.phase = Phase.HANDSHAKE
        self.since = self.moved = time.monotonic()
        self.began = self.answering = 0.0
        self.taken = 0
        self.begun = self.cut = self.last = False
        self.events = 0
        self.parser: Any = None
        self.request: Any = None
        self.length = 0
        self.head = Head()
        self.chunks: Chunks | None = None
        self.certificate = b""
        self.version: str | None = None
        self.cipher: str | None = None
        self.fingerprint = ""
        self._idle, self._readers, self._aside = idle, readers, aside
        self._lock = threading.Lock()

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        self.phase, self.since = phase, time.monotonic()

    def expect(self) -> None:
        """Begin to wait for a request; a part of it may be there already."""
        self.enter(Phase.HEAD)
        self.head, self.request, self.chunks = Head(), None, None
        self.begun, self.taken = False, 0
        self.inbox.settle()
        self.began = time.monotonic() if len(self.inbox) else 0.0

    def fileno(self) -> int:
        """For the poller; -1 once closed."""
        return self.tls.fileno()

    # The poller's

    def shake(self) -> int:
        """Go on with the handshake; what the poller must wait for, or 0: it is done. Raises OSError."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return select.POLLIN
        except ssl.SSLWantWriteError:
            return select.POLLOUT
        self.version, cipher = self.tls.version(), self.tls.cipher()
        self.cipher = cipher[0] if cipher else None
        self.certificate = self.tls.getpeercert(binary_form=True) or b""
        if self.certificate:
            self.fingerprint = hashlib.sha256(self.certificate).hexdigest()
        return 0

    def receive(self, most: int) -> bytes | None:
        """What came, at most so much; empty: the client ended; None: nothing for now. Raises OSError."""
        try:
            return self.tls.recv(min(most, _PIECE))
        except _WANTS:
            return None

    def flush(self) -> bool:
        """Write what can be written without waiting; true if nothing is left. Raises OSError."""
        with self._lock:
            return self._write()

    def _write(self) -> bool:
        while self.outbox:
            try:
                sent = self.tls.send(self.outbox[:_PIECE])
            except _WANTS:
                return False
            del self.outbox[:sent]
            self.taken += sent
            self.moved = time.monotonic()
        return True

    def answer_instead(self, data: bytes) -> bool:
        """The app has taken too long: answer for it, and let it write nothing more; false: it has begun."""
        with self._lock:
            if self.begun or self.cut:
                return False
            self.cut = True
            self.outbox += data
            with contextlib.suppress(OSError):
                self._write()
            self._half_close()
            return True

    def abort(self) -> None:
        """End an exchange in which nothing moves; the app's thread learns of it when it writes next."""
        with self._lock:
            self.cut = True
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.tls, socket.SHUT_RDWR)  # SSLSocket's own would forget its keys

    def half_close(self) -> None:
        """Say that nothing more comes (RFC 8446 §6.1, RFC 9112 §9.6)."""
        with self._lock:
            self._half_close()

    def _half_close(self) -> None:
        self.cut = True  # after the next step this socket would speak in the clear
        self.outbox.clear()
        with contextlib.suppress(OSError, ValueError):
            self.tls.unwrap()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.tls, socket.SHUT_WR)

    def drained(self) -> bool:
        """Throw away what still comes after the answer; true: the client has closed too."""
        try:
            return not socket.socket.recv(self.tls, _PIECE)
        except _WANTS:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """For good."""
        self.phase = Phase.CLOSED
        self.inbox.close()
        with contextlib.suppress(OSError):
            self.tls.close()

    # The app's thread's: what Gunicorn takes for a socket

    def stage(self, data: bytes) -> None:
        """Hold back a header, so that it leaves together with what follows."""
        with self._lock:
            self._check()
            self.outbox += data

    def sendall(self, data: bytes) -> None:
        """Write; waits while a slow reader has too much to read already.

        Raises:
            OSError: the client has gone, or the exchange was ended.
        """
        rest = self._keep(memoryview(data))
        while rest:
            with self._aside(self, len(rest) + len(self.outbox)):
                self._wait()
            rest = self._keep(rest)

    def _keep(self, data: memoryview) -> memoryview:
        """Write as much as the kernel takes, keep as much as we may; the rest."""
        with self._lock:
            self._check()
            while True:
                room = max(self._readers.patience - len(self.outbox), 0)
                self.outbox += data[:room]
                data = data[room:]
                if not self._write() or not data:
                    return data

    def send(self, data: bytes) -> int:
        """As of a socket."""
        self.sendall(data)
        return len(data)

    def push(self) -> None:
        """Let go of what was held back."""
        self.sendall(b"")

    def _check(self) -> None:
        if self.cut:
            raise BrokenPipeError(errno.EPIPE, "the exchange was ended")
        if not self.begun:
            self.begun, self.answering = True, time.monotonic()

    def _wait(self) -> None:
        """Until half of what is kept has gone: not a turn for each packet."""
        poll = select.poll()
        poll.register(self.tls.fileno(), select.POLLOUT)
        while True:
            ready = poll.poll(self._idle * 1000)
            with self._lock:
                if self.cut or not ready:
                    self.cut = True
                    raise TimeoutError(errno.ETIMEDOUT, "the client takes nothing")
                self._write()
                if len(self.outbox) <= self._readers.patience // 2:
                    return
