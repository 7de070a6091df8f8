"""``[monitor]``: where the deployment shows how it is, and whom it tells when something is wrong."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StrictStr

from sealgate.policy.base import Model
from sealgate.policy.secrets import SecretRef
from sealgate.policy.values import Endpoint, Expected, canonical_name, endpoint_of, is_loopback_name

__all__ = ["Alert", "Monitor"]

_WEBHOOK = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?(/[!-~]*)?", re.ASCII)


def _place(value: str) -> str:
    return str(endpoint_of(value)) if value else ""


def _webhook(value: str) -> str:
    match = _WEBHOOK.fullmatch(value)
    if match is None:
        raise ValueError("not an https address")
    if match[3] and not 1 <= int(match[3]) <= 65535:
        raise ValueError("no port from 1 to 65535")
    host = canonical_name(match[2])
    if match[1] == "http" and not is_loopback_name(host):
        raise ValueError("plain http, over which anybody could read along")
    return value


Place = Annotated[
    StrictStr, AfterValidator(_place), Expected('an IP address and a port, or ""', "127.0.0.1:9443")
]
Webhook = Annotated[
    StrictStr, AfterValidator(_webhook), Expected("an https address", "https://alerts.example.com/hook")
]


class Alert(Model):
    """Somebody who is told."""

    webhook: Annotated[Webhook, Field(min_length=1)]
    """Address that alerts are posted to; plain http only for loopback."""
    secret: SecretRef
    """What the alerts are signed with (HMAC-SHA256)."""


class Monitor(Model):
    """What the watcher shows and tells."""

    listen: Place = "127.0.0.1:9443"
    """Page and metrics, plain HTTP, on a loopback address; "" closes it."""
    probes: Place = ""
    """/healthz and /readyz, for a kubelet or a load balancer, on any address; "" closes it."""
    alerts: Annotated[tuple[Alert, ...], Field(max_length=8)] = ()
    """Webhooks that are told what is wrong, and when it is over."""

    @property
    def page(self) -> Endpoint | None:
        """Where page and metrics are; None: nowhere."""
        return endpoint_of(self.listen) if self.listen else None

    @property
    def probe(self) -> Endpoint | None:
        """Where the probes are; None: nowhere."""
        return endpoint_of(self.probes) if self.probes else None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every address that is listened on."""
        return tuple(place for place in (self.page, self.probe) if place is not None)
