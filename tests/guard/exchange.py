"""Requests as Envoy's worker sockets deliver them, and apps that show what reached them."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.policy.model import Policy

PROOF = "0123456789abcdef-0123456789ABCDEF"
REQUEST_ID = "0d9a1c2e-0000-4000-8000-00000000c0de"


def compiled(**tables: Any) -> Compiled:
    return compile_policy(Policy.model_validate(tables), 7)


SITE = compiled(site={"names": ["api.example.com", "*.example.org", "::1"]})


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)

    def problem(self) -> dict[str, Any]:
        assert self.header("content-type") == "application/problem+json"
        members: dict[str, Any] = json.loads(self.body)
        assert members["status"] == self.status
        return members


@dataclass
class Log:
    events: list[Mapping[str, object]] = field(default_factory=list)

    def __call__(self, event: Mapping[str, object]) -> None:
        self.events.append(event)

    @property
    def rules(self) -> list[object]:
        return [event["rule"] for event in self.events]


def environ(
    target: str = "/orders",
    *,
    method: str = "GET",
    host: str | None = "api.example.com:8443",
    address: str | None = "192.0.2.7:50007",
    body: bytes | None = None,
    length: bool = True,
    **further: Any,
) -> dict[str, Any]:
    """What Granian would make of a request; ``body`` None means none at all."""
    path, _, query = target.partition("?")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": query,
        "REMOTE_ADDR": "",
        "SERVER_NAME": "worker.sock",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/2",
        "HTTP_ACCEPT": "*/*",
        "HTTP_X_REQUEST_ID": REQUEST_ID,
        "wsgi.input": io.BytesIO(body or b""),
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": "http",
        "HTTP_SEALGATE_PROOF": PROOF,
        "HTTP_SEALGATE_PATH": target if target.isascii() else "",
    }
    if host is not None:
        made["HTTP_HOST"] = host
    if address is not None:
        made["HTTP_SEALGATE_ADDRESS"] = address
    if body is not None and length:
        made["CONTENT_LENGTH"] = str(len(body))
    made.update(further)
    setup_testing_defaults(made)
    return made


def call_wsgi(app: Any, environ: dict[str, Any]) -> Reply:
    """As a server does: iterate, then close, whatever happens."""
    started: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started[:] = [status, headers]
        return written.append

    response = app(environ, start_response)
    try:
        body = b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()
    status, headers = started
    return Reply(int(status.split()[0]), headers, b"".join(written) + body)


def scope(
    target: str = "/orders",
    *,
    kind: str = "http",
    method: str = "GET",
    host: bytes | None = b"api.example.com:8443",
    address: bytes | None = b"192.0.2.7:50007",
    headers: Iterable[tuple[bytes, bytes]] = (),
    extensions: Iterable[str] = ("websocket.http.response",),
) -> dict[str, Any]:
    """The same as an ASGI scope of Granian."""
    path, _, query = target.partition("?")
    fields = [
        (b"accept", b"*/*"),
        (b"x-request-id", REQUEST_ID.encode()),
        (b"sealgate-proof", PROOF.encode()),
        (b"sealgate-path", target.encode("latin-1")),
    ]
    fields += [(b"host", host)] if host is not None else []
    fields += [(b"sealgate-address", address)] if address is not None else []
    made: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "2",
        "scheme": "http" if kind == "http" else "ws",
        "path": unquote_to_bytes(path.encode("latin-1")).decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [*fields, *headers],
        "client": ("", "0"),
        "server": ("worker.sock", "0"),
        "state": {},
        "extensions": {name: {} for name in extensions},
    }
    further: dict[str, Any] = {"method": method} if kind == "http" else {"subprotocols": []}
    return made | further


def call_asgi(app: Any, scope: dict[str, Any], *received: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything the app sends, given these messages."""
    waiting = list(received)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def reply_of(sent: list[dict[str, Any]], kind: str = "http.response") -> Reply:
    start, *bodies = sent
    assert start["type"] == f"{kind}.start"
    assert all(message["type"] == f"{kind}.body" for message in bodies)
    assert not bodies[-1].get("more_body")
    headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Reply(start["status"], headers, b"".join(message.get("body", b"") for message in bodies))
