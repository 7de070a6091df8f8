"""Test apps for operations: slow, long, dying, and telling which process answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from pathlib import Path

if os.environ.get("OPS_SWITCH") and not Path(os.environ["OPS_SWITCH"]).exists():
    os._exit(9)  # an app that dies at each start, until the file is there


def app(environ, start_response):
    """WSGI. `/`: the pid; `/sleep?s`, `/drip?n` (a line each 0.1 s), `/upload` (size and digest), `/die`."""
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/die":
        os._exit(7)
    if path == "/sleep":
        time.sleep(float(query))
    if path == "/drip":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _drip(int(query))
    facts: dict[str, object] = {"pid": os.getpid()}
    if path == "/upload":
        digest, size = hashlib.sha256(), 0
        while chunk := environ["wsgi.input"].read(65536):
            digest.update(chunk)
            size += len(chunk)
        facts |= {"size": size, "sha256": digest.hexdigest()}
    body = json.dumps(facts).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _drip(count):
    for number in range(count):
        time.sleep(0.1)
        yield b"%d\n" % number


async def asgi(scope, receive, send):
    """The same for ASGI, and WebSocket echo."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    else:
        await _http(scope, receive, send)


async def _lifespan(receive, send):
    await receive()
    if os.environ.get("OPS_FAIL"):
        await send({"type": "lifespan.startup.failed", "message": os.environ["OPS_FAIL"]})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if os.environ.get("OPS_GOODBYE"):
        Path(os.environ["OPS_GOODBYE"]).touch()
    await send({"type": "lifespan.shutdown.complete"})


async def _http(scope, receive, send):
    path, query = scope["path"], scope["query_string"].decode()
    if path == "/die":
        os._exit(7)
    if path == "/sleep":
        await asyncio.sleep(float(query))
    kind = b"text/event-stream" if path == "/events" else b"text/plain"
    if path in {"/drip", "/events"}:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for number in range(int(query)):
            await asyncio.sleep(0.1)
            line = b"data: %d\n\n" % number if path == "/events" else b"%d\n" % number
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    digest, size = hashlib.sha256(), 0
    while True:
        message = await receive()
        digest.update(message.get("body", b""))
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = json.dumps({"pid": os.getpid(), "size": size, "sha256": digest.hexdigest()}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
