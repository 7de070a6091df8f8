"""Look at a UDP listener from outside: a real QUIC handshake (RFC 9001). Blocking; run it in a thread.

TCP's handshake says nothing about it: the socket is another one, and so is what the server does with
certificates there. aioquic's connection has no I/O of its own; this module is its I/O. Imported only where
HTTP/3 is on, as aioquic takes a moment to load.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from sealgate.engines.observe import Seen, reachable
from sealgate.errors import NotObserved
from sealgate.policy.model import Endpoint

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection

__all__ = ["compared", "demand", "handshake"]

_LARGEST = 65536
_LOOK = "look at the lines before this one"


def demand(endpoint: Endpoint) -> None:
    """Could this listener be looked at? What cannot be observed is not served.

    Raises:
        NotObserved: `not-observed`: there is no aioquic.
    """
    try:
        there = find_spec("aioquic") is not None
    except ValueError:  # something that calls itself so without being a package
        there = False
    if not there:
        raise NotObserved(
            "not-observed",
            f"HTTP/3 on {endpoint} cannot be looked at without the package aioquic",
            "pip install 'sealgate[gateway]', or set listen.http3 = false",
            address=str(endpoint),
        )


def handshake(endpoint: Endpoint, name: str, *, timeout: float = 5.0) -> Seen:
    """A handshake as a stranger: nothing is verified but that the server has the certificate's key.

    Raises:
        NotObserved: `not-observed`: no handshake, or no aioquic to try one with.
    """
    demand(endpoint)
    try:
        return _shaken(endpoint, name, timeout)
    except Exception as error:  # noqa: BLE001 - a stranger's datagrams in a parser that is not ours
        fact = f"no QUIC handshake with {endpoint} ({str(error) or type(error).__name__})"
        raise NotObserved("not-observed", fact, _LOOK, address=str(endpoint)) from None


def compared(endpoint: Endpoint, name: str, shown: Mapping[str, str]) -> tuple[Seen, str]:
    """As `observe.compared`; of two certificates either will do: what each kind of client gets, TCP shows.

    Raises:
        NotObserved: `not-observed`: no handshake at all.
    """
    seen = handshake(endpoint, name)
    if not shown or seen.fingerprint in shown.values():
        return seen, ""
    wanted = " or ".join(fingerprint[:16] for fingerprint in shown.values())
    return seen, f"serves certificate {seen.fingerprint[:16]}, not {wanted}"


def _shaken(endpoint: Endpoint, name: str, timeout: float) -> Seen:
    from aioquic.quic.configuration import QuicConfiguration
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted

    settings = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], server_name=name, verify_mode=ssl.CERT_NONE
    )
    connection = QuicConnection(configuration=settings)
    address = reachable(endpoint)
    end = time.monotonic() + timeout
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)  # who is not there is said by ICMP, and nobody else is heard
        connection.connect(address, now=time.monotonic())
        while (now := time.monotonic()) < end:
            _send(sock, connection, now)
            while (event := connection.next_event()) is not None:
                if isinstance(event, HandshakeCompleted):
                    connection.close()  # or the server would keep a place for us until it is idle for long
                    _send(sock, connection, now)
                    return _seen(connection)
                if isinstance(event, ConnectionTerminated):
                    raise OSError(f"it ended the connection: {event.reason_phrase[:100] or event.error_code}")
            _receive(sock, connection, address, min(end, connection.get_timer() or end))
    raise TimeoutError(f"none within {timeout:.0f} s")


def _send(sock: socket.socket, connection: QuicConnection, now: float) -> None:
    for data, _ in connection.datagrams_to_send(now=now):
        sock.send(data)


def _receive(sock: socket.socket, connection: QuicConnection, address: tuple[str, int], until: float) -> None:
    """Wait for a datagram, or until the connection has something to do by itself."""
    sock.settimeout(max(0.001, until - time.monotonic()))
    try:
        data = sock.recv(_LARGEST)
    except TimeoutError:
        connection.handle_timer(now=time.monotonic())
    else:
        connection.receive_datagram(data, address, now=time.monotonic())


def _seen(connection: QuicConnection) -> Seen:
    leaf = connection.tls._peer_certificate  # noqa: SLF001 - aioquic has no other way to it
    if leaf is None:
        raise OSError("it showed no certificate")
    der = leaf.public_bytes(Encoding.DER)
    return Seen(hashlib.sha256(der).hexdigest(), "TLSv1.3", "", der)
