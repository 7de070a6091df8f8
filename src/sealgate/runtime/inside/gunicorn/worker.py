"""Gunicorn's threaded worker with another front: threads see whole requests only.

Gunicorn's own worker hands each new connection to a thread, which shakes hands, waits for the header and the
body and writes the answer, blocking: as many stalled clients as there are threads stop the worker. Here one
poller does all of that for all connections, without blocking and within the policy's times and sizes, and the
threads only run the app (``connection.py`` says who owns what). Gunicorn's parser reads the request once it
is whole, Gunicorn's code makes environ and answer.
"""

from __future__ import annotations

import contextlib
import errno
import select
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, NoReturn

from gunicorn import sock as gunicorn_sock
from gunicorn.arbiter import Arbiter
from gunicorn.http import RequestParser

from sealgate.errors import AppError, SealgateError
from sealgate.falcon import introduce
from sealgate.runtime.app import interface_of
from sealgate.runtime.inside.answers import problem_bytes
from sealgate.runtime.inside.gunicorn.answering import Answering
from sealgate.runtime.inside.gunicorn.connection import Connection, Phase
from sealgate.runtime.inside.gunicorn.deadlines import due
from sealgate.runtime.inside.gunicorn.plan import PLACES, Plan
from sealgate.runtime.inside.gunicorn.readers import Readers
from sealgate.runtime.inside.gunicorn.reading import Unfit, is_whole, room
from sealgate.runtime.inside.gunicorn.record import host_of
from sealgate.runtime.inside.gunicorn.turns import Turns

__all__ = ["Worker"]

