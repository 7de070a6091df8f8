"""A backend that Sealgate knows nothing of: an HTTP server in a thread, that keeps what it was sent."""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Backend:
    """`url` is for `site.upstream`; `seen`: requests in order: method, path, fields (lower case), size."""

    url: str
    seen: list[dict[str, Any]] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[dict[str, Any]]

    def _take(self) -> None:
        body = b""
        if length := self.headers.get("content-length"):
            body = self.rfile.read(int(length))
        elif self.headers.get("transfer-encoding"):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        fields = [(name.lower(), value) for name, value in self.headers.items()]
        seen = {"method": self.command, "path": self.path, "fields": fields, "size": len(body)}
        self.seen.append(seen)
        if self.path.startswith("/sleep"):
            time.sleep(float(self.path.partition("?")[2]))
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Powered-By", "Backend")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_HEAD = do_OPTIONS = do_TRACE = _take  # noqa: N815 - the names are given

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is given
        """Quiet."""

    def address_string(self) -> str:
        return "peer"


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = False  # ended with the connections, and waited for
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A refused handshake is what some tests are about."""


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = False  # ended with the connections, and waited for

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet as well."""


@contextmanager
def backend(
    *, tls: ssl.SSLContext | None = None, path: Path | None = None, name: str = "127.0.0.1"
) -> Iterator[Backend]:
    """Over TCP, TLS or a unix socket; `name` is what its URL calls it."""
    seen: list[dict[str, Any]] = []
    handler = type("Handler", (_Handler,), {"seen": seen})
    server: socketserver.BaseServer
    if path is not None:
        server, url = _Unix(str(path), handler), f"unix:{path}"
    else:
        tcp = _Tcp(("127.0.0.1", 0), handler)
        scheme = "https" if tls else "http"
        server, url = tcp, f"{scheme}://{name}:{tcp.server_address[1]}"
        if tls:
            tcp.socket = _Lazy(tcp.socket, tls)  # type: ignore[assignment]  # accepts TLS connections
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Backend(url, seen)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Lazy:
    """A listening socket whose connections make their handshake on first use, in the handler's thread."""

    def __init__(self, inner: socket.socket, context: ssl.SSLContext) -> None:
        self._inner, self._context = inner, context

    def accept(self) -> tuple[ssl.SSLSocket, Any]:
        raw, address = self._inner.accept()
        return self._context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False), address

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
