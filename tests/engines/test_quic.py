"""A QUIC handshake with whoever is there, or is not."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from sealgate.engines import quic
from sealgate.engines.observe import Seen
from sealgate.errors import NotObserved
from sealgate.policy.model import Endpoint
from tests.live.served import loopback


@contextmanager
def looping(main: Callable[[asyncio.Event], Any]) -> Iterator[Any]:
    """An event loop in a thread of its own; yields what ``main`` says first."""
    ready, said, loop = threading.Event(), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        server, address = await main(stop)
        said.append(address)
        ready.set()
        await stop.wait()
        server.close()
        await asyncio.sleep(0.05)  # what it still has to say, and the end of its transport

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert ready.wait(20)
        yield said[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


@contextmanager
def server(
    key_type: trustme.KeyType = trustme.KeyType.ECDSA, alpn: str = "h3", host: str = ""
) -> Iterator[tuple[Endpoint, str]]:
    """Somebody else's HTTP/3 server: its address and its certificate's fingerprint."""
    issued = trustme.CA(key_type=key_type).issue_cert("localhost", key_type=key_type)
    leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    settings = QuicConfiguration(is_client=False, alpn_protocols=[alpn])
    settings.certificate = leaf
    settings.private_key = load_pem_private_key(issued.private_key_pem.bytes(), None)

    async def main(_stop: asyncio.Event) -> tuple[Any, tuple[str, int]]:
        made = await serve(host or loopback(), 0, configuration=settings)
        transport: Any = made._transport
        return made, transport.get_extra_info("sockname")[:2]

    with looping(main) as (where, port):
        yield Endpoint(where, port), hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest()


@pytest.mark.parametrize("key_type", list(trustme.KeyType), ids=str)
def test_what_is_shown_is_seen(key_type: trustme.KeyType) -> None:
    with server(key_type) as (endpoint, fingerprint):
        seen = quic.handshake(endpoint, "localhost", timeout=20)
        assert (seen.fingerprint, seen.protocol) == (fingerprint, "TLSv1.3")
        assert hashlib.sha256(seen.leaf).hexdigest() == fingerprint
        assert quic.compared(endpoint, "localhost", {"ecdsa": fingerprint})[1] == ""
        assert quic.compared(endpoint, "localhost", {"rsa": "ab" * 32, "ecdsa": fingerprint})[1] == ""
        assert quic.compared(endpoint, "localhost", {})[1] == ""
        differs = quic.compared(endpoint, "localhost", {"ecdsa": "ab" * 32})[1]
        assert differs == f"serves certificate {fingerprint[:16]}, not abababababababab"


def test_over_ipv6_and_by_an_address() -> None:
    with server(host="::1") as (endpoint, fingerprint):
        assert quic.handshake(endpoint, "::1", timeout=20).fingerprint == fingerprint


def test_one_that_speaks_something_else_is_no_listener_of_http3() -> None:
    with server(alpn="doq") as (endpoint, _), pytest.raises(NotObserved, match="ended the connection"):
        quic.handshake(endpoint, "localhost", timeout=20)


def test_a_port_that_nobody_has_is_seen_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((loopback(), 0))
        endpoint = Endpoint(*sock.getsockname())
    with pytest.raises(NotObserved, match="refused"):
        quic.handshake(endpoint, "localhost", timeout=60)


def test_one_that_says_nothing_is_waited_for_no_longer_than_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((loopback(), 0))
        with pytest.raises(NotObserved, match="none within"):
            quic.handshake(Endpoint(*sock.getsockname()), "localhost", timeout=0.5)


@pytest.mark.parametrize("answer", [b"\x00", b"\xff" * 1200, b"HTTP/1.1 400\r\n\r\n", b"echo"], ids=repr)
def test_one_that_answers_rubbish_is_no_listener(answer: bytes) -> None:
    """Each datagram is answered by three; an echo sends back what it got."""

    class Rubbish(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            for _ in range(3):
                self.transport.sendto(data if answer == b"echo" else answer, address)

    async def main(_stop: asyncio.Event) -> tuple[Any, tuple[str, int]]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Rubbish, (loopback(), 0))
        return transport, transport.get_extra_info("sockname")[:2]

    with looping(main) as address, pytest.raises(NotObserved, match="no QUIC handshake with"):
        quic.handshake(Endpoint(*address), "localhost", timeout=1)


def test_without_the_package_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quic, "find_spec", lambda _name: None)
    with pytest.raises(NotObserved, match=r"without the package aioquic.*sealgate\[gateway\]"):
        quic.handshake(Endpoint("127.0.0.1", 9), "localhost")


def test_a_parser_that_fails_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Seen:
        raise AssertionError("x" * 5)

    monkeypatch.setattr(quic, "_shaken", broken)
    with pytest.raises(NotObserved, match="xxxxx"):
        quic.handshake(Endpoint("127.0.0.1", 9), "localhost")


def test_nothing_of_it_is_loaded_where_nobody_asks() -> None:
    import subprocess

    code = "import sys, sealgate.runtime.keeper; sys.exit(any(n.startswith('aioquic') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
