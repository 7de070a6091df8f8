"""Name servers that are not as they should be: UDP answers made by a function; TCP goes to a real one."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator

Behind = Callable[[bytes], bytes]
"""From a query to its answer; empty: none."""


def _udp(behind: Behind) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            if answer := behind(data):
                sock.sendto(answer, self.client_address)

    return Handler


def _tcp(real: tuple[str, int]) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = self.rfile.read(2)
            (length,) = struct.unpack("!H", head)
            with socket.create_connection(real, timeout=20) as sock, sock.makefile("rb") as answers:
                sock.sendall(head + self.rfile.read(length))
                head = answers.read(2)
                (size,) = struct.unpack("!H", head)
                self.wfile.write(head + answers.read(size))

    return Handler


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def odd(address: str, behind: Behind, *, port: int = 0, real: tuple[str, int] | None = None) -> Iterator[int]:
    """A server at an address; its port. By TCP it is ``real``, where that is given."""
    with contextlib.ExitStack() as stack:
        udp = socketserver.ThreadingUDPServer((address, port), _udp(behind))
        stack.enter_context(_serving(udp))
        found = int(udp.server_address[1])
        if real is not None:
            stack.enter_context(_serving(socketserver.ThreadingTCPServer((address, found), _tcp(real))))
        yield found
