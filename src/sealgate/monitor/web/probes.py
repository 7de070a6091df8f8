"""`/healthz` and `/readyz`, for whoever may reach the address: two words, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from sealgate.monitor.metrics import Watched

__all__ = ["app", "is_ready"]


def is_ready(watched: Watched) -> bool:
    """Was every listener seen, lately, to serve what it shall?"""
    snapshot = watched.snapshot
    if snapshot is None or not watched.fresh or snapshot.engine.state == "down":
        return False
    lacking = snapshot.workers is not None and not snapshot.workers.serving
    return bool(snapshot.listeners) and not lacking and not any(one.problem for one in snapshot.listeners)


def app(watched: Callable[[], Watched]) -> ASGIApp:
    """The app."""

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        status, word = _judged(scope["path"], scope["method"], watched)
        body = f"{word}\n".encode() if scope["method"] != "HEAD" else b""
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(word) + 1).encode()),
            (b"cache-control", b"no-store"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer


def _judged(path: str, method: str, watched: Callable[[], Watched]) -> tuple[int, str]:
    if path not in {"/healthz", "/readyz"}:
        return 404, "not found"
    if method not in {"GET", "HEAD"}:
        return 405, "get it"
    if path == "/healthz" or is_ready(watched()):
        return 200, "ok"
    return 503, "not ready"
