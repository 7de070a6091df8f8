"""Which certificate is a client shown that takes signatures of one kind of key alone?

Python's ``ssl`` cannot say which signatures it takes. In TLS 1.2 the suite says it too: one of ``ECDHE_RSA``
must be signed with an RSA key, one of ``ECDHE_ECDSA`` with an EC key (RFC 8422 §2.2, §2.3). So this handshake
is one of TLS 1.2 with suites of one kind; every profile that allows two kinds of key has TLS 1.2. OpenSSL
does it and checks the server's signature; the certificate is read on the way, as TLS 1.2 sends it in the
clear: a server that asks for a client certificate ends the handshake after that, with ours still unseen.
"""

from __future__ import annotations

import socket
import ssl
import time

__all__ = ["KINDS", "leaf_of", "presented"]

KINDS = {
    "ecdsa": "ECDHE+aECDSA+AESGCM:ECDHE+aECDSA+CHACHA20",
    "rsa": "ECDHE+aRSA+AESGCM:ECDHE+aRSA+CHACHA20",
}
"""Kind of key to the suites that need it, as OpenSSL calls them."""

_MOST = 256 * 1024
_HANDSHAKE, _CERTIFICATE = 22, 11
_CLIENT_FLIGHTS = 2
"""Ours: the ClientHello, and what follows once the server's signature has been checked."""


def presented(sock: socket.socket, name: str | None, kind: str, *, timeout: float) -> bytes:
    """The leaf certificate, DER, that such a client is shown.

    Args:
        sock: connected; a PROXY header was sent where one is due.
        name: for SNI; None: none.
        kind: of :data:`KINDS`.
        timeout: seconds for all of it.

    Raises:
        OSError: there is none (``ssl.SSLError`` is one of these).
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _context(kind).wrap_bio(incoming, outgoing, server_hostname=name)
    heard, flights, end = bytearray(), 0, time.monotonic() + timeout
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            if flights < _CLIENT_FLIGHTS:
                raise
            return leaf_of(bytes(heard))
        else:
            return leaf_of(bytes(heard))
        try:
            if ours := outgoing.read():
                flights += 1
                sock.sendall(ours)
            sock.settimeout(max(end - time.monotonic(), 0.001))
            data = sock.recv(65536)
        except OSError:
            if flights < _CLIENT_FLIGHTS:
                raise
            data = b""
        if not data or len(heard) > _MOST:
            if flights < _CLIENT_FLIGHTS:
                raise ssl.SSLError("the server ended the handshake before it was through")
            return leaf_of(bytes(heard))
        heard += data
        incoming.write(data)


def _context(kind: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(KINDS[kind])
    return context


def leaf_of(heard: bytes) -> bytes:
    """The first certificate among a TLS 1.2 server's records (RFC 5246 §6.2.1, §7.4.2).

    Raises:
        OSError: there is none.
    """
    messages, at = b"", 0
    while at + 5 <= len(heard) and heard[at] == _HANDSHAKE:
        length = int.from_bytes(heard[at + 3 : at + 5])
        messages += heard[at + 5 : at + 5 + length]
        at += 5 + length
    at = 0
    while at + 4 <= len(messages):
        body = messages[at + 4 : at + 4 + int.from_bytes(messages[at + 1 : at + 4])]
        if messages[at] == _CERTIFICATE and len(body) > 6:
            return _whole(body[6:], int.from_bytes(body[3:6]))
        at += 4 + len(body)
    raise ssl.SSLError("the server showed no certificate")


def _whole(found: bytes, length: int) -> bytes:
    if not 0 < length <= len(found):
        raise ssl.SSLError("the server's certificate is cut off")
    return found[:length]
