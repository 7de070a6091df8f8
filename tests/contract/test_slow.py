"""Slow peers are cut by their timeouts, and nobody else notices them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.contract.sites import POLICIES, Site, on
from tests.live import hello
from tests.live.served import Served
from tests.live.wire import get, parse, tell

assert POLICIES["tight"]["timeouts"] == {"handshake": "2s", "headers": "2s", "request": "3s", "idle": "4s"}
SLACK = 3.0  # some close a second late, and the machine is shared
STALLED = 200

HELLO = hello.client_hello((0x0304,), hello.TLS13, (0x1D,))
HEAD = b"GET /x HTTP/1.1\r\nHost: local"
BODY = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"


def until_closed(sock: socket.socket) -> tuple[float, bytes]:
    """Seconds until the peer closes, and what it said; 15 at most."""
    began, data = time.monotonic(), b""
    sock.settimeout(15)
    with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
        while piece := sock.recv(65536):
            data += piece
    return time.monotonic() - began, data


def raw(served: Served) -> socket.socket:
    return socket.create_connection((served.host, served.https), timeout=10)


@dataclass(frozen=True)
class Stalls:
    """What is said before the silence, and between which seconds the peer ends it."""

    said: bytes
    least: float
    most: float
    tls: bool = True

    def __call__(self, served: Served) -> tuple[float, bytes]:
        with served.connect() if self.tls else raw(served) as sock:
            sock.sendall(self.said)
            return until_closed(sock)


# A server may count the wait for a first byte as one for a header, which is the stricter.
STALLING = {
    "nothing at all": Stalls(b"", 1, 2 + SLACK, tls=False),
    "half a hello": Stalls(HELLO[:60], 1, 2 + SLACK, tls=False),
    "a hello": Stalls(HELLO, 1, 2 + SLACK, tls=False),
    "half a header": Stalls(HEAD, 0.5, 2 + SLACK),
    "half a body": Stalls(BODY, 1.5, 3 + SLACK),
    "no request": Stalls(b"", 0.5, 4 + SLACK),
}
SLOW_APP = Stalls(get("localhost", "/sleep?9"), 1.5, 3 + SLACK)


def at_once(site: Site, stalling: dict[str, Stalls]) -> dict[str, tuple[float, bytes]]:
    """All of them stall at the same time: nobody waits for their timers one after the other."""
    with ThreadPoolExecutor(len(stalling)) as threads:
        told = {name: threads.submit(stalls, site.served) for name, stalls in stalling.items()}
    return {name: future.result() for name, future in told.items()}


def cut_in_time(stalling: dict[str, Stalls], told: dict[str, tuple[float, bytes]]) -> None:
    for name, (seconds, data) in told.items():
        assert stalling[name].least < seconds < stalling[name].most, name
        for answer in parse(data) if stalling[name].tls else ():
            wanted = (504, "app-timeout") if name == "slow app" else (408, "request-timeout")
            assert (answer.status, answer.slug) == wanted, name
            assert answer.one("strict-transport-security")


@on("tight")
def test_who_does_not_come_to_an_end_is_cut_in_time(site: Site) -> None:
    """In the handshake, in a request, before one; and an app that does not answer."""
    stalling = {**STALLING, "slow app": SLOW_APP}
    mark = site.witness.mark
    told = at_once(site, stalling)
    cut_in_time(stalling, told)
    assert len(parse(told["slow app"][1])) == 1
    assert [line["path"] for line in site.witness.since(mark)] == ["/sleep"]


@on("asgi")
def test_and_so_in_front_of_the_other_kind_of_app(site: Site) -> None:
    stalling = {"half a body": STALLING["half a body"], "slow app": SLOW_APP}
    told = at_once(site, stalling)
    cut_in_time(stalling, told)
    assert len(parse(told["slow app"][1])) == 1


def in_the_handshake(served: Served) -> socket.socket:
    sock = raw(served)
    sock.sendall(HELLO[:60])
    return sock


def after_it(said: bytes) -> Callable[[Served], socket.socket]:
    def stall(served: Served) -> socket.socket:
        tls = served.connect()
        tls.sendall(said)
        return tls

    return stall


STALLS = {"ClientHello": in_the_handshake, "headers": after_it(HEAD), "body": after_it(BODY)}


@on("usual")
@pytest.mark.parametrize("where", ["ClientHello", "body", pytest.param("headers", marks=pytest.mark.long)])
def test_two_hundred_stalled_peers_are_noticed_by_nobody(site: Site, where: str) -> None:
    before = one_by_one(site.served)
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(STALLS[where](site.served))
        among = one_by_one(site.served)
    after = one_by_one(site.served)
    # How busy the machine is may change meanwhile; who holds others up does it until a timeout.
    alone = max(statistics.median(before), statistics.median(after), 0.15)
    assert statistics.median(among) < 3 * alone, (before, among, after)
    assert max(among) < max(2, *before, *after) + 3 * alone


def one_by_one(served: Served) -> list[float]:
    """Seconds that twenty requests took, each on a connection of its own."""
    taken = []
    for _ in range(20):
        began = time.monotonic()
        (answer,) = tell(served, get("localhost", "/x"))
        taken.append(time.monotonic() - began)
        assert answer.status == 200
    return taken
