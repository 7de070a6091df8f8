"""A look at whoever has the address: it has an end, whatever is sent."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sealgate.engines.installed import look
from sealgate.engines.installed.expected import Expected
from sealgate.policy.model import Endpoint

Say = Callable[[socket.socket], None]


def dripping(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 308 x\r\n")
    while True:
        sock.sendall(b"a")
        time.sleep(0.02)


def endless(sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 308 x\r\n")
    while True:
        sock.sendall(b"a: b\r\n" * 1000)


def said(answer: bytes) -> Say:
    return lambda sock: sock.sendall(answer)


@contextlib.contextmanager
def listener(say: Say) -> Iterator[Endpoint]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                sock, _ = server.accept()
                with sock:
                    sock.recv(65536)
                    say(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint(*server.getsockname())
        thread.join(10)
        assert not thread.is_alive()


def plain(endpoint: Endpoint) -> tuple[look.Difference, ...]:
    expected = Expected(
        https=(),
        http=(endpoint,),
        name="a.example",
        protocols=("TLSv1.3",),
        hsts="",
        plain=308,
        location="https://a.example/",
        clients="off",
        proxy_protocol=False,
        chain="",
    )
    return look.look(expected, "")


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (dripping, "takes too long|timed out"),
        (endless, "has no end"),
        (said(b""), "ended the connection"),
        (said(b"HTTP/1.1 308 x\r\n"), "ended the connection"),
        (said(b"SSH-2.0-x\r\n\r\n"), "SSH"),
        (said(b"HTTP/1.1 " + b"9" * 5000 + b"\r\n\r\n"), "999"),
        (said(b"HTTP/1.1\r\n\r\n"), "HTTP/1.1"),
    ],
)
def test_what_is_no_answer_is_said_in_time(monkeypatch: pytest.MonkeyPatch, say: Say, why: str) -> None:
    monkeypatch.setattr(look, "_TIMEOUT", 0.5)
    began = time.monotonic()
    with listener(say) as endpoint:
        (difference,) = plain(endpoint)
    assert time.monotonic() - began < 5
    assert difference.kind == "connection"
    assert re.search(why, difference.seen)


def test_an_answer_is_read_whatever_follows() -> None:
    answer = b"HTTP/1.1 308 Moved\r\nLocation: https://a.example/\r\nContent-Length: 9\r\n\r\nhalf"
    with listener(said(answer)) as endpoint:
        assert plain(endpoint) == ()
