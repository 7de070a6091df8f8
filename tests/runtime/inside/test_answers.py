"""HSTS on every answer, and the server's own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sealgate.runtime.inside.answers import Hsts, SecureAsgi, problem_bytes

HSTS = Hsts("max-age=9", "max-age=3")


@pytest.mark.parametrize(
    ("host", "value"),
    [
        ("api.example.org", "max-age=9"),
        ("", "max-age=9"),
        ("localhost", "max-age=3"),
        ("LocalHost:8443", "max-age=3"),
        ("127.0.0.1:1", "max-age=3"),
        ("[::1]:8443", "max-age=3"),
        ("[2001:db8::1]", "max-age=9"),
    ],
)
def test_loopback_names_have_their_own_value(host: str, value: str) -> None:
    assert HSTS.value(host) == value
    assert Hsts("max-age=9").value(host) == "max-age=9"


def test_what_the_app_says_about_it_does_not_count() -> None:
    fields = [("Strict-Transport-Security", "max-age=0"), ("x", "y")]
    assert HSTS.added(fields, "a.test") == [("x", "y"), ("strict-transport-security", "max-age=9")]


@pytest.mark.parametrize(("slug", "status"), [("bad-request", 400), ("app-unavailable", 503)])
def test_an_answer_of_the_servers_own(slug: str, status: int) -> None:
    head, _, body = problem_bytes(slug, HSTS, host="localhost").partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {status} ")
    assert "content-type: application/problem+json" in lines
    assert "strict-transport-security: max-age=3" in lines
    assert f"content-length: {len(body)}" in lines
    assert ("retry-after: 1" in lines) is (status == 503)
    assert "connection: close" in lines
    assert json.loads(body)["status"] == status
    assert problem_bytes(slug, HSTS, method="HEAD").endswith(b"\r\n\r\n")


def test_an_asgi_app_is_covered_whatever_it_answers() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"Strict-Transport-Security", b"max-age=0")]
        await send({"type": "http.response.start", "status": 500, "headers": fields})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "headers": [(b"host", b"localhost")]}
    asyncio.run(SecureAsgi(app, HSTS)(scope, receive, send))
    assert sent[0]["headers"] == [(b"strict-transport-security", b"max-age=3")]
    asyncio.run(SecureAsgi(app, HSTS)({"type": "lifespan"}, receive, send))
    assert sent[2]["headers"] == [(b"Strict-Transport-Security", b"max-age=0")]
