"""Test apps: they tell what reached them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path


def app(environ, start_response):
    """WSGI: the request as the app sees it, as JSON; some paths do odd things."""
    path = environ["PATH_INFO"]
    if path == "/sleep":
        time.sleep(float(environ["QUERY_STRING"] or 1))
    if path == "/die":
        os._exit(7)
    if path == "/pid":
        return _json(start_response, {"pid": os.getpid()})
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"x" * 1024 for _ in range(int(environ["QUERY_STRING"] or 100)))
    if path == "/big":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * int(environ["QUERY_STRING"])]
    if path == "/drip":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _drip(int(environ["QUERY_STRING"] or 10))
    if path == "/fail":
        raise RuntimeError("as asked")
    if path == "/read":
        return _json(start_response, _attempts(environ["QUERY_STRING"]))
    digest, size = hashlib.sha256(), 0
    while chunk := environ["wsgi.input"].read(65536):
        digest.update(chunk)
        size += len(chunk)
    seen = {key: value for key, value in environ.items() if isinstance(value, str) and key not in os.environ}
    return _json(start_response, {"environ": seen, "size": size, "sha256": digest.hexdigest()})


def _drip(count):
    for number in range(count):
        time.sleep(0.1)
        yield b"%d\n" % number


def _attempts(folder):
    """Try to open every file below a folder for reading; the ones that could be opened."""
    opened = []
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            try:
                path.read_bytes()
            except OSError:
                continue
            opened.append(str(path))
    return {"opened": opened, "uid": os.getuid()}


def _json(start_response, value):
    body = json.dumps(value).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """ASGI: echo over HTTP and WebSocket; `/events` streams until the client goes."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await _websocket(receive, send)
    else:
        await _http(scope, receive, send)


async def _websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text") or message["bytes"].decode()})


async def _http(scope, receive, send):
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    facts = {key: scope[key] for key in ("scheme", "client", "server", "path", "http_version")}
    body = json.dumps({"headers": headers, "size": size, "pid": os.getpid(), **facts}).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    )
    await send({"type": "http.response.body", "body": body})
