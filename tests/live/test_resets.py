"""What one client cancels is nobody else's loss: all clients' requests share connections to the workers."""

from __future__ import annotations

import collections
import struct
import threading
import time
from pathlib import Path

import h2.config
import h2.connection
import httpx
import pytest

from tests.live.served import Served, serve

HEADERS, RST_STREAM, SETTINGS = 1, 3, 4
CANCEL = struct.pack(">I", 8)
WHOLE = 5  # END_STREAM | END_HEADERS


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def cancelled(served: Served, count: int) -> None:
    """Sixty requests and their cancellations in one write, a few times."""
    fields = [(":method", "GET"), (":path", "/"), (":authority", served.host), (":scheme", "https")]
    for _ in range(count):
        encoder = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True)).encoder
        data = b""
        for stream in range(1, 121, 2):
            data += frame(HEADERS, WHOLE, stream, encoder.encode(fields)) + frame(
                RST_STREAM, 0, stream, CANCEL
            )
        with served.connect(alpn="h2") as tls:
            tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
            tls.sendall(data)
            time.sleep(0.05)


@pytest.mark.parametrize("app", ["ops:app", "ops:asgi"])
def test_cancelled_requests_cost_others_nothing(app: str, tmp_path: Path) -> None:
    with serve(tmp_path, app=app) as served:
        found: collections.Counter[int] = collections.Counter()

        def others() -> None:
            with httpx.Client(verify=served.context(), timeout=20) as client:
                for _ in range(4):
                    found[client.get(f"{served.url}/sleep?0.5").status_code] += 1

        threads = [threading.Thread(target=others) for _ in range(4)]
        for thread in threads:
            thread.start()
        cancelled(served, 20)
        for thread in threads:
            thread.join(60)
        assert found == {200: 16}
