"""Look at a listener from outside: a real handshake, a real answer. Blocking; run it in a thread.

Done means observed: what is compared here is what a client gets, not what a file says.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from dataclasses import dataclass

from sealgate.errors import NotObserved
from sealgate.policy.model import Endpoint, is_address

__all__ = ["Seen", "handshake", "plain_status", "reachable"]

_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is connected to instead


@dataclass(frozen=True, slots=True)
class Seen:
    """What one handshake showed.

    Attributes:
        fingerprint: SHA-256 of the leaf certificate's DER, lower-case hex.
        protocol: ``TLSv1.3``.
        cipher: the suite's OpenSSL name.
    """

    fingerprint: str
    protocol: str
    cipher: str


def reachable(endpoint: Endpoint) -> tuple[str, int]:
    """Where to connect to reach a listener on this machine."""
    return _EVERY.get(endpoint.host, endpoint.host), endpoint.port


def _connect(endpoint: Endpoint, timeout: float, *, proxy_protocol: bool) -> socket.socket:
    sock = socket.create_connection(reachable(endpoint), timeout=timeout)
    if proxy_protocol:
        sock.sendall(b"PROXY UNKNOWN\r\n")
    return sock


def handshake(endpoint: Endpoint, name: str, *, timeout: float = 5.0, proxy_protocol: bool = False) -> Seen:
    """A TLS handshake as a stranger: nothing is verified, everything is reported.

    Raises:
        NotObserved: `not-observed`: no connection, or no handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sni = None if is_address(name) else name
    try:
        with (
            _connect(endpoint, timeout, proxy_protocol=proxy_protocol) as raw,
            context.wrap_socket(raw, server_hostname=sni) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
            cipher = tls.cipher() or ("", "", 0)
            return Seen(hashlib.sha256(der).hexdigest(), tls.version() or "", cipher[0])
    except (OSError, ssl.SSLError) as error:
        raise NotObserved(
            "not-observed",
            f"no TLS handshake with {endpoint} ({error})",
            "look at the lines before this one",
            address=str(endpoint),
        ) from None


def plain_status(endpoint: Endpoint, host: str, *, timeout: float = 5.0, proxy_protocol: bool = False) -> int:
    """The status of a plain HTTP request for `/`.

    Raises:
        NotObserved: `not-observed`: no connection, or no HTTP answer.
    """
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sealgate\r\nConnection: close\r\n\r\n".encode(
        "ascii"
    )
    try:
        with _connect(endpoint, timeout, proxy_protocol=proxy_protocol) as sock:
            sock.sendall(request)
            answer = sock.recv(64)
        return int(answer.split(b" ", 2)[1])
    except (OSError, ValueError, IndexError) as error:
        raise NotObserved(
            "not-observed",
            f"no HTTP answer from {endpoint} ({error})",
            "look at the lines before this one",
            address=str(endpoint),
        ) from None
