"""What a stranger must see once a site is served: plain data, kept with each version of our file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sealgate.engines.facts import RenderFacts
from sealgate.policy.model import Endpoint, is_loopback_host

__all__ = ["Expected", "expected_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What every look compares with. The certificate is not in it: what is live on disk is what counts.

    Attributes:
        https, http: where.
        name: asked for.
        protocols: all that may be spoken.
        hsts: the value for that name.
        plain: the status of plain HTTP.
        location: where plain HTTP leads; empty: nowhere.
        clients: ``off``, ``optional`` or ``required``.
        proxy_protocol: connections begin with it.
        chain: absolute path of the live certificate.
    """

    https: tuple[Endpoint, ...]
    http: tuple[Endpoint, ...]
    name: str
    protocols: tuple[str, ...]
    hsts: str
    plain: int
    location: str
    clients: str
    proxy_protocol: bool
    chain: str

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"https": _written(self.https), "http": _written(self.http)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Expected:
        """The opposite of :meth:`as_json`.

        Raises:
            TypeError, ValueError, KeyError: it is not.
        """
        lists = {"https": _read(data["https"]), "http": _read(data["http"])}
        return cls(**{**data, **lists, "protocols": tuple(data["protocols"])})


def _written(endpoints: tuple[Endpoint, ...]) -> list[list[str | int]]:
    return [[endpoint.host, endpoint.port] for endpoint in endpoints]


def _read(values: list[list[Any]]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(str(host), int(port)) for host, port in values)


def expected_of(facts: RenderFacts) -> Expected:
    """What must be seen when these facts are served."""
    policy = facts.policy
    name, port = policy.first_name, policy.public_port
    host = f"[{name}]" if ":" in name else name
    redirect = policy.http.mode == "redirect"
    return Expected(
        https=policy.listen.https,
        http=policy.listen.http,
        name=name,
        protocols=facts.profile.protocols,
        hsts=facts.hsts_local if facts.hsts_local and is_loopback_host(name) else facts.hsts,
        plain=308 if redirect else 403,
        location=f"https://{host}{'' if port == 443 else f':{port}'}/" if redirect else "",
        clients=policy.clients.mode,
        proxy_protocol=policy.listen.proxy_protocol,
        chain=facts.chain,
    )
