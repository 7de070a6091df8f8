"""Slow peers are cut by their timeouts, and nobody else notices them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from tests.live import hello
from tests.live.served import Served
from tests.live.wire import H2, Answer, Witness, get, h2_connection, parse, read_until_closed, tell, witnessed

Site = tuple[Served, Witness]

STALLED = 200
TIMEOUTS = {"handshake": "1s", "headers": "1s", "request": "2s", "idle": "3s"}
SLACK = 2.5  # Envoy's delayed close is one second; the machine is shared


@pytest.fixture(scope="module", params=["witness:app", pytest.param("witness:asgi", marks=pytest.mark.long)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with witnessed(tmp_path_factory.mktemp("site"), app=request.param, timeouts=TIMEOUTS) as pair:
        yield pair


def until_closed(sock: socket.socket, *, limit: float = 12) -> tuple[float, bytes]:
    """Seconds until the peer closes, and what it said."""
    began, data = time.monotonic(), b""
    sock.settimeout(limit)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while piece := sock.recv(65536):
            data += piece
    return time.monotonic() - began, data


def raw(served: Served) -> socket.socket:
    return socket.create_connection((served.host, served.https), timeout=10)


HELLO = hello.client_hello((0x0304,), hello.TLS13, (0x1D,))
BEFORE_TLS = {"no byte at all": b"", "half a ClientHello": HELLO[:60], "a ClientHello, then nothing": HELLO}


@pytest.mark.long
@pytest.mark.parametrize("kind", BEFORE_TLS)
def test_handshakes_that_do_not_come_to_an_end(site: Site, kind: str) -> None:
    served, _ = site
    with raw(served) as sock:
        sock.sendall(BEFORE_TLS[kind])
        seconds, _ = until_closed(sock)
    assert 0.5 < seconds < 1 + SLACK


SLOW = {
    # bytes after the handshake: (what, seconds until it is cut, status)
    "half a header": (b"GET /x HTTP/1.1\r\nHost: local", 1.0, 408),
    "half a body": (b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf", 2.0, 408),
    "half a chunk": (
        b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
        2.0,
        408,
    ),
    "no request": (b"", 3.0, 0),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", SLOW)
def test_requests_that_do_not_come_to_an_end(site: Site, kind: str) -> None:
    served, witness = site
    data, cut, status = SLOW[kind]
    mark = witness.mark
    with served.connect() as tls:
        tls.sendall(data)
        seconds, said = until_closed(tls)
    assert cut - 0.5 < seconds < cut + SLACK
    answers = parse(said)
    assert [answer.status for answer in answers] == ([status] if status else [])
    for answer in answers:
        assert answer.slug == "request-timeout"
        assert answer.one("strict-transport-security")
    assert witness.since(mark) == []


def test_a_connection_kept_alive_is_closed_when_idle(site: Site) -> None:
    served, _ = site
    with served.connect() as tls:
        tls.sendall(get("localhost", "/x", close=False))
        assert b" 200 " in read_until_closed(tls)
        seconds, _ = until_closed(tls)
    assert 2 < seconds < 3 + 1 + SLACK


def test_http2_requests_that_do_not_come_to_an_end(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    connection: H2 = h2_connection(served)
    with connection.sock:
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/x")]
        stream = connection.headers(fields, end=False)
        began = time.monotonic()
        answer = connection.wait(stream, 12)
        assert answer is not None
        assert answer.slug == "request-timeout"
        assert time.monotonic() - began < 2 + SLACK
    assert witness.since(mark) == []


def test_http2_headers_in_pieces_that_never_end(site: Site) -> None:
    served, _ = site
    with served.connect(alpn="h2") as tls:
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        tls.sendall(
            b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"
        )  # HEADERS without END_HEADERS: ":method: GET"
        seconds, _ = until_closed(tls)
    assert seconds < 3 + 2 * SLACK  # nothing but the idle timeout sees half a header of HTTP/2


def test_a_reader_that_stops_reading_a_large_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    with witnessed(tmp_path_factory.mktemp("reader"), timeouts=TIMEOUTS) as (served, _):
        with served.connect() as tls:
            tls.sendall(get("localhost", "/big?50000000"))
            assert b" 200 " in tls.recv(100)
            time.sleep(0)
            served.wait_for(lambda: [line for line in served.access() if line.get("path") == "/big"], 12)
        (line,) = [line for line in served.access() if line.get("path") == "/big"]
        assert 2000 < int(line["milliseconds"]) < 3000 + SLACK * 1000
        assert int(line["sent"]) < 50_000_000
        assert served.client().get("/x").status_code == 200


@pytest.mark.long
def test_an_app_that_does_not_answer_in_time(site: Site) -> None:
    served, _ = site
    began = time.monotonic()
    (answer,) = tell_patiently(served, get("localhost", "/sleep?9"))
    assert time.monotonic() - began < 2 + SLACK
    assert (answer.status, answer.slug) == (504, "app-timeout")
    assert answer.one("strict-transport-security")


def tell_patiently(served: Served, data: bytes) -> list[Answer]:
    with served.connect() as tls:
        tls.sendall(data)
        return parse(until_closed(tls)[1])


def stalled_raw(data: bytes) -> Callable[[Served], socket.socket]:
    def start(served: Served) -> socket.socket:
        sock = raw(served)
        sock.sendall(data)
        return sock

    return start


def stalled_tls(data: bytes) -> Callable[[Served], socket.socket]:
    def start(served: Served) -> socket.socket:
        tls = served.connect()
        tls.sendall(data)
        return tls

    return start


CROWDS = {
    "half a ClientHello": stalled_raw(HELLO[:60]),
    "half a header": stalled_tls(b"GET /x HTTP/1.1\r\nHost: local"),
    "half a body": stalled_tls(b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", CROWDS)
def test_others_are_served_while_two_hundred_stall(
    tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    """Asked until the last of them is cut; what is compared is measured before, among and after them."""
    timeouts = {"handshake": "10s", "headers": "10s", "request": "10s", "idle": "30s", "drain": "1s"}
    with (
        witnessed(tmp_path_factory.mktemp("crowd"), timeouts=timeouts) as (served, _),
        contextlib.ExitStack() as held,
    ):
        before = one_by_one(served)
        stalled = [held.enter_context(CROWDS[kind](served)) for _ in range(STALLED)]
        among = one_by_one(served)
        end = time.monotonic() + 60
        while not all(is_cut(sock) for sock in stalled):
            assert time.monotonic() < end, "some are still there"
            assert tell(served, get("localhost", "/x"))[0].status == 200
        after = one_by_one(served)
    # The slower of the two: how busy the machine is may change meanwhile.
    alone = max(before, after, 0.02)
    assert among < 3 * alone, f"{among:.3f} s among the stalled, {before:.3f} s before, {after:.3f} s after"


def is_cut(sock: socket.socket) -> bool:
    """Has the server closed it? Whatever it said before is read; nothing is waited for."""
    sock.settimeout(0)
    try:
        while sock.recv(65536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except (ConnectionError, ssl.SSLError):
        pass
    return True


def one_by_one(served: Served) -> float:
    """The median of a request's time, each on a connection of its own."""
    times = []
    for _ in range(15):
        began = time.monotonic()
        assert tell(served, get("localhost", "/x"))[0].status == 200
        times.append(time.monotonic() - began)
    return sorted(times)[7]
