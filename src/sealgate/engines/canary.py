"""Is this client certificate let in? A real handshake with it, and a request that no app ever sees.

The request is for a host that no site has: a server that took the certificate answers 421 by itself. One that
refuses it ends the handshake, closes the connection, or answers 403. A server that is just broken looks like
one that refuses: so whoever shows a revoked certificate shows a good one too. Where this machine's own
address may not come in, a server that took the certificate answers 403 too, and says why.

A connection that was opened before asks for a host that the site has: whoever answers what the guard refuses
has not heard of the revocation. Blocking; run it in a thread.
"""

from __future__ import annotations

import enum
import socket
import ssl

from sealgate._system.secret_file import secret_file
from sealgate.engines.observe import connect
from sealgate.policy.model import Endpoint, is_address
from sealgate.policy.problems import problem

__all__ = ["Kept", "Verdict", "shown"]

_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: canary.sealgate.invalid\r\nUser-Agent: sealgate\r\nConnection: close\r\n\r\n"
)
_STRANGER = problem("address-refused").type.encode()
_ENOUGH = 8192


class Verdict(enum.Enum):
    """What became of it."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def shown(
    endpoint: Endpoint, name: str, pem: bytes, *, timeout: float = 5.0, proxy_protocol: bool = False
) -> Verdict:
    """Show a client certificate to a listener.

    Args:
        endpoint: the listener.
        name: of the site, for SNI.
        pem: private key and certificates.
        timeout: seconds for each step.
        proxy_protocol: does the listener expect it?
    """
    context = _context(pem)
    try:
        raw = connect(endpoint, timeout, proxy_protocol=proxy_protocol)
    except OSError:
        return Verdict.UNKNOWN  # nobody listens: that says nothing of the certificate
    with raw:
        return _asked(raw, context, None if is_address(name) else name)


class Kept:
    """A connection that is opened with a client certificate, and asked later; arguments as of `shown`.

    Raises:
        OSError: there is none to be had.
    """

    def __init__(
        self, endpoint: Endpoint, name: str, pem: bytes, *, timeout: float = 5.0, proxy_protocol: bool = False
    ) -> None:
        self._host = f"[{name}]" if ":" in name else name
        raw = connect(endpoint, timeout, proxy_protocol=proxy_protocol)
        try:
            self._tls = _context(pem).wrap_socket(raw, server_hostname=None if is_address(name) else name)
        except BaseException:
            raw.close()
            raise

    def ask(self) -> Verdict:
        """What becomes of a request on it; whoever has ended the connection serves none. Once."""
        request = f"GET / HTTP/1.1\r\nHost: {self._host}\r\nUser-Agent: sealgate\r\n\r\n"
        try:
            with self._tls as tls:
                tls.sendall(request.encode("ascii"))
                answer = tls.recv(_ENOUGH)
        except TimeoutError:
            return Verdict.UNKNOWN
        except OSError:
            return Verdict.REFUSED
        return Verdict.TAKEN if answer and b" 403 " not in answer[:16] else Verdict.REFUSED

    def close(self) -> None:
        """It is not asked any more."""
        self._tls.close()


def _context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the server's own certificate is looked at elsewhere
    with secret_file(pem) as path:
        context.load_cert_chain(path)
    return context


def _asked(raw: socket.socket, context: ssl.SSLContext, name: str | None) -> Verdict:
    try:
        with context.wrap_socket(raw, server_hostname=name) as tls:
            tls.sendall(_REQUEST)
            answer = _read(tls)
    except TimeoutError:
        return Verdict.UNKNOWN
    except OSError:  # an alert; or a reset, which overtakes the alert where our request was not read
        return Verdict.REFUSED
    if not answer:
        return Verdict.REFUSED
    status = [*answer.split(b" ", 2), b""][1]
    if status == b"403" and _STRANGER in answer:
        return Verdict.TAKEN
    return {b"421": Verdict.TAKEN, b"403": Verdict.REFUSED}.get(status, Verdict.UNKNOWN)


def _read(tls: ssl.SSLSocket) -> bytes:
    """The beginning of an answer, as much as there is of a short one; what comes after it does not matter."""
    answer = tls.recv(_ENOUGH)
    if b" 403 " not in answer[:16]:
        return answer
    try:
        while _STRANGER not in answer and len(answer) < _ENOUGH and (more := tls.recv(_ENOUGH)):
            answer += more
    except OSError:  # closed without a word, or silent
        pass
    return answer
