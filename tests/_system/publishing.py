"""A server of lists that may answer anything: sound, slow, endless, or lies."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[["Call"], object]


@dataclass
class Call:
    """One request, and the way to answer it.

    ``gone``: set when the test is over. ``body``: what was posted.
    """

    path: str
    fields: dict[str, str]
    connection: Any
    gone: threading.Event
    method: str = "GET"
    body: bytes = b""

    def say(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, status: int, body: bytes = b"", **fields: object) -> None:
        """A whole answer; ``Content_Length`` may lie."""
        named = {"Content-Length": len(body), **{name.replace("_", "-"): v for name, v in fields.items()}}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.say(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + body)

    def endlessly(self, piece: bytes, *, pause: float = 0.0) -> None:
        """Until the peer goes, or the test is over."""
        while not self.gone.wait(pause):
            self.say(piece)


@dataclass
class Publisher:
    """``answers``: by path. ``calls``: what was asked."""

    address: str
    port: int
    scheme: str
    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "") -> str:
        return f"{self.scheme}://{host or self.address}:{self.port}{path}"


@contextlib.contextmanager
def publishing(address: str = "127.0.0.1", *, context: ssl.SSLContext | None = None) -> Iterator[Publisher]:
    gone = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(60)
            with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
                # OSError: who asks goes away in the middle, which is the point.
                connection = self.request
                if context:
                    connection = opened.enter_context(context.wrap_socket(connection, server_side=True))
                with connection.makefile("rb") as file:
                    line = file.readline().split()
                    lines = iter(file.readline, b"\r\n")
                    pairs = [one.decode("latin-1").strip().split(": ", 1) for one in lines]
                    fields = {name.lower(): v for name, v in pairs}
                    body = file.read(int(fields.get("content-length", "0")))
                call = Call(line[1].decode(), fields, connection, gone, line[0].decode(), body)
                publisher.calls.append(call)
                publisher.answers[call.path](call)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server((address, 0), Handler) as server:
        publisher = Publisher(address, server.server_address[1], "https" if context else "http")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield publisher
        finally:
            gone.set()
            server.shutdown()
            thread.join()