_TICK = 0.1
_SLOW_TICK = 1.0
_LINGER = 1.0
_MOST_AT_ONCE = 64  # new connections between two looks at the others
_MOST_OF_ONE = 256 * 1024  # bytes of one connection, the same
_UNSENT = 128 * 1024  # in the kernel; megabytes there would hide who reads slowly, and cost as much
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BROKEN = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP}
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Worker(Answering):
    """One worker process. A subclass with a `plan` is what Gunicorn is given: see :meth:`by`."""

    plan: ClassVar[Plan]

    @classmethod
    def by(cls, plan: Plan) -> type[Worker]:
        """The worker class for a plan."""
        return type("Worker", (cls,), {"plan": plan})

    @staticmethod
    def place_of(worker: Any) -> int:  # noqa: ANN401 - Gunicorn's
        """Its place in the shared count of connections, where nobody gives it one."""
        return int(worker.age) % (PLACES - 1) + 1

    # Starting

    def init_process(self) -> None:
        """In the new process: the certificate first, so that its lack is said before the app is imported."""
        self._orders = self.plan.orders
        try:
            self._context = gunicorn_sock.ssl_context(self.cfg)
        except SealgateError as error:
            self._give_up(error)
        self._hsts = self.plan.hsts
        place = self.plan.place or self.place_of(self)
        self._budget, self._counts = self.plan.counted(place), self.plan.row(place)
        self._journal = self.plan.log()
        self._connections: set[Connection] = set()
        self._stopping = self._looked = 0.0
        self._readers = Readers(self.cfg.threads, lambda text: self.log.warning("%s", text))
        super().init_process()

    def get_thread_pool(self) -> Turns:
        """Gunicorn's hook."""
        return Turns(self.cfg.threads)

    @contextlib.contextmanager
    def _aside(self, connection: Connection, held: int) -> Iterator[None]:
        """The app's thread waits for its reader: somebody else may have its turn."""
        turns: Turns = self.tpool
        with self._readers.waiting(connection, held):
            turns.step_aside()
            try:
                yield
            finally:
                turns.come_back()

    def _give_up(self, error: SealgateError) -> NoReturn:
        self.log.error("%s", error)
        sys.exit(Arbiter.APP_LOAD_ERROR)

    def load_wsgi(self) -> None:
        """The app behind the guard; ends the process where it is no WSGI app."""
        try:
            super().load_wsgi()
            if interface_of(self.wsgi, "the app") != "wsgi":
                fact = "Gunicorn serves WSGI apps, and the app is ASGI"
                raise AppError("app-not-callable", fact, "use the engine uvicorn or envoy")
            if self.plan.compiled is not None:  # else it was loaded by us, and introduced
                introduce(self.wsgi)
            self.wsgi = self.plan.guarded(self.wsgi, self._counts)
        except SealgateError as error:
            self._give_up(error)

    # The poller

    def run(self) -> None:
        """Until told to stop; then until what is under way has come to its end."""
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self._turn()
        self._stop()

    def _turn(self) -> None:
        self.wait_for_and_dispatch_events(timeout=_TICK if self._connections else _SLOW_TICK)
        now = time.monotonic()
        if now - self._looked < _TICK:
            return
        self._looked = now
        if not self._stopping:
            self.set_accept_enabled(True)
        self.notify()  # touches a file: not each time
        self._readers.measure(len(connection.outbox) for connection in self._connections)
        for connection in [c for c in self._connections if due(c, self._orders, now, self._stopping)]:
            self._expire(connection)

    def _stop(self) -> None:
        for listener in self.sockets:
            self.accept(listener)  # who is in the queue already would be reset
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        self._stopping = time.monotonic()
        end = self._stopping + self._orders.drain_seconds
        while self._connections and time.monotonic() < end:
            self._turn()
        for connection in tuple(self._connections):
            self._close(connection)
        self.tpool.shutdown(wait=False)
        if self._journal is not None:
            self._journal.close()

    def accept(self, listener: Any) -> None:  # noqa: ANN401 - Gunicorn's listener
        """Take new connections, as far as there may be more."""
        for _ in range(_MOST_AT_ONCE):
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno in _BROKEN:
                    raise
                if error.errno in _FULL:  # it would be ready again at once, for nothing
                    self.set_accept_enabled(False)
                return
            if not self._budget.take():
                client.close()
                continue
            self._begin(client, address, listener)

    def _begin(self, client: socket.socket, address: Any, listener: Any) -> None:  # noqa: ANN401 - as accept()
        try:
            client.setblocking(False)  # noqa: FBT003 - the standard library's signature
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
            tls = self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):  # gone already
            client.close()
            self._budget.give()
            return
        server = listener.getsockname()
        connection = Connection(
            tls,
            address,
            server,
            idle=self._orders.idle_seconds,
            folder=self.plan.folder,
            readers=self._readers,
            aside=self._aside,
        )
        self._connections.add(connection)
        self.nr_conns = len(self._connections)
        self._watch(connection, select.POLLIN)

    def _watch(self, connection: Connection, wanted: int) -> None:
        """Wait for these events on it; 0: for none."""
        if wanted == connection.events:
            return
        events = (selectors.EVENT_READ if wanted & select.POLLIN else 0) | (
            selectors.EVENT_WRITE if wanted & select.POLLOUT else 0
        )
        if not wanted:
            self.poller.unregister(connection)
        elif connection.events:
            self.poller.modify(connection, events, partial(self._ready, connection))
        else:
            self.poller.register(connection, events, partial(self._ready, connection))
        connection.events = wanted

    def _close(self, connection: Connection) -> None:
        if connection.phase is Phase.CLOSED:
            return
        with contextlib.suppress(OSError, KeyError, ValueError):
            self._watch(connection, 0)
        connection.close()
        self._connections.discard(connection)
        self.nr_conns = len(self._connections)
        self._budget.give()

    def _ready(self, connection: Connection, _file: object = None) -> None:
        """Go on with a connection that waited for the poller."""
        try:
            match connection.phase:
                case Phase.HANDSHAKE:
                    self._shake(connection)
                case Phase.HEAD | Phase.BODY:
                    self._receive(connection)
                case Phase.FLUSH:
                    self._flush(connection)
                case Phase.LINGER:
                    if connection.drained():
                        self._close(connection)
                case _:  # it has more to say before it has its answer
                    self._watch(connection, 0)
        except Exception as error:  # noqa: BLE001 - one connection's mishap must not end the others
            self._mishap(connection, error)

    def _mishap(self, connection: Connection, error: Exception) -> None:
        """End a connection; what is not the client's doing is said."""
        if not isinstance(error, (OSError, ValueError)):
            self.log.error("unexpected on a connection", exc_info=error)
        self._close(connection)

    def _shake(self, connection: Connection) -> None:
        wanted = connection.shake()
        if wanted:
            self._watch(connection, wanted)
            return
        parser = RequestParser(self.cfg, (), connection.client)
        parser.unreader = connection.inbox
        connection.parser = parser
        self._next(connection)

    def _next(self, connection: Connection) -> None:
        """Wait for a request; a part of it may be there already."""
        connection.expect()
        if not self._look(connection):
            return
        if connection.tls.pending():
            self._receive(connection)
        else:
            self._watch(connection, select.POLLIN)

    def _receive(self, connection: Connection) -> None:
        """Take what came, until the request is whole, nothing more is there, or it is others' turn."""
        taken = 0
        # What OpenSSL has of a record already, no poll tells of.
        while connection.phase in {Phase.HEAD, Phase.BODY} and (
            taken < _MOST_OF_ONE or connection.tls.pending()
        ):
            data = connection.receive(room(connection))
            if data is None:
                self._watch(connection, select.POLLIN)
                return
            if not data:
                self._close(connection)
                return
            connection.began = connection.began or time.monotonic()
            if connection.chunks is not None:
                connection.chunks.feed(data)
            connection.inbox.add(data)
            taken += len(data)
            if not self._look(connection):
                return
        self._watch(connection, select.POLLIN)

    def _look(self, connection: Connection) -> bool:
        """Is more of the request to be waited for? If not, off it goes."""
        try:
            whole = is_whole(connection, self._orders)
        except Unfit as unfit:
            return self._refuse(connection, unfit.slug)
        if whole:
            self._hand_over(connection)
            return False
        request = connection.request
        if request is not None and request._expected_100_continue:  # noqa: SLF001 - Gunicorn would send it from a thread
            request._expected_100_continue = False  # noqa: SLF001 - as above
            connection.outbox += _CONTINUE
            connection.flush()
        return True

    def _hand_over(self, connection: Connection) -> None:
        """To a thread."""
        connection.request._expected_100_continue = False  # noqa: SLF001 - the body is here
        connection.enter(Phase.ANSWER)
        self.tpool.submit(self._work, connection)

    def _work(self, connection: Connection) -> None:
        """In a thread: answer, and give the connection back, whatever happens."""
        more = False
        try:
            more = self.handle(connection)
        finally:
            self.method_queue.defer(self._finish, connection, more)

    def _finish(self, conn: Connection, more: bool) -> None:  # noqa: FBT001 - from a queue of calls
        """The thread is done with it."""
        if conn.phase is Phase.CLOSED:
            return
        conn.last = conn.last or not more
        conn.enter(Phase.FLUSH)
        try:
            self._flush(conn)
        except Exception as error:  # noqa: BLE001 - same
            self._mishap(conn, error)

    def _flush(self, connection: Connection) -> None:
        """Write what is left of an answer, then wait for the next request, or for the end."""
        if not connection.cut and not connection.flush():
            self._watch(connection, select.POLLOUT)
            return
        if not connection.last and not connection.cut:
            self._next(connection)
            return
        connection.half_close()
        connection.enter(Phase.LINGER)
        if connection.drained():
            self._close(connection)
        else:
            self._watch(connection, select.POLLIN)

    def _refuse(self, connection: Connection, slug: str) -> bool:
        """Answer without the app, and end the connection. Always false."""
        request = connection.request
        method = str(getattr(request, "method", None) or "")
        host = host_of(request)
        said = problem_bytes(slug, self._hsts, host=host, method=method)
        self._refused(connection, slug, said)
        connection.last = True
        connection.outbox += said
        connection.enter(Phase.FLUSH)
        self._flush(connection)
        return False

    # Time

    def _expire(self, connection: Connection) -> None:
        try:
            if connection.phase is Phase.ANSWER:
                self._cut(connection)
            elif connection.phase in {Phase.HEAD, Phase.BODY} and connection.began:
                self._refuse(connection, "request-timeout")
            else:
                self._close(connection)
        except Exception as error:  # noqa: BLE001 - same
            self._mishap(connection, error)

    def _cut(self, connection: Connection) -> None:
        """The app does not begin to answer, or nothing moves: its thread cannot be stopped, this can."""
        host = host_of(connection.request)
        said = problem_bytes("app-timeout", self._hsts, host=host, method=connection.request.method)
        if connection.answer_instead(said):
            self._refused(connection, "app-timeout", said)
        else:
            connection.abort()
