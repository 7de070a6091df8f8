"""Apps that keep a record of each request that reached them, in the file that WITNESS names:
one JSON object a line.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time


def record(**facts):
    """One line, at once and whole."""
    descriptor = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (json.dumps(facts) + "\n").encode())
    os.close(descriptor)


def certificate(client):
    """What the client showed, or None."""
    shown = client.certificate
    return shown and [shown.fingerprint, shown.subject, shown.common_name]


def token(client):
    """What it was known by, or None."""
    shown = client.token
    return shown and [shown.issuer, shown.subject, sorted(shown.scopes)]


def app(environ, start_response):
    """WSGI."""
    digest, size = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
        size += len(piece)
    seen = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "address": environ["REMOTE_ADDR"],
        "scheme": environ["wsgi.url_scheme"],
        "server": [environ["SERVER_NAME"], environ["SERVER_PORT"]],
        "client": environ["sealgate.client"].address,
        "certificate": certificate(environ["sealgate.client"]),
        "groups": environ["sealgate.client"].groups,
        "token": token(environ["sealgate.client"]),
        "pid": os.getpid(),
        "variables": {k: v for k, v in environ.items() if isinstance(v, str) and k not in os.environ},
        "size": size,
        "sha256": digest.hexdigest(),
    }
    record(**seen)
    return _answer(environ["PATH_INFO"], environ["QUERY_STRING"], seen, start_response)


def _answer(path, query, seen, start_response):
    if path == "/sleep":
        time.sleep(float(query))
    if path == "/status":
        start_response(f"{query} As Asked", [("Content-Type", "text/plain"), ("Server", "Witness/1.0")])
        return [] if query in {"204", "304"} else [b"as asked"]
    if path == "/leak":
        fields = [
            ("Server", "Witness/1.0"),
            ("X-Powered-By", "Witness"),
            ("Strict-Transport-Security", "max-age=1"),
        ]
        start_response("200 OK", [*fields, ("X-Envoy-Upstream-Service-Time", "7")])
        return [b"leaks"]
    if path == "/big":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (b"x" * 65536 for _ in range(int(query) // 65536))
    if path == "/drip":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return _Drip(query)
    body = json.dumps(seen).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class _Drip:
    """A piece every 50 ms for as long as it is wanted; says when the server lets go of it."""

    def __init__(self, name):
        self._name, self._count = name, 0

    def __iter__(self):
        return self

    def __next__(self):
        self._count += 1
        if self._count > 1:
            time.sleep(0.05)
        return b"%d\n" % self._count

    def close(self):
        record(path="/closed", name=self._name)


async def asgi(scope, receive, send):
    """ASGI."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    seen = {
        "type": scope["type"],
        "method": scope.get("method", ""),
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "address": scope["client"][0],
        "scheme": scope["scheme"],
        "server": list(scope["server"]),
        "client": scope["sealgate"]["client"].address,
        "certificate": certificate(scope["sealgate"]["client"]),
        "groups": scope["sealgate"]["client"].groups,
        "token": token(scope["sealgate"]["client"]),
        "pid": os.getpid(),
        "version": scope["http_version"],
        "fields": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
    }
    if scope["type"] == "websocket":
        await _websocket(seen, receive, send)
    elif scope["path"] == "/events":
        await _events(seen, receive, send)
    elif scope["path"] == "/wait":
        await _wait(seen, receive)
    else:
        await _http(seen, receive, send)


async def _websocket(seen, receive, send):
    record(**seen)
    await receive()
    if seen["path"] == "/no":
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(seen)})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message.get("text") or message["bytes"].decode()})
    record(path="/closed", name=seen["query"], code=message.get("code"))


async def _events(seen, receive, send):
    record(**seen)
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/event-stream")],
    }
    await send(start)
    gone = asyncio.create_task(_until_gone(receive))
    number = 0
    while not gone.done():
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        number += 1
        await asyncio.wait([gone], timeout=0.05)
    record(path="/closed", name=seen["query"])


async def _wait(seen, receive):
    record(**seen)
    await _until_gone(receive)
    record(path="/closed", name=seen["query"])


async def _until_gone(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def _http(seen, receive, send):
    digest, size = hashlib.sha256(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            record(**seen, broken=True)
            return
        digest.update(message.get("body", b""))
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    seen = {**seen, "size": size, "sha256": digest.hexdigest()}
    record(**seen)
    if seen["path"] == "/sleep":
        await asyncio.sleep(float(seen["query"]))
    status = int(seen["query"]) if seen["path"] == "/status" else 200
    body = b"" if status in {204, 304} else json.dumps(seen).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers if body else []})
    await send({"type": "http.response.body", "body": body})
