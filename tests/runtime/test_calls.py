"""What the caller of WSGI apps does when there is no thread left; the rest is asked live (test_pep3333)."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sealgate.runtime import calls
from sealgate.runtime.calls import Caller


class Place:
    """Where one request is answered; a streamed answer waits for its reader."""

    def __init__(self) -> None:
        self.whole: tuple[int, bytes] | None = None
        self.streaming = threading.Event()
        self.read = threading.Event()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.whole = (status, body)

    def response_iter(self, status: int, headers: list[tuple[str, str]], body: Any) -> None:
        self.streaming.set()
        self.read.wait(10)
        body.close()


class Pieces:
    closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from (b"one", b"two")

    def close(self) -> None:
        Pieces.closed += 1


def app(environ, start_response):
    start_response("200 OK", [])
    return Pieces() if environ["PATH_INFO"] == "/stream" else [b"whole"]


def called(caller: Caller, path: str) -> Place:
    place = Place()
    caller(place, {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO()})
    return place


def test_streams_without_a_thread_are_refused_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_MOST_STREAMS", 2)
    caller, before = Caller(app, 1), Pieces.closed
    slow = [called(caller, "/stream") for _ in range(2)]
    assert all(place.streaming.wait(10) for place in slow)
    refused = called(caller, "/stream")
    assert refused.whole is not None
    assert refused.whole[0] == 503
    assert b"app-unavailable" in refused.whole[1]
    assert Pieces.closed == before + 1
    assert called(caller, "/").whole == (200, b"whole")
    for place in slow:
        place.read.set()
    again, until = called(caller, "/stream"), time.monotonic() + 30
    while again.whole is not None and time.monotonic() < until:  # the two threads come back a moment later
        time.sleep(0.01)
        again = called(caller, "/stream")
    assert again.streaming.wait(10)
    again.read.set()
