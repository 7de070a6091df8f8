"""``limits.rates``: how often somebody may call."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt, StrictStr, WithJsonSchema

from sealgate.policy.base import Model
from sealgate.policy.values import Expected

__all__ = ["PERIODS", "Rate", "RateStore"]

PERIODS = {"s": 1, "min": 60, "h": 3600}
"""Seconds."""

_PACE = re.compile(r"([1-9][0-9]{0,6})/(s|min|h)", re.ASCII)
_MOST = 1_000_000


def _pace(value: str) -> str:
    found = _PACE.fullmatch(value)
    if not found:
        raise ValueError("not a number, a slash, and s, min or h")
    if int(found[1]) > _MOST:
        raise ValueError(f"more than {_MOST}")
    return value


_STORE = re.compile(
    r"rediss?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,253}):([0-9]{1,5})(/[0-9]{1,3})?", re.ASCII
)


def _store(value: str) -> str:
    if value == "memory":
        return value
    found = _STORE.fullmatch(value)
    if not found or not 1 <= int(found[2]) <= 65535:
        raise ValueError("neither memory nor redis://host:port/number, without a user or password")
    return value


RateStore = Annotated[
    StrictStr,
    AfterValidator(_store),
    Expected('"memory" or "redis://host:port/number"', "redis://10.0.0.5:6379/0"),
]


class Rate(Model):
    """How often one of them may call, in the long run and at once."""

    by: Literal["address", "client", "token"]
    """Who is counted. address: each (IPv6: each /64); client: who shows a certificate or a token; token."""
    rate: Annotated[
        StrictStr,
        AfterValidator(_pace),
        Expected("a number of requests and a time", "100/min"),
        WithJsonSchema({"type": "string", "pattern": r"^[1-9]\d*/(s|min|h)$", "examples": ["100/min"]}),
    ]
    """In the long run, evenly: a request's worth comes back at a time."""
    burst: Annotated[StrictInt, Field(ge=0, le=_MOST)] = 0
    """At once, after a rest; 0: as many as the rate's number."""

    @property
    def count(self) -> int:
        """Requests in :attr:`period` seconds."""
        return int(self.rate.partition("/")[0])

    @property
    def period(self) -> int:
        """Seconds."""
        return PERIODS[self.rate.partition("/")[2]]

    @property
    def most(self) -> int:
        """At once."""
        return self.burst or self.count
