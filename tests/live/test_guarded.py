"""What the engine and the guard behind it let through to an app, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from tests.live.served import Served

# Bytes 33 to 126 but "?" (it begins the query) and "#"; which of them a path may contain as they are.
PRINTABLE = [chr(byte) for byte in range(0x21, 0x7F) if chr(byte) not in "?#"]
PATH_TAKES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/"


def raw_status(served: Served, target: str, method: str = "GET") -> tuple[int, bytes]:
    host = f"{served.host}:{served.https}"
    request = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = served.raw(request.encode("latin-1"))
    return int(answer.split(b" ", 2)[1]), answer


@pytest.mark.long
def test_every_printable_byte_is_let_through_or_a_400_that_says_why(orders: Served) -> None:
    for char in PRINTABLE:
        status, answer = raw_status(orders, f"/orders/a{char}b")
        assert status == (404 if char in PATH_TAKES else 400), char
        assert status == 404 or b"path-not-canonical" in answer
        status, answer = raw_status(orders, f"/orders?a{char}b")
        assert status == (400 if char in '"<>' else 200), char
        assert status == 200 or b"path-not-canonical" in answer


@pytest.mark.parametrize(
    "target",
    (
        "/orders/../admin/report",
        "/orders/%2e%2e/admin/report",
        "/orders/..%2fadmin/report",
        "/orders/..;/admin/report",
        "//admin/report",
        "/orders\\..\\admin",
        "/orders%00",
        "/orders/%c0%ae",
        "/orders/\xe9",
        "/orders/%zz",
    ),
)
def test_no_path_that_can_be_read_in_two_ways_reaches_the_app(orders: Served, target: str) -> None:
    status, answer = raw_status(orders, target)
    assert status == 400
    assert b"application/problem+json" in answer
    assert b"best_sellers" not in answer


def test_a_foreign_host_is_421(orders: Served) -> None:
    answer = orders.client().get("/orders", headers={"host": "evil.example"})
    assert (answer.status_code, answer.json()["type"]) == (421, "urn:problem-type:sealgate:unknown-host")


@pytest.mark.parametrize("http2", (False, True))
def test_an_upload_of_unknown_length_reaches_an_app_that_asks_for_one(orders: Served, *, http2: bool) -> None:
    client = orders.client(http2=http2)
    order = {"customer": "Ada", "lines": [{"sku": "tea", "quantity": 1, "price_cents": 1}]}
    path = client.post("/orders", json=order).headers["location"] + "/attachment"
    piece = bytes(range(256)) * 256

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield piece

    answer = client.put(path, content=pieces())
    assert answer.json() == {"size": 40 * len(piece), "sha256": hashlib.sha256(piece * 40).hexdigest()}


@pytest.mark.parametrize("http2", (False, True))
def test_json_of_unknown_length_too(orders: Served, *, http2: bool) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"customer": "Ada", "lines": '
        yield b'[{"sku": "tea", "quantity": 1, "price_cents": 1}]}'

    headers = {"content-type": "application/json"}
    answer = orders.client(http2=http2).post("/orders", content=pieces(), headers=headers)
    assert answer.status_code == 201
