"""What only ASGI apps have: they are told that a client left, and they speak WebSocket."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest
import websockets.sync.client

from tests.contract.sites import Site, on
from tests.contract.test_limits import BODY
from tests.live.wire import get, h2_connection, read_until_closed


def address(site: Site, path: str) -> str:
    return f"wss://{site.served.host}:{site.served.https}{path}"


@on("asgi")
def test_an_app_is_told_that_a_client_left(site: Site) -> None:
    """Before anything of an answer was sent."""
    for alpn in site.alpns:
        name = f"{alpn}-{time.monotonic()}"
        if alpn == "h2":
            connection = h2_connection(site.served)
            fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost")]
            connection.headers([*fields, (":path", f"/wait?{name}")])
            sock = connection.sock
        else:
            sock = site.served.connect()
            sock.sendall(get("localhost", f"/wait?{name}"))
        with sock:
            site.witness.wait_for(site.served, "/wait", name)
        site.witness.wait_for(site.served, "/closed", name)


@on("asgi")
def test_an_app_is_told_that_a_websocket_was_left(site: Site) -> None:
    name = str(time.monotonic())
    with websockets.sync.client.connect(address(site, f"/ws?{name}"), ssl=site.served.context()) as ws:
        assert json.loads(ws.recv(10))["query"] == name
    assert site.witness.wait_for(site.served, "/closed", name)["code"] == 1000


@on("asgi")
@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/no", "localhost", 403), ("/ws", "evil.example", 421), ("/a/../ws", "localhost", 400)],
)
def test_a_websocket_that_is_refused(site: Site, path: str, host: str, status: int) -> None:
    """By the app, and before it: as any other request, so no way around what is judged."""
    mark = site.witness.mark
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    request = get(host, path, *lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", close=False)
    with site.served.connect() as tls:
        tls.settimeout(20)
        tls.sendall(request)
        answer = tls.recv(65536)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"strict-transport-security:" in answer.lower()
    assert len(site.witness.since(mark)) == (1 if path == "/no" else 0)


@on("asgi")
def test_a_websocket_from_an_address_that_may_not_come_in(site: Site) -> None:
    """Where upgrades have a way of their own, it is not around the rules about addresses."""
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    request = get("localhost", "/ws", *lines, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", close=False)
    mark, place = site.witness.mark, (site.served.host, site.served.https)
    for source, status in (("127.66.0.1", b"403"), ("127.65.0.1", b"101")):
        with (
            socket.create_connection(place, timeout=20, source_address=(source, 0)) as raw,
            site.served.context().wrap_socket(raw, server_hostname=site.served.host) as tls,
        ):
            tls.sendall(request)
            answer = tls.recv(65536)
            assert answer.startswith(b"HTTP/1.1 " + status + b" ")
            if status == b"403":
                assert b"address-refused" in answer
                assert site.witness.since(mark) == []


@on("asgi")
def test_a_websocket_may_say_more_than_a_body_may(site: Site) -> None:
    """Whatever is said over one is no request body, however long it goes on."""
    assert BODY == 64 * 1024
    with websockets.sync.client.connect(address(site, "/ws"), ssl=site.served.context()) as ws:
        ws.recv(10)
        for _ in range(4):
            ws.send(b"x" * BODY)
            assert ws.recv(10) == "x" * BODY


@on("asgi")
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_and_asking_for_one_is_no_way_around_the_limit(site: Site, method: str) -> None:
    """A body beside `Upgrade` is a body: counted, or the request is refused."""
    lines = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    chunk = b"%x\r\n%s\r\n" % (BODY, b"x" * BODY)
    for size, body in (
        (f"Content-Length: {4 * BODY}", b"x" * 4 * BODY),
        ("Transfer-Encoding: chunked", chunk * 4),
    ):
        mark = site.witness.mark
        with contextlib.suppress(OSError), site.served.connect() as tls:
            tls.sendall(get("localhost", "/up", *lines, size, method=method, close=False))
            tls.sendall(body)
            read_until_closed(tls)
        assert [line for line in site.witness.since(mark) if line.get("size", 0) > BODY] == []


@on("asgi")
def test_a_websocket_keeps_what_is_said_apart(site: Site) -> None:
    """Two at a time, each with its own words, text and bytes."""
    url, context = address(site, "/ws"), site.served.context()
    with (
        websockets.sync.client.connect(url, ssl=context) as one,
        websockets.sync.client.connect(url, ssl=context) as other,
    ):
        for ws in (one, other):
            ws.recv(10)
        for number in range(5):
            one.send(f"one {number}")
            other.send(f"other {number}".encode())
        assert [one.recv(10) for _ in range(5)] == [f"one {number}" for number in range(5)]
        assert [other.recv(10) for _ in range(5)] == [f"other {number}" for number in range(5)]
