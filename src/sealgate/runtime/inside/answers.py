"""What servers that run the app inside of themselves add to every answer, and what they say themselves.

Strict-Transport-Security is on every status (RFC 6797 §7.1), whoever made the answer: the app, the guard, or
the server because a request was none. What the app says about it itself does not count: the policy does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from sealgate.guard.problems import answer
from sealgate.policy.model import is_loopback_host
from sealgate.policy.problems import problem

__all__ = ["Hsts", "SecureAsgi", "problem_bytes"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAME = "strict-transport-security"
_RETRY_AFTER = {503: "1"}


class Hsts:
    """The value of Strict-Transport-Security.

    Args:
        value: as ``RenderFacts.hsts``.
        local: as ``RenderFacts.hsts_local``: for loopback names, where it makes a difference.
    """

    __slots__ = ("_local", "_value")

    def __init__(self, value: str, local: str = "") -> None:
        self._value, self._local = value, local

    def value(self, host: str) -> str:
        """For an answer to a request with this Host field."""
        return self._local if self._local and is_loopback_host(host.strip()) else self._value

    def added(self, fields: Iterable[tuple[str, str]], host: str) -> list[tuple[str, str]]:
        """An answer's fields with ours, without anybody else's."""
        kept = [field for field in fields if field[0].lower() != _NAME]
        kept.append((_NAME, self.value(host)))
        return kept


def problem_bytes(
    slug: str, hsts: Hsts, *, host: str = "", method: str = "", request_id: str = "", close: bool = True
) -> bytes:
    """A whole HTTP/1.1 answer of the server's own, as it goes over the wire.

    Args:
        slug: of ``policy/problems.py``.
        hsts: of the site.
        host: the Host field as far as it is known.
        method: HEAD gets no body.
        request_id: names the occurrence.
        close: the connection ends after it.
    """
    said = answer(problem(slug), method=method, request_id=request_id)
    fields = hsts.added(said.headers, host)
    if said.status in _RETRY_AFTER:
        fields.append(("retry-after", _RETRY_AFTER[said.status]))
    fields.append(("date", formatdate(usegmt=True)))
    if close:
        fields.append(("connection", "close"))
    lines = [f"HTTP/1.1 {said.status} {HTTPStatus(said.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + said.body


class SecureAsgi:
    """An ASGI app whose every HTTP answer carries the policy's Strict-Transport-Security.

    The answer that refuses a WebSocket is an HTTP answer too (``websocket.http.response.start``).
    """

    def __init__(self, app: AsgiApp, hsts: Hsts) -> None:
        self._app, self._hsts = app, hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection (ASGI 3)."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        value = self._hsts.value(hosts[0].decode("latin-1") if hosts else "").encode("ascii")

        async def secured(message: Message) -> None:
            if message["type"] in {
                "http.response.start",
                "websocket.http.response.start",
                "websocket.accept",
            }:
                fields = [field for field in message.get("headers", ()) if field[0].lower() != _NAME.encode()]
                message = {**message, "headers": [*fields, (_NAME.encode(), value)]}
            await send(message)

        await self._app(scope, receive, secured)
