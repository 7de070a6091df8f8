"""A client at a steady pace: one process, one kept connection, so many requests a second.

A process of its own (``python -m bench.steady``); each answer is a line on stdout: when it was due, by the
monotonic clock that all processes share, and how long it took from then. A connection that the server ends is
opened again, and that time counts as the request's.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import ssl
import sys
import time

__all__ = ["client_context", "connect", "main", "request"]

_TIMEOUT_SECONDS = 20.0


def client_context(shown: str) -> ssl.SSLContext:
    """TLS 1.3 with a client certificate; the server is not verified (checking is not what is measured)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(shown)
    return context


def connect(context: ssl.SSLContext, host: str, port: int) -> ssl.SSLSocket:
    """A full handshake. Raises OSError."""
    plain = socket.create_connection((host, port), _TIMEOUT_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return context.wrap_socket(plain, server_hostname="localhost")
    except BaseException:
        plain.close()
        raise


def request(connection: ssl.SSLSocket, *, host: str = "localhost", close: bool = False) -> int:
    """One GET; its status, 0 where the connection ends without one. Raises OSError."""
    kept = "close" if close else "keep-alive"
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: {kept}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65536)
        if not part:
            return 0
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0].split(b":")[1]):
        part = connection.recv(65536)
        if not part:
            break
        body += part
    return int(head.split(b" ", 2)[1])


def _once(context: ssl.SSLContext, at: tuple[str, int], held: ssl.SSLSocket | None) -> ssl.SSLSocket | None:
    """Ask on what is held, or else anew; what is held then."""
    for connection in (held, None):
        try:
            use = connection or connect(context, *at)
            status = request(use)
        except OSError:
            status = 0
        if status == 200:
            return use
        with contextlib.suppress(OSError, UnboundLocalError):
            use.close()
    print("failed", flush=True)
    return None


def main() -> None:
    """Until stdin ends, or so many seconds."""
    parser = argparse.ArgumentParser(prog="bench.steady")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("shown")
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    call = parser.parse_args()
    context, held = client_context(call.shown), None
    due = time.monotonic()
    end = due + call.seconds
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        # From when it was due: a client that waits for the server would not see the requests it did not send.
        held = _once(context, (call.host, call.port), held)
        sys.stdout.write(f"{due:.6f} {time.monotonic() - due:.6f}\n")
        due += 1 / call.rate


if __name__ == "__main__":
    main()
