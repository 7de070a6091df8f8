"""A small responder of our own for http-01, where nobody listens on the plain addresses; no more.

One thread with an event loop: bounded connections, and seconds and bytes for each; GET and HEAD of an
answer's path only. Everything else is 404, and every connection is closed after its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Self

from sealgate._system.ports import probe
from sealgate.acme.solvers.http import PATH
from sealgate.policy.values import Endpoint

__all__ = ["Responder"]

_CONNECTIONS, _SECONDS, _LARGEST = 512, 5.0, 8192
_REQUEST = re.compile(
    rb"(GET|HEAD) (?:http://[^/ ]+)?" + re.escape(PATH.encode()) + rb"([A-Za-z0-9_-]{1,200})"
    rb"(?:\?[^ ]*)? HTTP/1\.[01]\r\n"
)


def _listening(endpoint: Endpoint) -> socket.socket:
    probe(endpoint.host, endpoint.port)  # says why not, and who has it
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    return socket.create_server((endpoint.host, endpoint.port), family=family, backlog=128)


class Responder:
    """Listens while it is entered; :meth:`tell` is for ``HttpSolver``.

    Raises:
        ListenError: on entering: ``port-taken``, ``port-forbidden``, ``address-absent``.
        OSError: on entering: the system gives nothing more to serve with.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = endpoints
        self._answers: dict[bytes, bytes] = {}
        self._open = 0
        self._stop: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None
        self._sockets: list[socket.socket] = []

    def tell(self, answers: Mapping[str, str]) -> None:
        """From now on exactly these are answered."""
        self._answers = {token.encode(): text.encode() for token, text in answers.items()}

    def __enter__(self) -> Self:
        try:
            for endpoint in self._endpoints:
                self._sockets.append(_listening(endpoint))
        except BaseException:
            self._close()
            raise
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="acme-http-01", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._close()
            raise
        return self

    def _run(self, ready: Future[None]) -> None:
        """Serve; what keeps it from beginning is raised where that is waited for."""
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    def __exit__(self, *_error: object) -> None:
        if self._thread is not None and self._stop is not None:
            self._stop()
            self._thread.join()
        self._close()

    def _close(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    async def _serve(self, ready: Future[None]) -> None:
        end = asyncio.Event()
        self._stop = partial(asyncio.get_running_loop().call_soon_threadsafe, end.set)
        async with contextlib.AsyncExitStack() as stack:
            for sock in self._sockets:
                server = await asyncio.start_server(self._connection, sock=sock, limit=_LARGEST)
                await stack.enter_async_context(server)
            ready.set_result(None)
            await end.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _CONNECTIONS:
                async with asyncio.timeout(_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open -= 1
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        match = _REQUEST.match(head)
        text = self._answers.get(match[2]) if match else None
        if match is None or text is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        fields = f"Content-Type: application/octet-stream\r\nContent-Length: {len(text)}\r\nConnection: close"
        body = text if match[1] == b"GET" else b""
        return b"HTTP/1.1 200 OK\r\n" + fields.encode() + b"\r\n\r\n" + body
