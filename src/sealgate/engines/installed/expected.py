"""What a stranger must see once a site is served: plain data, kept with each version of our file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from sealgate.engines.facts import RenderFacts
from sealgate.policy.model import Endpoint, is_loopback_host

__all__ = ["MOST_NAMES", "Expected", "Named", "expected_of"]

MOST_NAMES = 20
"""Names of one site that are looked at, on each listener."""


@dataclass(frozen=True, slots=True)
class Named:
    """What is seen under another of a site's names.

    Attributes:
        name, hsts, location: see :class:`Expected`.
    """

    name: str
    hsts: str
    location: str


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
        others: the site's other names; journals of earlier versions have none.
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
    others: tuple[Named, ...] = ()

    def under(self, other: Named) -> Expected:
        """The same for another name alone."""
        return replace(self, name=other.name, hsts=other.hsts, location=other.location, others=())

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
        others = tuple(Named(**one) for one in data.get("others", ()))
        return cls(**{**data, **lists, "protocols": tuple(data["protocols"]), "others": others})


def _written(endpoints: tuple[Endpoint, ...]) -> list[list[str | int]]:
    return [[endpoint.host, endpoint.port] for endpoint in endpoints]


def _read(values: list[list[Any]]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(str(host), int(port)) for host, port in values)


def expected_of(facts: RenderFacts) -> Expected:
    """What must be seen when these facts are served."""
    policy = facts.policy
    redirect = policy.http.mode == "redirect"
    first, *others = dict.fromkeys((policy.first_name, *map(_one_of, policy.site.names)))
    return Expected(
        https=policy.listen.https,
        http=policy.listen.http,
        name=first,
        protocols=facts.profile.protocols,
        hsts=_hsts(facts, first),
        plain=308 if redirect else 403,
        location=_location(facts, first),
        clients=policy.clients.mode,
        proxy_protocol=policy.listen.proxy_protocol,
        chain=facts.chain,
        others=tuple(
            Named(name, _hsts(facts, name), _location(facts, name)) for name in others[: MOST_NAMES - 1]
        ),
    )


def _one_of(name: str) -> str:
    """A name that can be asked for: of a wildcard one that it means."""
    return f"www.{name[2:]}" if name.startswith("*.") else name


def _hsts(facts: RenderFacts, name: str) -> str:
    return facts.hsts_local if facts.hsts_local and is_loopback_host(name) else facts.hsts


def _location(facts: RenderFacts, name: str) -> str:
    if facts.policy.http.mode != "redirect":
        return ""
    host, port = f"[{name}]" if ":" in name else name, facts.policy.public_port
    return f"https://{host}{'' if port == 443 else f':{port}'}/"
