"""Tell a webhook, so that it can be sure who speaks, when, and that nothing was changed.

::

    POST /hook HTTP/1.1
    Content-Type: application/json
    Sealgate-Event-Id: 8c1f...        the same on every try
    Sealgate-Timestamp: 1795351200    seconds since 1970, of this try
    Sealgate-Signature: v1=<hex HMAC-SHA256 by the secret over: timestamp "." body>

A receiver refuses timestamps further than five minutes from its own, compares in constant time, and answers
any 2xx. Every other answer, a redirect too, is a failure and tried again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from datetime import datetime
from urllib.parse import urlsplit

from sealgate._system.post import Target, post
from sealgate.monitor.alerts import Event
from sealgate.monitor.snapshot import to_json

__all__ = ["body_of", "deliver", "headers_of", "signature", "target_of"]

SECONDS = 15.0
_SCHEMA = 1


def body_of(event: Event, site: str) -> bytes:
    """What is posted: JSON, ASCII."""
    return json.dumps({"schema": _SCHEMA, "site": site, **to_json(event)}).encode("ascii")


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of ``Sealgate-Signature``."""
    return "v1=" + hmac.new(secret, timestamp.encode("ascii") + b"." + body, hashlib.sha256).hexdigest()


def headers_of(event: Event, body: bytes, secret: bytes, now: datetime) -> dict[str, str]:
    """What a try carries."""
    timestamp = str(int(now.timestamp()))
    return {
        "Content-Type": "application/json",
        "Sealgate-Event-Id": event.id,
        "Sealgate-Timestamp": timestamp,
        "Sealgate-Signature": signature(secret, timestamp, body),
    }


def target_of(url: str, context: ssl.SSLContext) -> Target:
    """Where a webhook is; the policy has judged the address."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        parts.hostname or "", parts.port or (443 if secure else 80), path, context if secure else None
    )


async def deliver(target: Target, event: Event, *, site: str, secret: bytes, now: datetime) -> str:
    """One try.

    Returns:
        what went wrong, as a part of a sentence; empty: it was taken.
    """
    body = body_of(event, site)
    try:
        status = await post(target, body, headers_of(event, body, secret, now), seconds=SECONDS)
    except TimeoutError:
        return f"no answer within {SECONDS:.0f} s"
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return "" if 200 <= status < 300 else f"it answered {status}"
