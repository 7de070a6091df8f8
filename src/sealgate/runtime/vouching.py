"""What a guard stands before where the backend is no app of ours: it answers who called, and nothing else.

The engine asks it for each request (Envoy: ext_authz) before it passes the request on. Whoever gets here was
let in: 200, with the fields that the backend gets. The guard's refusals go to the caller as they are.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Any

from sealgate.guard.client import Client

__all__ = ["CLIENT", "CLIENT_CERT", "app", "fields_of"]

CLIENT_CERT = "client-cert"
"""The certificate that the client showed, DER as a Byte Sequence (RFC 9440 §2.2)."""
CLIENT = "sealgate-client"
"""Who called: JSON, base64url without padding."""

_LONGEST = 48 * 1024


def fields_of(client: Client) -> tuple[tuple[str, str], ...]:
    """What a backend is told about a caller."""
    said: dict[str, Any] = {"address": client.address, "groups": sorted(client.groups)}
    found: list[tuple[str, str]] = []
    certificate = client.certificate
    if certificate is not None:
        said["certificate"] = {
            "subject": certificate.subject,
            "common_name": certificate.common_name,
            "dns_names": certificate.dns_names,
            "uris": certificate.uris,
            "emails": certificate.emails,
            "ip_addresses": certificate.ip_addresses,
            "serial": f"{certificate.serial:x}",
            "issuer": certificate.issuer,
            "fingerprint": certificate.fingerprint,
            "authority": certificate.authority,
            "not_after": certificate.not_after.isoformat(),
        }
        if certificate.der:
            found.append((CLIENT_CERT, f":{b64encode(certificate.der).decode()}:"))
    token = client.token
    if token is not None:
        said["token"] = {
            "kind": token.kind,
            "issuer": token.issuer,
            "subject": token.subject,
            "scopes": sorted(token.scopes),
            "id": token.id,
        }
    text = json.dumps(said, separators=(",", ":")).encode()
    return (*found, (CLIENT, urlsafe_b64encode(text).rstrip(b"=").decode()))


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """ASGI."""
    if scope["type"] == "lifespan":
        for stage in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{stage}.complete"})
        return
    fields = fields_of(scope["sealgate"]["client"])
    headers = [(name.encode(), value.encode()) for name, value in fields]
    fits = sum(len(name) + len(value) for name, value in headers) <= _LONGEST
    # A backend that is told half of it would take somebody for somebody else.
    status = 200 if fits else 500
    await send({"type": "http.response.start", "status": status, "headers": headers if fits else []})
    await send({"type": "http.response.body", "body": b""})
