"""Slow senders and slow readers cost the app nothing; whole uploads arrive whole."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.served import Served, serve

THREADS = 2
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("echo")
    site = {"threads": THREADS}
    with serve(folder, app="echo:app", site=site, limits={"body": "4MiB"}) as served:
        yield served


def begin(served: Served, fields: str, body: bytes) -> ssl.SSLSocket:
    """A request whose body is not (yet) complete."""
    connection = served.connect()
    head = f"POST /upload HTTP/1.1\r\nHost: {served.host}:{served.https}\r\n{fields}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Content-Length: 100", b"hello"),
        (f"Content-Length: {2 * MEBIBYTE}", b"x" * (2 * MEBIBYTE)),
    ],
    ids=["chunked", "length", "gone at once"],
)
def test_clients_that_go_away_hold_no_thread(echo: Served, fields: str, body: bytes) -> None:
    for _ in range(5 * THREADS):
        connection = begin(echo, fields, body)
        # A reset, not a close: nothing is left to be read.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    began = time.monotonic()
    assert echo.client(timeout=10).get("/").status_code == 200
    assert time.monotonic() - began < 5


def test_slow_uploads_leave_the_app_to_others(echo: Served) -> None:
    slow = [begin(echo, "Content-Length: 1000", b"slow") for _ in range(10 * THREADS)]
    try:
        client = echo.client(timeout=10)
        began = time.monotonic()
        assert all(client.get("/").status_code == 200 for _ in range(10))
        assert time.monotonic() - began < 3
    finally:
        for connection in slow:
            connection.close()


def test_readers_that_do_not_read_leave_the_app_to_others(echo: Served) -> None:
    slow = [echo.connect() for _ in range(20 * THREADS)]
    try:
        for connection in slow:
            request = f"GET /stream?50000 HTTP/1.1\r\nHost: {echo.host}:{echo.https}\r\n\r\n"
            connection.sendall(request.encode())
        client = echo.client(timeout=10)
        for _ in range(10):
            assert client.get("/").status_code == 200
            time.sleep(0.1)  # long enough for 50 MB to fill every buffer on the way
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("sized", [True, False], ids=["length", "chunked"])
def test_whole_uploads_arrive_whole_and_with_their_length(echo: Served, *, http2: bool, sized: bool) -> None:
    body = bytes(range(256)) * (3 * MEBIBYTE // 256)
    pieces = [body[place : place + 65536] for place in range(0, len(body), 65536)]
    content = body if sized else (piece for piece in pieces)
    seen = echo.client(http2=http2).post("/upload", content=content).json()
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()
    assert seen["environ"]["CONTENT_LENGTH"] == str(len(body))
