"""An ASGI app that tells what its server told it, for servers that run the app inside of themselves."""

from __future__ import annotations

import asyncio
import json
import os


async def app(scope, receive, send):
    """`/hold?s` answers late, `/big?n` n bytes, `/fail` and `/odd` wrongly; others what it knows."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _websocket(scope, receive, send)
    else:
        await _http(scope, receive, send)


async def _lifespan(receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _websocket(scope, receive, send):
    await receive()
    if scope["path"] == "/no":
        await send({"type": "websocket.close"})
        return
    if scope["path"] == "/fail":
        raise RuntimeError("as asked")
    if scope["path"] == "/hold":
        await asyncio.sleep(30)
    tls = scope["extensions"]["tls"]
    await send({"type": "websocket.accept", "headers": [(b"server", b"inside"), (b"x-kept", b"yes")]})
    await send(
        {"type": "websocket.send", "text": json.dumps({"tls": tls["tls_version"], "pid": os.getpid()})}
    )
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def _http(scope, receive, send):
    path, query = scope["path"], scope["query_string"].decode()
    if path == "/fail":
        raise RuntimeError("as asked")
    if path == "/hold":
        await asyncio.sleep(float(query))
    size, whole = 0, False
    while not whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        whole = not message.get("more_body")
    answer = {"size": size, "pid": os.getpid(), "extensions": scope["extensions"]}
    answer["client"] = bool(scope["sealgate"]["client"].certificate)
    body = b"x" * int(query) if path == "/big" else json.dumps(answer).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    if path == "/odd":
        headers.append((b"x-odd", b"a\r\nb: c"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
