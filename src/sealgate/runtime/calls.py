"""How a WSGI app is called (PEP 3333) by a Granian worker.

Granian hands over a request together with the place to answer it, which may be answered from any thread.
That is used for streamed answers: they are made in threads of their own, so that slow readers are in nobody's
way. Everything else is answered where it came in. What Granian gives no means for: to tell the reader that a
streamed answer of no announced length has failed midway; it ends as if it were whole.

Granian's own caller is not used: it puts the worker's whole process environment (and the secrets in it) into
each request's environ, and takes status and headers before a generator has named them.
"""

from __future__ import annotations

import errno
import io
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from sealgate.guard.problems import answer
from sealgate.policy.problems import problem

__all__ = ["Caller"]

App = Callable[..., Iterable[bytes]]
Headers = list[tuple[str, str]]

_FULL = problem("app-unavailable")
_MOST_STREAMS = 512  # threads that may wait for readers of streamed answers
_IDLE_SECONDS = 30.0  # after which such a thread ends
_FIXED: dict[str, Any] = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "Granian",
    "wsgi.errors": sys.stderr,
    # Not in PEP 3333: the end of the input is the end of the body, whatever Content-Length says.
    "wsgi.input_terminated": True,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}


class Place(Protocol):
    """Granian's end: where a request is answered, once."""

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer."""

    def response_iter(self, status: int, headers: Headers, body: object) -> None:
        """Piece by piece, by ``__next__`` and ``close``; returns when the reader has all, or has gone."""


class Caller:
    """Calls an app; at most ``threads`` of its calls, or pieces of its streamed answers, run at once.

    ``answered`` is told the status of each answer, and the nanoseconds until it was handed over whole.
    """

    def __init__(
        self, app: App, threads: int, answered: Callable[[int, int], None] = lambda _status, _time: None
    ) -> None:
        self._app, self._answered = app, answered
        self._streams = _Threads(_MOST_STREAMS)
        # Of tokens: a semaphore at a tenth of its cost.
        self._turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(threads):
            self._turns.put(None)

    def __call__(self, place: Place, environ: dict[str, Any]) -> None:
        """Answer one request. What the app raises before it has answered goes to Granian, which says 500."""
        began = time.perf_counter_ns()
        environ.update(_FIXED)
        environ["wsgi.input"] = _Input(environ["wsgi.input"], environ.get("CONTENT_LENGTH", ""))
        start = _Start()
        self._turns.get()
        try:
            result = self._app(environ, start)
            if isinstance(result, list) and start.status:
                body = result[0] if len(result) == 1 else b"".join(result)
                if start.written:
                    body = b"".join(start.written) + body
                place.response_bytes(start.status, start.headers, body)
                self._answered(start.status, time.perf_counter_ns() - began)
                return
            pieces = _begun(result, start, place)
        except BaseException:
            self._answered(500, time.perf_counter_ns() - began)
            raise
        finally:
            self._turns.put(None)
        if pieces is None:
            self._answered(start.status, time.perf_counter_ns() - began)
            return
        stream = _Stream(pieces, result, self._turns)

        def streamed() -> None:
            try:
                place.response_iter(start.status, start.headers, stream)
            finally:
                self._answered(start.status, time.perf_counter_ns() - began)

        if not self._streams.run(streamed):
            stream.close()
            said = answer(_FULL, method=str(environ["REQUEST_METHOD"]))
            place.response_bytes(said.status, list(said.headers), said.body)
            self._answered(said.status, time.perf_counter_ns() - began)


class _Start:
    """``start_response`` of one request, and what it was told."""

    __slots__ = ("headers", "status", "written")

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.written: list[bytes] = []

    def __call__(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:  # noqa: ANN401 - as sys.exc_info()
        if self.status and not exc_info:
            raise AssertionError("start_response was called twice without exc_info (PEP 3333)")
        self.status = int(status[:3])
        self.headers = headers
        return self.written.append

    def check(self) -> None:
        """Was it called?"""
        if not self.status:
            raise AssertionError("the app did not call start_response (PEP 3333)")


def _begun(result: Iterable[bytes], start: _Start, place: Place) -> Iterator[bytes] | None:
    """The pieces of an answer; None if it was whole with its first one, and is on its way.

    The first piece is asked for at once: a generator names its status only then. An answer of the length that
    it announced is whole, so that frameworks whose every answer is an iterable need no second thread.
    """
    pieces = iter(result)
    try:
        first = next(pieces, None)
        start.check()
        whole = b"".join((*start.written, first or b""))
        if first is None or any(
            name.lower() == "content-length" and value == str(len(whole)) for name, value in start.headers
        ):
            place.response_bytes(start.status, start.headers, whole)
            _close(result)
            return None
    except BaseException:
        _close(result)
        raise
    return itertools.chain((whole,), pieces)


def _close(result: object) -> None:
    close: Callable[[], None] | None = getattr(result, "close", None)
    if close is not None:
        close()


class _Stream:
    """A streamed answer, made piece by piece while holding one of the app's turns."""

    __slots__ = ("_next", "_result", "_turns")

    def __init__(self, pieces: Iterator[bytes], result: object, turns: SimpleQueue[None]) -> None:
        self._next = pieces.__next__
        self._result = result
        self._turns = turns

    def __next__(self) -> bytes:
        self._turns.get()
        try:
            return self._next()
        finally:
            self._turns.put(None)

    def close(self) -> None:
        """As PEP 3333 asks."""
        _close(self._result)


class _Threads:
    """Threads for what may take long, made when needed, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._count = 0
        self._idle = 0

    def run(self, task: Callable[[], None]) -> bool:
        """Start ``task`` in a thread of its own; false: there is none left.

        Never here: the caller's thread is the app's, and would wait for a reader who does not read.
        """
        with self._lock:
            if self._idle:
                self._idle -= 1
                self._tasks.put(task)
                return True
            if self._count >= self._most:
                return False
            self._count += 1
        try:
            threading.Thread(target=self._work, args=(task,), daemon=True).start()
        except RuntimeError:  # the system gives no more of them
            with self._lock:
                self._count -= 1
            return False
        return True

    def _work(self, task: Callable[[], None]) -> None:
        while True:
            try:
                task()
            except BaseException:  # noqa: BLE001 - a thread that ended uncounted would be missed for ever
                traceback.print_exc()
            with self._lock:
                self._idle += 1
            try:
                task = self._tasks.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        self._count -= 1
                        return
                # Given away at the last moment: it is on its way.
                task = self._tasks.get()


class _Input:
    """A request body, taken from Granian at the first look at it.

    Granian's own input never returns from a sized read once the client is gone: each such request would cost
    a thread for ever. Reading all at once returns, with nothing; so what is missing is noticed by its length.
    The engine sends whole requests only, so there is nothing to wait for.
    """

    __slots__ = ("_data", "_inner", "_length")

    def __init__(self, inner: Any, length: str) -> None:  # noqa: ANN401 - Granian's type has no name
        self._inner = inner
        self._length = length
        self._data: io.BytesIO | None = None

    def _all(self) -> io.BytesIO:
        if self._data is None:
            data = self._inner.read()
            if self._length.isdecimal() and len(data) != int(self._length):
                raise ConnectionResetError(
                    errno.ECONNRESET, "the client went away before its request was complete"
                )
            self._data = io.BytesIO(data)
        return self._data

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        return self._all().read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._all())

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a file has
        return getattr(self._all(), name)
