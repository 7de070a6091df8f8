"""A client with a certificate on kept connections, as fast as it is answered: ``python -m bench.kept``.

wrk shows no client certificate. A process of its own on the load's cores: it opens its connections, says so
with a line on stdout, and then for each line on stdin (seconds) asks on all of them, on each anew when it was
answered. What comes of it is one line of JSON. An answer that is not 200 ends it.
"""

from __future__ import annotations

import argparse
import json
import selectors
import ssl
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.steady import client_context, connect

__all__ = ["Answer", "complete", "main"]

_LATE = 20.0
"""Seconds that the last answers may take."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The first in what was received: its status, and how many bytes of it there are."""

    status: int
    size: int


def complete(received: bytes) -> Answer | None:
    """The answer that stands there; None: not all of it yet.

    Raises:
        ValueError: it tells no length, or is no answer.
    """
    head, found, _ = received.partition(b"\r\n\r\n")
    if not found:
        return None
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            size = len(head) + 4 + int(value)
            return Answer(int(head.split(b" ", 2)[1]), size) if len(received) >= size else None
    raise ValueError("an answer without a length")


class _Kept:
    """One connection."""

    __slots__ = ("asked", "connection", "received")

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.connection, self.received, self.asked = connection, b"", 0.0

    def ask(self, request: bytes) -> None:
        self.received, self.asked = b"", time.perf_counter()
        self.connection.sendall(request)  # small, and the one before was answered: there is room

    def take(self) -> bool:
        """Is the answer there? Raises OSError and ValueError."""
        while True:
            try:
                part = self.connection.recv(65536)
            except ssl.SSLWantReadError:
                return False
            if not part:
                raise OSError("the server ended a kept connection")
            self.received += part
            found = complete(self.received)
            if found is not None:
                if found.status != 200:
                    raise OSError(f"the answer was {self.received[:400]!r}")
                return True


def _run(kept: list[_Kept], request: bytes, seconds: float) -> list[float]:
    """How long each request took."""
    took: list[float] = []
    with selectors.DefaultSelector() as selector:
        for one in kept:
            selector.register(one.connection, selectors.EVENT_READ, one)
            one.ask(request)
        waiting, end = len(kept), time.perf_counter() + seconds
        while waiting:
            if time.perf_counter() > end + _LATE:
                raise OSError("requests were not answered")
            for key, _ in selector.select(1.0):
                one = key.data
                if one.take():
                    now = time.perf_counter()
                    took.append(now - one.asked)
                    if now < end:
                        one.ask(request)
                    else:
                        waiting -= 1
    return took


def main() -> int:
    """Until stdin ends."""
    parser = argparse.ArgumentParser(prog="bench.kept")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("shown", help="certificate and key, PEM")
    parser.add_argument("request", type=Path, help="what is sent, byte for byte")
    parser.add_argument("--connections", type=int, default=32)
    call = parser.parse_args()
    context, request = client_context(call.shown), call.request.read_bytes()
    try:
        kept = [_Kept(connect(context, call.host, call.port)) for _ in range(call.connections)]
        for one in kept:
            one.connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        print("ready", flush=True)
        for line in sys.stdin:
            took = sorted(_run(kept, request, float(line)))
            print(json.dumps({"count": len(took), "p50": took[len(took) // 2]}), flush=True)
    except (OSError, ValueError) as error:
        print(json.dumps({"failed": str(error)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
