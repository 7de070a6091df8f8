"""The guard in front of an ASGI app (ASGI 3: http, websocket, lifespan)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sealgate.guard.admission import NOTHING, Means
from sealgate.guard.asking import Asking
from sealgate.guard.body import TooLarge
from sealgate.guard.decision import (
    BODY_CUT,
    BODY_TOO_LARGE,
    HEADERS_TOO_LARGE,
    PATH_MISMATCH,
    REVOKED,
    UNJUDGED,
    UNKNOWN,
    VALIDATED,
    Deny,
    Facts,
)
from sealgate.guard.headers import is_spoofable
from sealgate.guard.judge import Judge
from sealgate.guard.log import denial, to_stderr
from sealgate.guard.problems import answer
from sealgate.guard.under_way import PIECE, CutOff, Told, UnderWay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealgate.guard.client import Client
    from sealgate.guard.compiled import Compiled
    from sealgate.guard.judge import Passed, Revoked
    from sealgate.guard.log import Log
    from sealgate.guard.problems import Answer
    from sealgate.guard.sources import Source

    Scope = dict[str, Any]
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
    Headers = list[tuple[bytes, bytes]]

__all__ = ["Guard"]

_MOST_REMEMBERED = 4096
_AT_ONCE = 64 * 1024
# Requests of these methods have no body that means anything (RFC 9110 §9.3).
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"})
_MOST_DISCARDED = 1024 * 1024
_SENT_WHOLE = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
_POLICY_VIOLATION = 1008  # RFC 6455 §7.4.1


class Guard:
    """An ASGI app that lets only judged requests and WebSockets through to another.

    Args:
        app: the app behind.
        compiled: the policy in force; see :meth:`use`.
        source: the engine's way of telling facts.
        log: takes one event per denial.
        revoked: clients.
        means: by what it judges beside the policy.
    """

    def __init__(
        self,
        app: AsgiApp,
        compiled: Compiled,
        source: Source,
        log: Log = to_stderr,
        *,
        revoked: Revoked = (),
        means: Means = NOTHING,
        told: Told | None = None,
    ) -> None:
        self._app = app
        self._revoked, self._means = revoked, means
        self._under_way = UnderWay(revoked, self._refused, told)
        self._asking = Asking(told)
        self._judge = Judge(compiled, revoked, means)
        self._source = source
        self._log = log
        # Whether a name is kept from the app. Clients choose names, so it is bounded.
        self._spoofable: dict[bytes, bool] = {}

    def use(self, compiled: Compiled) -> None:
        """Judge by another policy from the next request on."""
        self._judge = Judge(compiled, self._revoked, self._means)
        self._source.use(compiled)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one exchange (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            # A kind of exchange this guard cannot judge is not let through.
            raise NotImplementedError(f"unknown ASGI scope {scope['type']!r}")
        await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: Headers = list(scope["headers"])
        told = self._source.from_scope(scope)
        if told is None:
            await self._refuse(UNJUDGED, None, scope, receive, send)
            return
        origin, target = told
        method = scope.get("method", "GET")  # a WebSocket begins with a GET
        length = b",".join([value for name, value in headers if name == b"content-length"]).decode("latin-1")
        host = _only(headers, b"host")
        judge = self._judge
        limit = judge.compiled.headers_limit
        if limit and _size(headers) > limit:
            passed: Passed | Deny = HEADERS_TOO_LARGE
        else:
            stranger = judge.stranger(origin)
            passed = stranger or judge(origin.client, method, host, target, length)
        if isinstance(passed, Deny) or scope["path"] != passed.path:
            deny = passed if isinstance(passed, Deny) else PATH_MISMATCH
            facts = Facts(origin.client, method, host, target)
            await self._refuse(deny, facts, scope, receive, send)
            return
        client = origin.client
        if judge.admission is not None:
            asked = partial(judge.admission, client, method, passed.path, partial(_values, headers))
            # Another machine's word is waited for in a thread: the loop has other callers.
            admitted = await asyncio.to_thread(asked) if judge.admission.blocking else asked()
            client = admitted.client
            if admitted.deny is not None:
                facts = Facts(client, method, host, target)
                await self._refuse(admitted.deny, facts, scope, receive, send)
                return
            if admitted.headers:
                send = _telling(send, admitted.headers)
        facts = Facts(client, method, host, target, length)
        if judge.validation is not None:
            invalid, content = await self._validated(judge, facts, passed, headers, scope, receive)
            if invalid is not None:
                await self._refuse(invalid, facts, scope, receive, send)
                return
            if content is not None:
                facts, receive = replace(facts, length=str(len(content))), _again(content, receive)
        told_app = self._told_app(scope, headers, (client, origin.port), passed, judge.compiled)
        await self._let_through(told_app, facts, receive, send)

    async def _let_through(self, told_app: Scope, facts: Facts, receive: Receive, send: Send) -> None:
        if facts.client.watched:
            await self._watch(told_app, facts, facts.length, receive, send)
        else:
            await self._call(told_app, facts, facts.length, receive, send)

    async def _validated(
        self,
        judge: Judge,
        facts: Facts,
        passed: Passed,
        headers: Headers,
        scope: Scope,
        receive: Receive,
    ) -> tuple[Deny | None, bytes | None]:
        """By the API's description: why not, and the body, if it was read."""
        assert judge.validation is not None  # noqa: S101 - asked for
        fields = partial(_values, headers)
        checked = judge.validation(facts.method, passed.path, passed.query, facts.length, fields)
        denied: Deny | None = None
        content: bytes | None = None
        if isinstance(checked, Deny):
            denied = checked
        elif isinstance(checked, bytes):
            content = checked if scope["type"] == "http" else None
        elif checked is not None:
            content = await _taken_in(receive, judge.compiled.body_limit)
            if content is None:
                return BODY_CUT, None
            if len(content) > judge.compiled.body_limit:
                return BODY_TOO_LARGE, None
            # What takes its time does so in a thread: the loop has other callers.
            judged = (
                await asyncio.to_thread(checked.body, content)
                if len(content) > _AT_ONCE
                else checked.body(content)
            )
            denied = judged or self._refused(facts.client)  # it may have taken its time
        if denied is not None and denied.problem.slug in VALIDATED and not judge.validation.enforced:
            self._note(denied, facts, scope, enforced=False)
            denied = None
        return denied, content

    async def _watch(
        self,
        admitted: Scope,
        facts: Facts,
        length: str,
        receive: Receive,
        send: Send,
    ) -> None:
        """Call the app for a client who may be revoked before the exchange ends.

        It may not hand a file to the server to be sent: nothing could end that.
        """
        if extensions := admitted.get("extensions"):
            kept = {name: value for name, value in extensions.items() if name not in _SENT_WHOLE}
            admitted = {**admitted, "extensions": kept}
        watched = _Watched(receive, send)
        mark = self._under_way.enter(facts.client, watched.end_soon)
        try:
            await self._call(admitted, facts, length, watched.receive, watched.send)
        except (Exception, asyncio.CancelledError):
            if not watched.ended:
                raise
        finally:
            watched.over = True
            self._under_way.leave(mark)
        if watched.ended and not watched.complete:
            await self._cut_off(watched, facts, admitted, receive, send)

    async def _call(self, admitted: Scope, facts: Facts, length: str, receive: Receive, send: Send) -> None:
        """The app; a body whose length is not known is counted."""
        if length or facts.method in _BODILESS or admitted["type"] != "http":
            await self._app(admitted, receive, send)
            return
        counted = _Counted(receive, send, self._judge.compiled.body_limit)
        try:
            await self._app(admitted, counted.receive, counted.send)
        except TooLarge:
            if counted.answering:
                raise
        if counted.exceeded and not counted.answering:
            await counted.rest()
            await self._refuse(BODY_TOO_LARGE, facts, admitted, receive, send)

    async def _cut_off(
        self, watched: _Watched, facts: Facts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Its client was revoked meanwhile. An answer that has begun must not look as if it were whole."""
        if not watched.answering and scope["type"] == "http":
            await self._refuse(self._why(facts), facts, scope, receive, send)
            return
        self._note(self._why(facts), facts, scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
            return
        raise CutOff

    def _refused(self, client: Client) -> Deny | None:
        """By the policy in force: may an exchange of this one not go on?"""
        return self._judge.refused(client)

    def _why(self, facts: Facts) -> Deny:
        return self._refused(facts.client) or REVOKED

    def _told_app(
        self, scope: Scope, headers: Headers, caller: tuple[Client, int], passed: Passed, compiled: Compiled
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
            "client": (caller[0].address, caller[1]),
            "server": (compiled.public_host, compiled.public_port),
            "scheme": "https" if scope["type"] == "http" else "wss",
            "sealgate": {"client": caller[0], "rates": self._judge.counting},
        }

    def _is_spoofable(self, name: bytes) -> bool:
        # Frameworks that make CGI names of fields cannot tell "_" from "-": no name with "_" gets through.
        spoofable = b"_" in name or is_spoofable(name.decode("latin-1"))
        if len(self._spoofable) >= _MOST_REMEMBERED:
            self._spoofable = {}
        self._spoofable[name] = spoofable
        return spoofable

    def _note(
        self, deny: Deny, facts: Facts | None, scope: Scope, *, enforced: bool = True
    ) -> tuple[str, str]:
        """Into the log, and what is not known is asked for; returns the method and the id of the request."""
        if deny is UNKNOWN and facts is not None and facts.client.certificate is not None:
            self._asking.ask(facts.client.certificate)
        method = str(scope.get("method", "GET"))
        request_id = _only(scope["headers"], b"x-request-id")
        self._log(
            denial(
                deny,
                address=facts.client.address if facts else "",
                client=facts.client if facts else None,
                method=method,
                target=facts.target if facts else "",
                request_id=request_id,
                enforced=enforced,
            )
        )
        return method, request_id

    async def _refuse(
        self, deny: Deny, facts: Facts | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        method, request_id = self._note(deny, facts, scope)
        said = answer(
            deny.problem,
            method=method,
            request_id=request_id,
            headers=deny.headers,
            members=deny.members,
        )
        if scope["type"] == "http":
            await _send_answer(said, "http.response", send)
            return
        await receive()  # websocket.connect
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await _send_answer(said, "websocket.http.response", send)
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})


async def _taken_in(receive: Receive, limit: int) -> bytes | None:
    """The whole body, or more than the limit of it; None: the client has gone."""
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit or not message.get("more_body"):
            return b"".join(pieces)


def _again(content: bytes, receive: Receive) -> Receive:
    """A body that was taken in, for the app."""
    pending = [{"type": "http.request", "body": content, "more_body": False}]

    async def received() -> dict[str, Any]:
        return pending.pop() if pending else await receive()

    return received


class _Watched:
    """An exchange of a client who may be revoked before it ends. Made in its task.

    Attributes:
        ended: the client was revoked; the app gets and sends no more.
        over: the app has returned.
        answering: an answer has begun, or a WebSocket was accepted.
        complete: the answer was whole before that.
    """

    __slots__ = ("_loop", "_receive", "_send", "_task", "answering", "complete", "ended", "over")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self.ended = self.over = self.answering = self.complete = False

    def end_soon(self) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: so is everything
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self.over:
            self.ended = True
            if self._task is not None:
                self._task.cancel()

    async def receive(self) -> dict[str, Any]:
        self._go_on()
        return await self._receive()

    async def send(self, message: dict[str, Any]) -> None:
        self._go_on()
        self.answering = True
        body = message.get("body", b"")
        if len(body) > PIECE and message["type"] == "http.response.body":
            view = memoryview(body)
            for at in range(0, len(body) - PIECE, PIECE):
                piece = bytes(view[at : at + PIECE])
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                self._go_on()
            message = {**message, "body": bytes(view[(len(body) - 1) // PIECE * PIECE :])}
        await self._send(message)
        self.complete = message["type"] == "http.response.body" and not message.get("more_body")

    def _go_on(self) -> None:
        if self.ended:  # whatever the app makes of its cancellation
            raise CutOff


class _Counted:
    """An exchange whose body has no announced length: counted here where the engine cannot.

    Once it is too large the app gets no more of it and answers no more, whatever it makes of the exception.
    """

    __slots__ = ("_left", "_more", "_receive", "_send", "answering", "exceeded")

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive, self._send, self._left = receive, send, limit
        self._more = True
        self.exceeded = self.answering = False

    async def receive(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._more = bool(message.get("more_body"))
            self.exceeded = self._left < 0
        if self.exceeded:
            raise TooLarge
        return message

    async def rest(self) -> None:
        """Take in a little more of the body, for nothing.

        An engine that is still sending to a worker that has closed finds an error where the answer would be
        (Apache: 503). Who sends much more than is allowed may get that.
        """
        end = self._left - _MOST_DISCARDED
        while self._more and self._left > end:
            message = await self._receive()
            self._more = bool(message.get("more_body"))  # no more after a disconnect either
            self._left -= len(message.get("body", b""))

    async def send(self, message: dict[str, Any]) -> None:
        if self.exceeded and not self.answering:
            raise TooLarge
        self.answering = True
        await self._send(message)


async def _send_answer(said: Answer, kind: str, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said.headers]
    await send({"type": f"{kind}.start", "status": said.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": said.body})


def _size(headers: Headers) -> int:
    """Bytes of all header fields that came from outside: names and values."""
    return sum(len(name) + len(value) for name, value in headers if not name.startswith(b"sealgate-"))


def _telling(send: Send, further: tuple[tuple[str, str], ...]) -> Send:
    """Whatever the app answers, these fields are in it."""
    fields = [(name.encode(), value.encode("latin-1")) for name, value in further]

    async def telling(message: dict[str, Any]) -> None:
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            message = {**message, "headers": [*message.get("headers", ()), *fields]}
        await send(message)

    return telling


def _values(headers: Headers, name: str) -> list[str]:
    """All values of a field: see :class:`~sealgate.guard.fields.Fields`."""
    wanted = name.encode("latin-1")
    return [value.decode("latin-1") for key, value in headers if key == wanted]


def _only(headers: Headers, wanted: bytes) -> str:
    """The value of a field that is there exactly once, else an empty text."""
    values = [value for name, value in headers if name == wanted]
    return values[0].decode("latin-1") if len(values) == 1 else ""
