"""However a request is bent, the app sees the one that was meant, or none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.served import Served
from tests.live.wire import H2, Witness, get, h2_connection, tell, witnessed

Site = tuple[Served, Witness]

HOST = "Host: localhost"
SECOND = get("localhost", "/smuggled")
"""What an attacker would like to be taken for a request of its own."""
EMPTY = b"0\r\n\r\n" + SECOND


# The engine refuses before it knows what kind of app there is.
@pytest.fixture(scope="module", params=["witness:app", pytest.param("witness:asgi", marks=pytest.mark.long)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with witnessed(tmp_path_factory.mktemp("site"), app=request.param) as pair:
        yield pair


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Where the engine alone refuses, one kind of app will do."""
    with witnessed(tmp_path_factory.mktemp("site")) as pair:
        yield pair


def post(*lines: str, body: bytes = b"", first: str = "POST /meant HTTP/1.1") -> bytes:
    return "\r\n".join([first, HOST, *lines, "", ""]).encode("latin-1") + body


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


# Name -> bytes. None of these may reach the app as a request, and nothing after them as another one.
REFUSED = {
    "length and chunked": post("Content-Length: 6", "Transfer-Encoding: chunked", body=EMPTY),
    "chunked and length": post("Transfer-Encoding: chunked", "Content-Length: 6", body=EMPTY),
    "two lengths": post("Content-Length: 0", length(SECOND), body=SECOND),
    "two equal lengths": post("Content-Length: 4", "Content-Length: 4", body=b"abcd" + SECOND),
    "list of lengths": post("Content-Length: 4, 4", body=b"abcd" + SECOND),
    "length with plus": post("Content-Length: +5", body=b"hello" + SECOND),
    "length with space": post("Content-Length: 5 5", body=b"hello" + SECOND),
    "length in hex": post("Content-Length: 0x5", body=b"hello" + SECOND),
    "negative length": post("Content-Length: -1", body=SECOND),
    "empty length": post("Content-Length:", body=SECOND),
    "huge length": post("Content-Length: 99999999999999999999999", body=SECOND),
    "fractional length": post("Content-Length: 5.0", body=b"hello" + SECOND),
    "xchunked": post("Transfer-Encoding: xchunked", body=EMPTY),
    "chunked not last": post("Transfer-Encoding: chunked, identity", body=EMPTY),
    "identity": post("Transfer-Encoding: identity", body=SECOND),
    "chunked twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=EMPTY),
    "chunked, then identity": post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=EMPTY),
    "another coding before": post("Transfer-Encoding: gzip, chunked", body=EMPTY),
    "vertical tab before chunked": post("Transfer-Encoding: \x0bchunked", body=EMPTY),
    "quoted chunked": post('Transfer-Encoding: "chunked"', body=EMPTY),
    "underscore for hyphen": post("Transfer_Encoding: chunked", length(EMPTY), body=EMPTY),
    "space before colon": post("Transfer-Encoding : chunked", length(EMPTY), body=EMPTY),
    "folded coding": post("Transfer-Encoding:\r\n chunked", length(EMPTY), body=EMPTY),
    "folded first line": post(first="POST /meant HTTP/1.1\r\n X-A: b"),
    "space before any colon": post("X-A : b", "Content-Length: 0"),
    "bare LF hides chunked": post("X-A: b\nTransfer-Encoding: chunked", length(EMPTY), body=EMPTY),
    "NUL in value": post("X-A: b\x00c", "Content-Length: 0"),
    "NUL in name": post("X-A\x00: b", "Content-Length: 0"),
    "control in value": post("X-A: \x01", "Content-Length: 0"),
    "DEL in value": post("X-A: \x7f", "Content-Length: 0"),
    "empty name": post(": b", "Content-Length: 0"),
    "delimiter in name": post("a(b: c", "Content-Length: 0"),
    "byte above 127 in name": post("a\xff: c", "Content-Length: 0"),
    "no Host": b"POST /meant HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "empty Host": b"POST /meant HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n",
    "two Hosts": post("Host: evil.example", "Content-Length: 0"),
    "the same Host twice": post(HOST, "Content-Length: 0"),
    "list of Hosts": b"POST /meant HTTP/1.1\r\nHost: localhost, evil\r\nContent-Length: 0\r\n\r\n",
    "user in Host": b"POST /meant HTTP/1.1\r\nHost: evil@localhost\r\nContent-Length: 0\r\n\r\n",
    "escape in Host": b"POST /meant HTTP/1.1\r\nHost: %6cocalhost\r\nContent-Length: 0\r\n\r\n",
    "Host named as hop by hop": post("Connection: host", "Content-Length: 0"),
    "absolute form of another host": b"GET http://evil.example/meant HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT with a path": b"CONNECT /meant HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "asterisk": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/1.0": b"GET /meant HTTP/1.0\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /meant\r\n\r\n",
    "HTTP/2 in a line": b"GET /meant HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "HTTP/2 on a connection for HTTP/1.1": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 9,
    "NUL in method": b"G\x00T /meant HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "space in path": b"GET /me ant HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "NUL in path": b"GET /meant\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "byte above 127 in path": b"GET /meant\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "fragment": b"GET /meant#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "unknown upgrade": post("Connection: Upgrade", "Upgrade: foo", first="GET /meant HTTP/1.1"),
    "TLS inside TLS": b"\x16\x03\x01\x00\x05hello\r\n\r\n" + SECOND,
}


