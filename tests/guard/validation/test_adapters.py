"""Bodies are taken in before the app is called: whole, within the limit, and given on as they came."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sealgate.guard import asgi, wsgi
from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.guard.sources import EnvoySource
from sealgate.policy.model import Policy
from sealgate.policy.openapi.document import read
from sealgate.policy.openapi.operations import operations_of
from tests.guard.exchange import PROOF, Log, call_asgi, call_wsgi, environ, reply_of, scope

OPERATIONS = operations_of(read(Path(__file__).parents[3] / "examples" / "orders.openapi.yaml"))
GOOD = json.dumps({"customer": "Ada", "lines": [{"sku": "a", "quantity": 1, "price_cents": 0}]}).encode()
KIND = {"CONTENT_TYPE": "application/json"}


def site(**further: str) -> Compiled:
    tables = {
        "site": {"names": ["api.example.com"]},
        "validation": {"openapi": "orders.yaml", **further},
        "limits": {"body": "2000B"},
    }
    made = compile_policy(Policy.model_validate(tables), 1, operations=OPERATIONS)
    assert Compiled.from_json(made.to_json()) == made
    return made


class Wsgi:
    def __init__(self, compiled: Compiled) -> None:
        self.log, self.bodies = Log(), list[bytes]()
        self.guard = wsgi.Guard(self._app, compiled, EnvoySource(PROOF), self.log)

    def _app(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.bodies.append(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
        start_response("200 OK", [])
        return []

    def ask(self, body: bytes, *, length: bool = True, **further: Any) -> tuple[int, object]:
        request = environ("/orders", method="POST", body=body, length=length, **{**KIND, **further})
        reply = call_wsgi(self.guard, request)
        return reply.status, self.log.rules[-1] if reply.status != 200 else ""


class Asgi:
    def __init__(self, compiled: Compiled) -> None:
        self.log, self.bodies = Log(), list[bytes]()
        self.guard = asgi.Guard(self._app, compiled, EnvoySource(PROOF), self.log)

    async def _app(self, _scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(self, body: bytes, *, length: bool = True, CONTENT_LENGTH: str = "") -> tuple[int, object]:  # noqa: N803 - as in WSGI
        size = CONTENT_LENGTH or str(len(body))
        fields = [(b"content-type", b"application/json")]
        fields += [(b"content-length", size.encode())] if length else []
        pieces = [body[at : at + 10] for at in range(0, len(body), 10)] or [b""]
        messages = [{"type": "http.request", "body": one, "more_body": True} for one in pieces]
        if not length or int(size) == len(body):
            messages[-1]["more_body"] = False
        messages.append({"type": "http.disconnect"})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope("/orders", method="POST", headers=fields), receive, send))
        status = reply_of(sent).status
        return status, self.log.rules[-1] if status != 200 else ""


@pytest.mark.parametrize("kind", (Wsgi, Asgi))
@pytest.mark.parametrize("length", (True, False))
def test_bodies(kind: type[Wsgi | Asgi], length: bool) -> None:
    by = kind(site())
    assert by.ask(GOOD, length=length) == (200, "")
    assert by.bodies == [GOOD]
    for body, answer in (
        (b"{}", (400, "request-invalid")),
        (b"", (400, "request-invalid")),
        (GOOD + b" " * 2000, (413, "body-limit")),
    ):
        assert by.ask(body, length=length) == answer
    assert by.bodies == [GOOD]


@pytest.mark.parametrize("kind", (Wsgi, Asgi))
def test_half_a_body_is_not_what_was_meant(kind: type[Wsgi | Asgi]) -> None:
    by = kind(site())
    assert by.ask(GOOD, CONTENT_LENGTH=str(len(GOOD) + 5)) == (400, "body-cut")
    assert by.bodies == []


@pytest.mark.parametrize("kind", (Wsgi, Asgi))
def test_report(kind: type[Wsgi | Asgi]) -> None:
    by = kind(site(mode="report"))
    assert by.ask(b'{"secret":1}') == (200, "")
    assert by.bodies == [b'{"secret":1}']
    (event,) = by.log.events
    assert (event["event"], event["code"], event["enforced"]) == ("reported", "request-invalid", False)
    assert "secret" not in json.dumps(event)
    assert by.ask(GOOD + b" " * 2000)[0] == 413, "limits are no matter of it"


def test_a_policy_whose_document_nobody_read_is_no_policy() -> None:
    with pytest.raises(ValueError, match="nobody read"):
        compile_policy(Policy.model_validate({"validation": {"openapi": "a.yaml"}}), 1)


def test_a_compiled_document_that_is_not_whole_is_refused() -> None:
    text = site().to_json()
    for wrong in ('"operations"', '"unknown"', '"definitions"'):
        with pytest.raises(Exception, match="compiled-policy-refused"):
            Compiled.from_json(text.replace(wrong, '"other"', 1))


def test_what_nobody_judged_does_not_come() -> None:
    """A GET has no body that means anything; one that comes all the same, without a length, is left out."""
    by = Wsgi(site())
    reply = call_wsgi(by.guard, environ("/orders", body=b'{"customer":5}', length=False))
    assert (reply.status, by.bodies) == (200, [b""])
    seen: list[bytes] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen.append(message["body"])
        assert not message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = asgi.Guard(app, site(), EnvoySource(PROOF), Log())
    sent = call_asgi(guard, scope("/orders"), {"type": "http.request", "body": b"evil", "more_body": False})
    assert (reply_of(sent).status, seen) == (200, [b""])
