"""Another backend behind the engine: over TCP, TLS, a unix socket; down, untrusted; the PROXY protocol."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from websockets.sync.client import connect
from websockets.sync.server import serve as serve_websocket

from tests.live import hello
from tests.live.backend import Backend, backend
from tests.live.served import Background, Served, free_port, serve
from tests.live.wire import Answer, get, h2_connection, parse, read_until_closed, tell, witnessed


@pytest.fixture(scope="module", params=["http", "unix"])
def plain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Backend]]:
    folder = tmp_path_factory.mktemp("plain")
    path = folder / "app.sock" if request.param == "unix" else None
    with backend(path=path) as other, serve(folder, site={"upstream": other.url}) as served:
        yield served, other


def test_requests_arrive_and_answers_return(plain: tuple[Served, Backend]) -> None:
    served, other = plain
    before = len(other.seen)
    body = b"x" * 300_000
    client = served.client(http2=True)
    assert client.get("/a?b=c").json()["path"] == "/a?b=c"
    answer = client.post("/up", content=body)
    assert answer.json()["size"] == len(body)
    assert answer.headers["strict-transport-security"] == "max-age=300"
    assert "x-powered-by" not in answer.headers
    assert served.client().post("/up", content=iter([body[:1000], body[1000:]])).json()["size"] == len(body)
    assert [seen["method"] for seen in other.seen[before:]] == ["GET", "POST", "POST"]


def test_a_backend_that_is_down_is_503_at_once(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    with serve(tmp_path, site={"upstream": f"http://127.0.0.1:{port}"}) as served:
        assert_unavailable(served)


def assert_unavailable(served: Served) -> None:
    began = time.monotonic()
    (answer,) = tell(served, get("localhost", "/x"))
    assert time.monotonic() - began < 4
    assert (answer.status, answer.slug) == (503, "app-unavailable")
    assert int(answer.one("retry-after")) >= 1
    assert answer.one("strict-transport-security")
    connection = h2_connection(served)
    with connection.sock:
        second = connection.ask("/x", "localhost")
    assert second is not None
    assert second.slug == "app-unavailable"


def test_a_backend_that_ends_in_the_middle(tmp_path: Path) -> None:
    """Half an answer must not look like a whole one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def half(stop: object) -> None:
            listener.settimeout(20)
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        server = Background(half)
        port = listener.getsockname()[1]
        with serve(tmp_path, site={"upstream": f"http://127.0.0.1:{port}"}) as served:
            (answer,) = tell(served, get("localhost", "/x"))
            assert not answer.complete
        server.end()


def tls_site(
    tmp_path: Path, authority: trustme.CA, trusted: trustme.CA, name: str, url_name: str
) -> Iterator[Answer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    bundle = tmp_path / "bundle.pem"
    trusted.cert_pem.write_to_path(str(bundle))
    with (
        backend(tls=context, name=url_name) as other,
        serve(tmp_path, site={"upstream": other.url}, env={"SSL_CERT_FILE": str(bundle)}) as served,
    ):
        (answer,) = tell(served, get("localhost", "/x", "Cookie: secret"))
        if answer.status != 200:
            assert other.seen == []
            assert answer.slug == "app-unavailable"
        yield answer


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_tls_to_a_backend_with_a_good_certificate(tmp_path: Path, name: str) -> None:
    authority = trustme.CA()
    (answer,) = tls_site(tmp_path, authority, authority, name, name)
    assert answer.status == 200


def test_tls_to_a_backend_with_another_name(tmp_path: Path) -> None:
    authority = trustme.CA()
    (answer,) = tls_site(tmp_path, authority, authority, "other.example.org", "localhost")
    assert answer.status == 503


def test_tls_to_a_backend_by_another_authority(tmp_path: Path) -> None:
    (answer,) = tls_site(tmp_path, trustme.CA(), trustme.CA(), "localhost", "localhost")
    assert answer.status == 503


def test_a_websocket_passes_through(tmp_path: Path) -> None:
    def echo(connection: object) -> None:
        for message in connection:  # type: ignore[attr-defined]  # a ServerConnection
            connection.send(message)  # type: ignore[attr-defined]  # same

    with serve_websocket(echo, "127.0.0.1", 0) as server:
        port = server.socket.getsockname()[1]
        thread = Background(lambda stop: server.serve_forever())
        with serve(tmp_path, site={"upstream": f"http://127.0.0.1:{port}"}) as served:
            url = f"wss://{served.host}:{served.https}/feed"
            with connect(url, ssl=served.context(), proxy=None) as client:
                client.send("hello")
                assert client.recv(timeout=10) == "hello"
        server.shutdown()
        thread.end()


def proxied(served: Served, header: bytes, data: bytes) -> list[Answer]:
    with socket.create_connection((served.host, served.https), timeout=10) as raw:
        raw.sendall(header)
        context = served.context()
        with context.wrap_socket(raw, server_hostname=served.host, do_handshake_on_connect=False) as tls:
            tls.do_handshake()
            tls.sendall(data)
            return parse(read_until_closed(tls))


def refused(served: Served, header: bytes) -> bool:
    """No byte of TLS comes back."""
    with socket.create_connection((served.host, served.https), timeout=10) as sock:
        sock.sendall(header + hello.client_hello((0x0304,), hello.TLS13, (0x1D,)))
        return read_until_closed(sock, silence=10) == b""


V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([192, 0, 2, 7, 127, 0, 0, 1])
    + (5000).to_bytes(2, "big")
    + b"\x01\xbb"
)


def test_the_proxy_protocol_says_who_calls(tmp_path: Path) -> None:
    with witnessed(tmp_path, listen={"proxy_protocol": True}) as (served, witness):
        for header in (b"PROXY TCP4 192.0.2.7 127.0.0.1 5000 443\r\n", V2):
            (answer,) = proxied(served, header, get("localhost", "/x", "X-Forwarded-For: 192.0.2.66"))
            assert answer.status == 200
            line = witness.lines()[-1]
            assert (line["address"], line["client"]) == ("192.0.2.7", "192.0.2.7")
            assert line["variables"]["REMOTE_PORT"] == "5000"
            assert "192.0.2.66" not in json.dumps(line)
        mark = witness.mark
        for header in (b"", b"PROXY nonsense\r\n"):
            assert refused(served, header)
        assert witness.since(mark) == []
