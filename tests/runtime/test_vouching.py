"""What another backend is told about a caller, and that it is never half of it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, urlsafe_b64decode
from dataclasses import replace
from typing import Any

from sealgate.guard.certificate import read_certificate
from sealgate.guard.client import Client, Token
from sealgate.runtime.vouching import app, fields_of
from tests.guard.test_certificate import make, ways


def told(client: Client) -> dict[str, Any]:
    text = dict(fields_of(client))["sealgate-client"]
    assert "=" not in text
    said: dict[str, Any] = json.loads(urlsafe_b64decode(text + "=="))
    return said


def test_a_stranger() -> None:
    assert told(Client("192.0.2.1")) == {"address": "192.0.2.1", "groups": []}
    assert "client-cert" not in dict(fields_of(Client("192.0.2.1")))


def test_a_certificate_and_a_token() -> None:
    made = make("alice")
    certificate: Any = read_certificate(str(ways(made)["nginx"]))
    token = Token(
        issuer="https://i.test",
        subject="ann",
        scopes=frozenset({"b", "a"}),
        claims={"secret": 1},
        expires=5.0,
    )
    client = Client("2001:db8::1", certificate, groups=("all", "ops"), token=token)
    said = told(client)
    assert said["groups"] == ["all", "ops"]
    assert said["certificate"]["fingerprint"] == certificate.fingerprint
    assert said["token"] == {
        "kind": "jwt",
        "issuer": "https://i.test",
        "subject": "ann",
        "scopes": ["a", "b"],
        "id": "",
    }
    assert b64decode(dict(fields_of(client))["client-cert"][1:-1]) == certificate.der


def answered(client: Client) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    asyncio.run(app({"type": "http", "sealgate": {"client": client}}, receive, send))
    return sent


def test_what_does_not_fit_is_nobody() -> None:
    assert answered(Client("192.0.2.1"))[0]["status"] == 200
    certificate: Any = read_certificate(str(ways(make("alice"))["nginx"]))
    large = replace(certificate, dns_names=tuple(f"{number}.example.org" for number in range(5000)))
    start = answered(Client("192.0.2.1", large))[0]
    assert (start["status"], start["headers"]) == (500, [])
