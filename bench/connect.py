"""A client that waits: a full TLS 1.3 handshake per connection, one GET, nothing resumed.

Runs as its own process on the load's core (``python -m bench.connect``), and speaks JSON on stdout.
Groups, cipher and version are fixed by the OPENSSL_CONF that it is started with.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import sys
import time
from dataclasses import dataclass

__all__ = ["Target", "exchange", "main"]

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to, and from which addresses, in turn."""

    host: str
    port: int
    sources: tuple[str, ...]

    def request(self, *, close: bool) -> bytes:
        """The one GET."""
        connection = "close" if close else "keep-alive"
        return f"GET / HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: {connection}\r\n\r\n".encode()


def client_context(root: str | None = None) -> ssl.SSLContext:
    """TLS 1.3 only; the peer is verified only where a root is given (checking is not what is measured)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if root:
        context.load_verify_locations(root)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def exchange(context: ssl.SSLContext, target: Target, source: str, *, close: bool) -> ssl.SSLSocket:
    """Connect, shake hands, ask, read the answer.

    Raises:
        OSError: refused, reset, a failed handshake, or an answer other than 200.
    """
    plain = socket.create_connection((target.host, target.port), _TIMEOUT_SECONDS, (source, 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        connection = context.wrap_socket(plain, server_hostname=target.host)
    except BaseException:
        plain.close()
        raise
    try:
        _check_full(connection)
        connection.sendall(target.request(close=close))
        _read_answer(connection, to_end=close)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_full(connection: ssl.SSLSocket) -> None:
    if connection.session_reused:
        raise OSError("the handshake was not a full one: a session was resumed")


def _read_answer(connection: ssl.SSLSocket, *, to_end: bool) -> None:
    answer = b""
    while not answer.endswith(b"hello\n"):
        part = connection.recv(65536)
        if not part:
            break
        answer += part
    if not answer.startswith(b"HTTP/1.1 200 ") or b"\r\n\r\n" not in answer:
        raise OSError(f"the answer was not 200: {answer[:80]!r}")
    if to_end:
        try:
            while connection.recv(65536):
                pass
        except (ssl.SSLError, ConnectionResetError):
            pass  # an end without close_notify is an end


def _waits(target: Target, count: int, seconds: float) -> dict[str, object]:
    """``count`` connections one after the other; seconds from connect(2) to the answer, in order."""
    context = client_context()
    latencies: list[float] = []
    failed = 0
    reason = ""
    deadline = time.monotonic() + seconds
    for number in range(count):
        begun = time.monotonic()
        if begun > deadline:
            break
        try:
            exchange(context, target, target.sources[number % len(target.sources)], close=True).close()
        except OSError as error:
            failed += 1
            reason = str(error)
        else:
            latencies.append(time.monotonic() - begun)
    return {"latencies": sorted(latencies), "failed": failed, "reason": reason}


def _hold(target: Target, count: int, seconds: float) -> None:
    """Open ``count`` connections, say so, keep them until stdin ends."""
    context = client_context()
    deadline = time.monotonic() + seconds
    held = []
    failed, reason = 0, ""
    for number in range(count):
        if time.monotonic() > deadline or failed > count // 100:
            break
        source = target.sources[number % len(target.sources)]
        try:
            held.append(exchange(context, target, source, close=False))
        except OSError as error:
            failed, reason = failed + 1, str(error)
    print(json.dumps({"open": len(held), "failed": failed, "reason": reason}), flush=True)
    sys.stdin.read()
    alive = sum(_is_open(connection) for connection in held)
    print(json.dumps({"alive": alive}), flush=True)


def _is_open(connection: ssl.SSLSocket) -> bool:
    """Has the server kept it? A ticket may be waiting, an end must not."""
    connection.settimeout(0)
    try:
        return connection.recv(1) != b""
    except (ssl.SSLWantReadError, BlockingIOError):
        return True
    except OSError:
        return False


def main() -> None:
    """``waits`` or ``hold``; results as JSON lines."""
    parser = argparse.ArgumentParser(prog="bench.connect")
    parser.add_argument("what", choices=("waits", "hold"))
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--sources", default="127.0.0.1")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    call = parser.parse_args()
    target = Target(call.host, call.port, tuple(call.sources.split(",")))
    if call.what == "hold":
        _hold(target, call.count, call.seconds)
    else:
        print(json.dumps(_waits(target, call.count, call.seconds)))


if __name__ == "__main__":
    main()
