"""What the handshake client counts are full handshakes, whatever tickets a server hands out."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.connect import Target, _waits
from bench.pki import make_credentials

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, list[bool | None]]]:
    """A port, and for each connection whether it resumed a session."""
    credentials = make_credentials(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.chain, credentials.key)
    resumed: list[bool | None] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(4096)
                    resumed.append(connection.session_reused)
                    connection.sendall(ANSWER)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], resumed
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def test_no_session_is_resumed(server: tuple[int, list[bool | None]]) -> None:
    port, resumed = server
    answer = _waits(Target("127.0.0.1", port, ("127.0.0.1",)), count=5, seconds=20.0)
    assert answer["failed"] == 0
    assert resumed == [False] * 5
