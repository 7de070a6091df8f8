"""Answers that take their time arrive piece by piece."""

from __future__ import annotations

import time

import pytest

from tests.contract.sites import Site, on
from tests.live.wire import get, h2_connection

PATHS = {"wsgi": "/drip", "asgi": "/events"}


@on("usual", "asgi")
def test_a_stream_is_not_held_back(site: Site) -> None:
    """A piece every 50 ms: the first five are here long before a buffer would be full."""
    with site.served.connect() as tls:
        began = time.monotonic()
        tls.sendall(get("localhost", f"{PATHS[site.kind]}?h1-{began}"))
        tls.settimeout(5)
        data = b""
        while b"4\n" not in data.partition(b"\r\n\r\n")[2]:
            piece = tls.recv(65536)
            assert piece, data
            data += piece
        assert time.monotonic() - began < 3
    site.witness.wait_for(site.served, "/closed", f"h1-{began}")


@on("usual", "asgi")
def test_nor_over_http2(site: Site) -> None:
    if "h2" not in site.alpns:
        return
    connection = h2_connection(site.served)
    with connection.sock:
        began = time.monotonic()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost")]
        stream = connection.headers([*fields, (":path", f"{PATHS[site.kind]}?h2-{began}")])
        while stream not in connection.answers or b"4\n" not in connection.answers[stream].body:
            assert connection.step(5)
        assert time.monotonic() - began < 3
    site.witness.wait_for(site.served, "/closed", f"h2-{began}")


@on("usual")
@pytest.mark.parametrize("count", [30])
def test_a_connection_is_used_again(site: Site, count: int) -> None:
    with site.served.connect() as tls:
        tls.settimeout(5)
        for _ in range(count):
            tls.sendall(get("localhost", "/status?204", close=False))
            assert tls.recv(65536).startswith(b"HTTP/1.1 204 ")
