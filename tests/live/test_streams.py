"""What is large, long or two-way: uploads, streamed answers, WebSocket, events, and their ends."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.live.served import Served
from tests.live.wire import H2, Witness, get, h2_connection, read_until_closed, witnessed

Site = tuple[Served, Witness]

UPLOAD = os.urandom(20 * 1024 * 1024)
DIGEST = hashlib.sha256(UPLOAD).hexdigest()
LARGE = {"body": "32MiB"}


@pytest.fixture(scope="module")
def wsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with witnessed(tmp_path_factory.mktemp("wsgi"), limits=LARGE) as pair:
        yield pair


@pytest.fixture(scope="module")
def asgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with witnessed(tmp_path_factory.mktemp("asgi"), app="witness:asgi", limits=LARGE) as pair:
        yield pair


@pytest.fixture(params=["wsgi", "asgi"])
def site(request: pytest.FixtureRequest) -> Site:
    pair: Site = request.getfixturevalue(request.param)
    return pair


def pieces() -> Iterator[bytes]:
    for at in range(0, len(UPLOAD), 100_000):
        yield UPLOAD[at : at + 100_000]


@pytest.mark.long
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_twenty_megabytes_up(site: Site, http2: bool, known: bool) -> None:
    served, _ = site
    client = served.client(http2=http2, timeout=60)
    seen = client.post("/up", content=UPLOAD if known else pieces()).json()
    assert (seen["size"], seen["sha256"]) == (len(UPLOAD), DIGEST)


def test_a_chunked_upload_to_a_falcon_app(orders: Served, orders_async: Served) -> None:
    """Falcon's `bounded_stream` reads nothing where there is no Content-Length."""
    for served in (orders, orders_async):
        client = served.client(timeout=60)
        order = client.post(
            "/orders", json={"customer": "Ada", "lines": [{"sku": "AB-1", "quantity": 1, "price_cents": 100}]}
        )
        assert order.status_code == 201, order.text
        answer = client.put(f"{order.headers['location']}/attachment", content=pieces())
        assert answer.json() == {"size": len(UPLOAD), "sha256": DIGEST}


@pytest.mark.parametrize("http2", [False, True])
def test_twenty_megabytes_down(wsgi: Site, http2: bool) -> None:
    served, _ = wsgi
    size = 0
    with served.client(http2=http2, timeout=60).stream("GET", f"/big?{len(UPLOAD)}") as answer:
        assert answer.status_code == 200
        for piece in answer.iter_bytes():
            size += len(piece)
    assert size == len(UPLOAD) // 65536 * 65536


def test_pieces_arrive_when_they_are_made(wsgi: Site) -> None:
    served, witness = wsgi
    with served.connect() as tls:
        tls.sendall(get("localhost", "/drip?h1"))
        began, data = time.monotonic(), b""
        while b"\r\n4\n" not in data:
            data += tls.recv(65536)
        assert time.monotonic() - began < 5, "the answer never ends, so it was not collected first"
    assert witness.wait_for(served, "/closed", "h1")


def test_wsgi_is_told_when_an_http2_client_goes(wsgi: Site) -> None:
    served, witness = wsgi
    connection = h2_connection(served)
    with connection.sock:
        stream = connection.headers(ask("/drip?h2"))
        served.wait_for(lambda: connection.step(1) and stream in connection.answers)
        connection.wire.reset_stream(stream)
        connection.flush()
        assert witness.wait_for(served, "/closed", "h2")


def ask(path: str) -> list[tuple[str | bytes, str | bytes]]:
    return [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]


@pytest.mark.parametrize("path", ["/events", "/wait"])
def test_asgi_is_told_when_a_client_goes(asgi: Site, path: str) -> None:
    """While an answer is under way, and before it has begun; over HTTP/1.1 and HTTP/2."""
    served, witness = asgi
    name = f"h1{path[1:]}"
    mark = witness.mark
    with served.connect() as tls:
        tls.sendall(get("localhost", f"{path}?{name}"))
        served.wait_for(lambda: witness.mark > mark)
    assert witness.wait_for(served, "/closed", name)
    name = f"h2{path[1:]}"
    mark = witness.mark
    connection = h2_connection(served)
    with connection.sock:
        stream = connection.headers(ask(f"{path}?{name}"))
        served.wait_for(lambda: witness.mark > mark)
        connection.wire.reset_stream(stream)
        connection.flush()
        assert witness.wait_for(served, "/closed", name)


def test_server_sent_events(asgi: Site) -> None:
    served, _ = asgi
    with served.client().stream("GET", "/events?sse") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        seen = [line for line, _ in zip(lines, range(6), strict=False) if line]
    assert seen == ["data: 0", "data: 1", "data: 2"]


def test_a_websocket(asgi: Site) -> None:
    served, witness = asgi
    url = f"wss://{served.host}:{served.https}/feed?ws1"
    with connect(url, ssl=served.context(), proxy=None) as client:
        assert json.loads(client.recv(timeout=10))["scheme"] == "wss"
        for message in ("hello", "x" * 200_000):
            client.send(message)
            assert client.recv(timeout=10) == message
    assert witness.wait_for(served, "/closed", "ws1")["code"] == 1000


def test_a_websocket_that_breaks_off(asgi: Site) -> None:
    served, witness = asgi
    url = f"wss://{served.host}:{served.https}/feed?ws2"
    with connect(url, ssl=served.context(), proxy=None) as client:
        client.recv(timeout=10)
        client.socket.shutdown(socket.SHUT_RDWR)
        assert witness.wait_for(served, "/closed", "ws2")


def test_a_refused_websocket(asgi: Site) -> None:
    served, _ = asgi
    for path, status in (("/no", 403), ("/a/../b", 400)):
        url = f"wss://{served.host}:{served.https}{path}"
        with pytest.raises(InvalidStatus) as refused, connect(url, ssl=served.context(), proxy=None):
            pass
        assert refused.value.response.status_code == status


def test_a_websocket_over_http2(asgi: Site) -> None:
    """RFC 8441."""
    served, witness = asgi
    connection: H2 = h2_connection(served)
    with connection.sock:
        fields: list[tuple[str | bytes, str | bytes]] = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/feed?ws3"),
            ("sec-websocket-version", "13"),
        ]
        stream = connection.headers(fields, end=False)
        served.wait_for(
            lambda: connection.step(1) and stream in connection.answers and connection.answers[stream].body
        )
        answer = connection.answers[stream]
        assert answer.status == 200
        assert b'"scheme": "wss"' in answer.body
        before = len(answer.body)
        connection.data(stream, b"\x81\x85\x00\x00\x00\x00hello", end=False)
        served.wait_for(lambda: connection.step(1) and len(answer.body) > before)
        assert answer.body[before:] == b"\x81\x05hello"
        connection.wire.end_stream(stream)
        connection.flush()
    assert witness.wait_for(served, "/closed", "ws3")


def test_plain_reading_of_a_stream_ends_with_its_last_chunk(wsgi: Site) -> None:
    served, _ = wsgi
    with served.connect() as tls:
        tls.sendall(get("localhost", "/big?65536"))
        assert read_until_closed(tls, settle=5).endswith(b"\r\n0\r\n\r\n")
