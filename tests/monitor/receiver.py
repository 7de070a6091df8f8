"""A webhook on loopback that can fail in every way, and checks signatures as the guide says."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = b"correct horse"


@dataclass
class Receiver:
    """What came.

    Attributes:
        answers: statuses, one for each request; then 204.
        got: bodies of what was signed right.
    """

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    def until(self, condition: Any, seconds: float = 30) -> None:
        """Wait for it."""
        end = time.monotonic() + seconds
        while not condition(self):
            assert time.monotonic() < end, (self.got, self.bad)
            time.sleep(0.02)


@contextmanager
def receiver(host: str = "127.0.0.1", *answers: int) -> Iterator[Receiver]:
    """A running one."""
    found = Receiver(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.tries.append(self.headers["Sealgate-Event-Id"])
            if problem := _wrong(self.headers, body):
                found.bad.append(problem)
            status = found.answers.pop(0) if found.answers else 204
            if status < 300:
                found.got.append(json.loads(body))
            self.send_response(status)
            if status in {301, 307, 308}:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    found.url = f"http://{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _wrong(headers: Any, body: bytes) -> str:
    timestamp = headers["Sealgate-Timestamp"]
    if abs(time.time() - int(timestamp)) > 300:
        return "timestamp"
    expected = "v1=" + hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(expected, headers["Sealgate-Signature"]) else "signature"