@pytest.mark.parametrize("name", REFUSED)
def test_bent_requests_reach_no_app(strict: Site, name: str) -> None:
    served, witness = strict
    mark = witness.mark
    answers = tell(served, REFUSED[name])
    assert [answer.status for answer in answers] == [answers[0].status], (
        "one answer, then the connection ends"
    )
    assert answers[0].status in {400, 403, 421, 426}
    assert answers[0].slug in {
        "bad-request",
        "http-version-unsupported",
        "path-not-canonical",
        "unknown-host",
        "upgrade-refused",
    }
    assert witness.since(mark) == []


# Chunks that are none. The body's end is not known, so the app gets no whole request.
BROKEN_CHUNKS = {
    "bare LF": b"3\nabc\n0\n\n",
    "hex prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "space before size": b" 3\r\nabc\r\n0\r\n\r\n",
    "negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "size beyond 64 bit": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "LF in extension": b"3;a\nxx\r\nabc\r\n0\r\n\r\n",
    "CR in extension": b"3;a\rxx\r\nabc\r\n0\r\n\r\n",
    "line end quoted in extension": b'3;a="\r\n"\r\nabc\r\n0\r\n\r\n',
    "more data than the size": b"3\r\nabcd\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
def test_broken_chunks_end_the_connection(site: Site, name: str) -> None:
    served, witness = site
    mark = witness.mark
    body = BROKEN_CHUNKS[name] + SECOND
    answers = tell(served, post("Transfer-Encoding: chunked", body=body))
    assert [answer.slug for answer in answers] == ["bad-request"]
    # An ASGI app may have been called with a body that then broke off; never with a whole one.
    assert witness.since(mark) == []


# Name -> (bytes, the one request that was meant: method, path, size of body).
TAKEN = {
    "chunk extension": (
        post("Transfer-Encoding: chunked", body=b"3;a=b\r\nabc\r\n0\r\n\r\n"),
        ("POST", "/meant", 3),
    ),
    "coding in other case": (
        post("Transfer-Encoding: ChUnKeD", body=b"3\r\nabc\r\n0\r\n\r\n"),
        ("POST", "/meant", 3),
    ),
    "length with zeros": (post("Content-Length: 0005", body=b"hello"), ("POST", "/meant", 5)),
    "request in a GET's body": (
        post(length(SECOND), body=SECOND, first="GET /meant HTTP/1.1"),
        ("GET", "/meant", len(SECOND)),
    ),
    "bare CR hides chunked": (
        post("X-A: b\rTransfer-Encoding: chunked", length(EMPTY), body=EMPTY),
        ("POST", "/meant", len(EMPTY)),
    ),
    "folded value": (post("X-A: b\r\n c", "Content-Length: 0"), ("POST", "/meant", 0)),
    "bare LF as line ends": (
        b"POST /meant HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nab",
        ("POST", "/meant", 2),
    ),
    "absolute form, its host counts": (
        b"GET https://localhost/meant HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        ("GET", "/meant", 0),
    ),
    "h2c is not offered": (
        post(
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQAAP__",
            first="GET /meant HTTP/1.1",
        ),
        ("GET", "/meant", 0),
    ),
    "engine's fields named as hop by hop": (
        post("Connection: sealgate-address, sealgate-path, x-request-id", first="GET /meant HTTP/1.1"),
        ("GET", "/meant", 0),
    ),
    "TRACE": (post(first="TRACE /meant HTTP/1.1"), ("TRACE", "/meant", 0)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_odd_but_clear_requests_reach_the_app_once(site: Site, name: str) -> None:
    served, witness = site
    mark = witness.mark
    data, meant = TAKEN[name]
    # The end of the connection is asked for by a request of its own, which must be the second one seen.
    answers = tell(served, data + get("localhost", "/end"), settle=5)
    assert [answer.status for answer in answers] == [200, 200]
    seen = [(line["method"], line["path"], line["size"]) for line in witness.since(mark)]
    assert seen == [meant, ("GET", "/end", 0)]
    text = str(witness.since(mark)[0]).lower()
    assert "evil.example" not in text
    for name_of_field in (
        "transfer_encoding",
        "'transfer-encoding'",
        "upgrade",
        "http2-settings",
        "http_connection",
    ):
        assert name_of_field not in text


def test_trailers_are_no_fields(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    trailers = b"X-Forwarded-For: 192.0.2.66\r\nSealgate-Address: 192.0.2.66:1\r\nX-Trailer: 192.0.2.66\r\n"
    body = b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n"
    answers = tell(served, post("Transfer-Encoding: chunked", "Connection: close", body=body), settle=5)
    assert [answer.status for answer in answers] == [200]
    (line,) = witness.since(mark)
    assert line["size"] == 3
    assert "192.0.2.66" not in str(line)


PSEUDO = {":method": "GET", ":scheme": "https", ":authority": "localhost", ":path": "/meant"}
Pairs = list[tuple[str | bytes, str | bytes]]


def pseudo(**changed: str | bytes | None) -> Pairs:
    values: dict[str, str | bytes | None] = {
        **PSEUDO,
        **{f":{name}": value for name, value in changed.items()},
    }
    return [(name, value) for name, value in values.items() if value is not None]


H2_REFUSED: dict[str, Pairs] = {
    "connection": [*pseudo(), ("connection", "close")],
    "transfer-encoding": [*pseudo(), ("transfer-encoding", "chunked")],
    "te": [*pseudo(), ("te", "gzip")],
    "upgrade": [*pseudo(), ("upgrade", "websocket")],
    "keep-alive": [*pseudo(), ("keep-alive", "1")],
    "proxy-connection": [*pseudo(), ("proxy-connection", "x")],
    "CR LF in path": pseudo(path="/meant HTTP/1.1\r\nX: y"),
    "LF in path": pseudo(path="/a\nb"),
    "space in path": pseudo(path="/a b"),
    "NUL in path": pseudo(path=b"/\x00"),
    "byte above 127 in path": pseudo(path=b"/\xff"),
    "empty path": pseudo(path=""),
    "absolute path": pseudo(path="http://evil.example/"),
    "path without slash": pseudo(path="meant"),
    "fragment": pseudo(path="/meant#x"),
    "asterisk": pseudo(path="*"),
    "no path": pseudo(path=None),
    "two paths": [*pseudo(), (":path", "/other")],
    "CR LF in authority": pseudo(authority="localhost\r\nX: y"),
    "space in authority": pseudo(authority="localhost x"),
    "user in authority": pseudo(authority="evil@localhost"),
    "path in authority": pseudo(authority="localhost/x"),
    "escape in authority": pseudo(authority="%6cocalhost"),
    "half a bracket in authority": pseudo(authority="[::1"),
    "two ports in authority": pseudo(authority="localhost:1:2"),
    "empty authority": pseudo(authority=""),
    "no authority": pseudo(authority=None),
    "list in authority": pseudo(authority="localhost,evil"),
    "CR LF in scheme": pseudo(scheme="https\r\nX: y"),
    "URL in scheme": pseudo(scheme="https://evil.example/?"),
    "no scheme": pseudo(scheme=None),
    "request in method": pseudo(method="GET /smuggled HTTP/1.1\r\nA: b\r\n\r\nGET"),
    "empty method": pseudo(method=""),
    "CONNECT": pseudo(method="CONNECT", path=None, scheme=None),
    "CR in value": [*pseudo(), ("x-a", "b\rc")],
    "LF in value": [*pseudo(), ("x-a", "b\nc")],
    "coding in value": [*pseudo(), ("x-a", "b\r\nTransfer-Encoding: chunked")],
    "NUL in value": [*pseudo(), ("x-a", b"b\x00c")],
    "upper case in name": [*pseudo(), ("X-Upper", "b")],
    "colon in name": [*pseudo(), ("x:a", "b")],
    "CR LF in name": [*pseudo(), ("x-a: b\r\nx-c", "d")],
    "space in name": [*pseudo(), ("x a", "b")],
    "empty name": [*pseudo(), ("", "b")],
    "underscore in name": [*pseudo(), ("x_a", "b")],
    "unknown pseudo field": [*pseudo(), (":evil", "b")],
    "pseudo field after others": [*pseudo(), ("x-a", "b"), (":authority", "evil.example")],
    "status": [*pseudo(), (":status", "200")],
    "length without body": [*pseudo(), ("content-length", "5")],
    "length with plus": [*pseudo(), ("content-length", "+0")],
}


@pytest.mark.parametrize("name", H2_REFUSED)
def test_bent_http2_requests_reach_no_app(strict: Site, name: str) -> None:
    served, witness = strict
    mark = witness.mark
    connection = h2_connection(served)
    with connection.sock:
        stream = connection.headers(H2_REFUSED[name])
        answer = connection.wait(stream)
        assert connection.over(stream)
        assert answer is None or answer.status in {400, 403, 421}
        if answer is not None:
            assert answer.slug in {"bad-request", "path-not-canonical", "unknown-host", "upgrade-refused"}
    assert witness.since(mark) == []


@pytest.mark.parametrize(("declared", "sent"), [(3, b"hello"), (9, b"hello"), (0, b"x")])
def test_http2_bodies_are_as_long_as_declared(site: Site, declared: int, sent: bytes) -> None:
    served, witness = site
    mark = witness.mark
    connection = h2_connection(served)
    with connection.sock:
        stream = connection.headers([*pseudo(method="POST"), ("content-length", str(declared))], end=False)
        connection.data(stream, sent)
        assert connection.wait(stream) is None
        assert connection.resets or connection.ended
    assert witness.since(mark) == []


def test_http2_scheme_and_second_host_count_for_nothing(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    connection = h2_connection(served)
    with connection.sock:
        answer = connection.wait(connection.headers([*pseudo(scheme="gopher"), ("host", "evil.example")]))
    assert answer is not None
    assert answer.status == 200
    (line,) = witness.since(mark)
    assert line["scheme"] == "https"
    assert "evil.example" not in str(line)


def test_one_clients_bad_requests_cut_off_no_other(site: Site) -> None:
    """Workers are reached over connections that all clients share."""
    served, witness = site
    patient = h2_connection(served)
    mark = witness.mark
    with patient.sock:
        stream = patient.headers(pseudo(path="/sleep?1"))
        served.wait_for(lambda: witness.mark > mark)
        for name in (
            "byte above 127 in path",
            "escape in authority",
            "two ports in authority",
            "list in authority",
        ):
            hostile: H2 = h2_connection(served)
            with hostile.sock:
                hostile.wait(hostile.headers(H2_REFUSED[name]))
        answer = patient.wait(stream)
        assert answer is not None
        assert answer.status == 200
