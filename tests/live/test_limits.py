"""Sizes and counts: exactly to the limit, and not beyond."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.live.served import Served
from tests.live.wire import Answer, Witness, get, h2_connection, read_until_closed, tell, witnessed

Site = tuple[Served, Witness]

BODY = 64 * 1024
HEADERS = 8 * 1024


@pytest.fixture(scope="module", params=["witness:app", pytest.param("witness:asgi", marks=pytest.mark.long)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    limits = {"body": "64KiB", "headers": "8KiB"}
    with witnessed(tmp_path_factory.mktemp("site"), app=request.param, limits=limits) as pair:
        yield pair


def with_length(served: Served, size: int) -> Answer:
    head = f"POST /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
    return tell(served, head.encode() + b"x" * size, settle=5)[0]


def in_chunks(served: Served, size: int) -> Answer:
    head = b"POST /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [b"x" * min(5000, size - at) for at in range(0, size, 5000)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return tell(served, head + body, settle=5)[0]


def over_http2(served: Served, size: int, *, declared: bool) -> Answer:
    connection = h2_connection(served)
    with connection.sock:
        fields = [("content-length", str(size))] if declared else []
        answer = connection.ask("/up", "localhost", *fields, method="POST", body=b"x" * size)
    assert answer is not None
    return answer


SENDERS = {
    "length": with_length,
    "chunks": in_chunks,
    "h2 length": lambda served, size: over_http2(served, size, declared=True),
    "h2": lambda served, size: over_http2(served, size, declared=False),
}


@pytest.mark.long
@pytest.mark.parametrize("sender", SENDERS)
def test_a_body_up_to_the_limit_and_not_a_byte_more(site: Site, sender: str) -> None:
    served, witness = site
    send, mark = SENDERS[sender], witness.mark
    assert send(served, BODY).status == 200
    assert [line["size"] for line in witness.since(mark)] == [BODY]
    answer = send(served, BODY + 1)
    assert (answer.status, answer.slug) == (413, "body-too-large")
    assert len(witness.since(mark)) == 1


def test_no_body_at_all_may_be_the_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    with witnessed(tmp_path_factory.mktemp("none"), limits={"body": "0B"}) as (served, witness):
        assert with_length(served, 0).status == 200
        for send in SENDERS.values():
            for size in (1, 2, 1000):
                assert send(served, size).slug == "body-too-large"
        assert len(witness.lines()) == 1


def test_headers_up_to_the_limit(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    fits, exceeds = "a" * (HEADERS - 1000), "a" * (HEADERS + 100)
    assert tell(served, get("localhost", "/x", f"X-A: {fits}"))[0].status == 200
    for lines in ([f"X-A: {exceeds}"], [f"X-{n}: {'a' * 1000}" for n in range(9)]):
        (answer,) = tell(served, get("localhost", "/x", *lines))
        assert (answer.status, answer.slug) == (431, "headers-too-large")
    (answer,) = tell(served, get("localhost", "/" + exceeds))
    assert answer.status in {400, 431}
    connection = h2_connection(served)
    with connection.sock:
        assert (fine := connection.ask("/x", "localhost", ("x-a", fits))) is not None
        assert fine.status == 200
        refused = connection.ask("/x", "localhost", ("x-a", exceeds))
        assert refused is None or refused.status == 431
    assert len(witness.since(mark)) == 2


def test_a_hundred_fields_and_no_more(site: Site) -> None:
    served, witness = site
    mark = witness.mark
    assert tell(served, get("localhost", "/x", *[f"X-{n}: a" for n in range(80)]))[0].status == 200
    (answer,) = tell(served, get("localhost", "/x", *[f"X-{n}: a" for n in range(120)]))
    assert (answer.status, answer.slug) == (431, "headers-too-large")
    assert len(witness.since(mark)) == 1


@pytest.mark.long
def test_one_connection_more_than_allowed(tmp_path_factory: pytest.TempPathFactory) -> None:
    limit = 20
    with witnessed(tmp_path_factory.mktemp("full"), limits={"connections": limit}) as (served, witness):
        held: list[ssl.SSLSocket] = []
        refused = 0
        for _ in range(limit + 15):
            try:
                tls = served.connect()
                tls.sendall(get("localhost", "/x", close=False))
                assert b" 200 " in read_until_closed(tls)
                held.append(tls)
            except (ssl.SSLError, OSError, AssertionError):
                refused += 1
        assert len(held) <= limit
        assert len(held) >= limit - 5
        assert refused == limit + 15 - len(held)
        for tls in held:  # those that are in go on
            tls.sendall(get("localhost", "/x", close=False))
            assert b" 200 " in read_until_closed(tls)
            tls.close()

        def answers() -> bool:
            try:
                return tell(served, get("localhost", "/again"))[0].status == 200
            except (ssl.SSLError, OSError, IndexError):
                return False

        served.wait_for(answers)
        assert witness.lines()[-1]["path"] == "/again"
