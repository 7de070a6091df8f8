"""The guard in front of an ASGI app (ASGI 3: http, websocket, lifespan)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealgate.guard.decision import PATH_MISMATCH, UNJUDGED, Deny, Facts
from sealgate.guard.headers import is_spoofable
from sealgate.guard.judge import Judge
from sealgate.guard.log import denial, to_stderr
from sealgate.guard.problems import answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealgate.guard.compiled import Compiled
    from sealgate.guard.judge import Passed
    from sealgate.guard.log import Log
    from sealgate.guard.problems import Answer
    from sealgate.guard.sources import Origin, Source

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
    Headers = list[tuple[bytes, bytes]]

__all__ = ["Guard"]

_MOST_REMEMBERED = 4096
_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1


class Guard:
    """An ASGI app that lets only judged requests and WebSockets through to another.

    Args:
        app: the app behind.
        compiled: the policy in force; see :meth:`use`.
        source: the engine's way of telling facts.
        log: takes one event per denial.
    """

    def __init__(self, app: AsgiApp, compiled: Compiled, source: Source, log: Log = to_stderr) -> None:
        self._app = app
        self._judge = Judge(compiled)
        self._source = source
        self._log = log
        # Whether a name is kept from the app. Clients choose names, so it is bounded.
        self._spoofable: dict[bytes, bool] = {}

    def use(self, compiled: Compiled) -> None:
        """Judge by another policy from the next request on."""
        self._judge = Judge(compiled)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one exchange (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            # A kind of exchange this guard cannot judge is not let through.
            raise NotImplementedError(f"unknown ASGI scope {scope['type']!r}")
        headers: Headers = list(scope["headers"])
        told = self._source.from_headers(headers)
        if told is None:
            await self._refuse(UNJUDGED, None, scope, receive, send)
            return
        origin, target = told
        method = scope.get("method", "GET")  # a WebSocket begins with a GET
        length = b",".join([value for name, value in headers if name == b"content-length"]).decode("latin-1")
        host = _only(headers, b"host")
        judge = self._judge
        passed = judge(origin.client, method, host, target, length)
        if isinstance(passed, Deny) or scope["path"] != passed.path:
            deny = passed if isinstance(passed, Deny) else PATH_MISMATCH
            facts = Facts(origin.client, method, host, target)
            await self._refuse(deny, facts, scope, receive, send)
        else:
            await self._app(self._admitted(scope, headers, origin, passed, judge.compiled), receive, send)

    def _admitted(
        self, scope: Scope, headers: Headers, origin: Origin, passed: Passed, compiled: Compiled
    ) -> Scope:
        """The scope as the app sees it."""
        known = self._spoofable
        return {
            **scope,
            "headers": [
                pair
                for pair in headers
                if not (known[pair[0]] if pair[0] in known else self._is_spoofable(pair[0]))
            ],
            "query_string": passed.query.encode("latin-1"),
            "client": (origin.client.address, origin.port),
            "server": (compiled.public_host, compiled.public_port),
            "scheme": "https" if scope["type"] == "http" else "wss",
            "sealgate": {"client": origin.client},
        }

    def _is_spoofable(self, name: bytes) -> bool:
        # Frameworks that make CGI names of fields cannot tell "_" from "-": no name with "_" gets through.
        spoofable = b"_" in name or is_spoofable(name.decode("latin-1"))
        if len(self._spoofable) >= _MOST_REMEMBERED:
            self._spoofable = {}
        self._spoofable[name] = spoofable
        return spoofable

    async def _refuse(
        self, deny: Deny, facts: Facts | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        method = str(scope.get("method", "GET"))
        request_id = _only(scope["headers"], b"x-request-id")
        self._log(
            denial(
                deny,
                address=facts.client.address if facts else "",
                method=method,
                target=facts.target if facts else "",
                request_id=request_id,
            )
        )
        said = answer(deny.problem, method=method, request_id=request_id)
        if scope["type"] == "http":
            await _send_answer(said, "http.response", send)
            return
        await receive()  # websocket.connect
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await _send_answer(said, "websocket.http.response", send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})


async def _send_answer(said: Answer, kind: str, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said.headers]
    await send({"type": f"{kind}.start", "status": said.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": said.body})


def _only(headers: Headers, wanted: bytes) -> str:
    """The value of a field that is there exactly once, else an empty text."""
    values = [value for name, value in headers if name == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else ""
