"""Look at a listener from outside: a real handshake, a real answer. Blocking; run it in a thread.

Done means observed: what is compared here is what a client gets, not what a file says.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from sealgate.engines.presented import presented
from sealgate.errors import NotObserved
from sealgate.policy.model import Endpoint, is_address

__all__ = ["OfKind", "Seen", "compared", "connect", "handshake", "plain_status", "reachable", "whence"]

_EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is connected to instead


@dataclass(frozen=True, slots=True)
class Seen:
    """What one handshake showed.

    Attributes:
        fingerprint: SHA-256 of the leaf certificate's DER, lower-case hex.
        protocol: ``TLSv1.3``.
        cipher: the suite's OpenSSL name.
        leaf: the certificate itself, DER; empty: none was shown.
        kinds: what further handshakes showed, where two certificates are to be shown.
    """

    fingerprint: str
    protocol: str
    cipher: str
    leaf: bytes = field(default=b"", repr=False)
    kinds: tuple[OfKind, ...] = ()


@dataclass(frozen=True, slots=True)
class OfKind:
    """What a client gets that takes signatures of one kind of key alone.

    Attributes:
        kind: ``ecdsa`` or ``rsa``.
        seen: None: no handshake.
        differs: from what it is to get, a part of a sentence; empty: nothing.
    """

    kind: str
    seen: Seen | None
    differs: str


def reachable(endpoint: Endpoint) -> tuple[str, int]:
    """Where to connect to reach a listener on this machine."""
    return _EVERY.get(endpoint.host, endpoint.host), endpoint.port


def whence(endpoint: Endpoint) -> str:
    """The address that a look at this listener comes from, as the kernel would choose it; empty: none.

    For the rules about addresses, which look at nothing else. No packet is sent.
    """
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(reachable(endpoint))
        except OSError:
            return ""
        return str(sock.getsockname()[0])


def connect(endpoint: Endpoint, timeout: float, *, proxy_protocol: bool) -> socket.socket:
    """A connection to a listener on this machine; raises OSError."""
    sock = socket.create_connection(reachable(endpoint), timeout=timeout)
    if proxy_protocol:
        # With what may be left out: without it the line is just too short for Apache's mod_remoteip.
        sock.sendall(b"PROXY UNKNOWN ::1 ::1 0 0\r\n")
    return sock


def handshake(
    endpoint: Endpoint, name: str, *, timeout: float = 5.0, proxy_protocol: bool = False, kind: str = ""
) -> Seen:
    """A TLS handshake as a stranger: nothing is verified, everything is reported.

    Args:
        endpoint: the listener.
        name: asked for.
        timeout: seconds.
        proxy_protocol: connections begin with it.
        kind: take signatures of this kind of key alone, ``ecdsa`` or ``rsa``; empty: any.

    Raises:
        NotObserved: `not-observed`: no connection, or no handshake.
    """
    sni = None if is_address(name) else name
    try:
        if kind:
            with connect(endpoint, timeout, proxy_protocol=proxy_protocol) as raw:
                der = presented(raw, sni, kind, timeout=timeout)
            return Seen(hashlib.sha256(der).hexdigest(), "TLSv1.2", "", der)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with (
            connect(endpoint, timeout, proxy_protocol=proxy_protocol) as raw,
            context.wrap_socket(raw, server_hostname=sni) as tls,
        ):
            der = tls.getpeercert(binary_form=True) or b""
            cipher = tls.cipher() or ("", "", 0)
            return Seen(hashlib.sha256(der).hexdigest(), tls.version() or "", cipher[0], der)
    except (OSError, ssl.SSLError) as error:
        raise NotObserved(
            "not-observed",
            f"no TLS handshake with {endpoint} ({error})",
            "look at the lines before this one",
            address=str(endpoint),
        ) from None


def compared(
    endpoint: Endpoint,
    name: str,
    shown: Mapping[str, str],
    *,
    timeout: float = 5.0,
    proxy_protocol: bool = False,
) -> tuple[Seen, str]:
    """What a handshake showed, and how a listener differs from what it must show.

    Where two certificates are to be shown, two more handshakes take signatures of one kind of key each.

    Args:
        endpoint: the listener.
        name: asked for.
        shown: kind of key to the fingerprint of its certificate; empty: not known.
        timeout: seconds, of each handshake.
        proxy_protocol: connections begin with it.

    Returns:
        the first handshake, with the others in ``kinds``; and a part of a sentence; empty: nothing differs.

    Raises:
        NotObserved: `not-observed`: no connection, or no handshake at all.
    """
    look = partial(handshake, endpoint, name, timeout=timeout, proxy_protocol=proxy_protocol)
    seen = look()
    kinds = tuple(_of_kind(look, kind, wanted) for kind, wanted in shown.items()) if len(shown) > 1 else ()
    differs = next((one.differs for one in kinds if one.differs), "")
    if shown and seen.fingerprint not in shown.values():
        wanted = " or ".join(fingerprint[:16] for fingerprint in shown.values())
        differs = f"serves certificate {seen.fingerprint[:16]}, not {wanted}"
    return replace(seen, kinds=kinds), differs


def _of_kind(look: Callable[..., Seen], kind: str, wanted: str) -> OfKind:
    whom = f"to clients that take {kind.upper()} signatures alone"
    try:
        seen = look(kind=kind)
    except NotObserved:
        return OfKind(kind, None, f"serves no certificate {whom}")
    same = seen.fingerprint == wanted
    differs = "" if same else f"serves certificate {seen.fingerprint[:16]} {whom}, not {wanted[:16]}"
    return OfKind(kind, seen, differs)


def plain_status(endpoint: Endpoint, host: str, *, timeout: float = 5.0, proxy_protocol: bool = False) -> int:
    """The status of a plain HTTP request for `/`.

    Raises:
        NotObserved: `not-observed`: no connection, or no HTTP answer.
    """
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sealgate\r\nConnection: close\r\n\r\n".encode(
        "ascii"
    )
    try:
        with connect(endpoint, timeout, proxy_protocol=proxy_protocol) as sock:
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
