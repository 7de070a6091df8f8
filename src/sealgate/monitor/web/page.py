"""The page, its data and the metrics: a Starlette app over what was last seen. It reads only.

The name that a browser was led by must be a loopback name or the address listened on: a page of a stranger
that lets its own name point here (DNS rebinding) gets 421 and learns nothing.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import jinja2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealgate.monitor import metrics
from sealgate.monitor.metrics import Watched
from sealgate.monitor.snapshot import to_json
from sealgate.monitor.words import View, view

__all__ = ["app", "host_is_known", "render"]

_TYPES = {
    "icon.svg": "image/svg+xml",
    "page.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::\d{1,5})?", re.ASCII)
# Nothing from anywhere but here, no inline script or style, and nobody frames it.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)


def app(watched: Callable[[], Watched], listens: str) -> ASGIApp:
    """The app.

    Args:
        watched: gives what is shown now.
        listens: the address listened on, `127.0.0.1:9443`.
    """

    async def page(_request: Request) -> Response:
        return _html("page.html", watched())

    async def fragment(_request: Request) -> Response:
        return _html("view.html", watched())

    async def status(_request: Request) -> Response:
        return Response(_status(watched()), media_type="application/json")

    async def numbers(_request: Request) -> Response:
        return Response(metrics.text(watched()), headers={"content-type": metrics.CONTENT_TYPE})

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _TYPES:
            return PlainTextResponse("not found\n", 404)
        return Response(_asset(name), headers={"content-type": _TYPES[name]})

    routes = [
        Route("/", page),
        Route("/view", fragment),
        Route("/status.json", status),
        Route("/metrics", numbers),
        Route("/static/{name}", asset),
    ]
    return _Guarded(Starlette(routes=routes), listens)


def host_is_known(host: str, listens: str) -> bool:
    """Is this Host one by which this page may be asked for?"""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match[1].strip("[]").lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost") or name == listens.rpartition(":")[0].strip("[]"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Guarded:
    """Judges the Host before anything else, and adds to each answer what browsers are to hold to."""

    def __init__(self, inner: ASGIApp, listens: str) -> None:
        self._inner, self._listens = inner, listens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_SAFE]}
            await send(message)

        hosts = [value for name, value in scope["headers"] if name == b"host"]
        known = len(hosts) == 1 and host_is_known(hosts[0].decode("latin-1"), self._listens)
        answer = self._inner if known else PlainTextResponse("ask for localhost\n", 421)
        await answer(scope, receive, safe)


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(
        lambda name: files(__package__).joinpath("templates", name).read_text(encoding="utf-8")
    )
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@cache
def _asset(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()


def _html(template: str, watched: Watched) -> Response:
    return Response(render(template, watched), media_type="text/html")


def render(template: str, watched: Watched) -> str:
    """A template with what is watched; everything in it escaped."""
    shown: View | None = None
    if watched.snapshot is not None:
        shown = view(watched.snapshot, watched.alerts, watched.now)
    return _environment().get_template(template).render(view=shown, watched=watched)


def _status(watched: Watched) -> str:
    """For scripts: the snapshot and what is wrong with it."""
    alerts = [
        {"code": one.code, "key": one.key, "severity": one.severity.name.lower(), "sentence": one.sentence}
        for one in watched.alerts
    ]
    snapshot = to_json(watched.snapshot) if watched.snapshot is not None else None
    return json.dumps({"fresh": watched.fresh, "alerts": alerts, "snapshot": snapshot})
