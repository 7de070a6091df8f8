"""How often somebody may call. Pure: who counts is a store that is handed in.

Theory: GCRA (ITU-T I.371), the leaky bucket without a clock of its own. Of each caller one time is kept, at
which his budget is whole again. A request moves it on by the time that one request's worth takes to come
back; one that would move it further ahead than a whole budget takes is refused. So never more than burst +
elapsed x rate are let in, however they are spread, and never as many as two fewer.

The fields of answers are those of draft-ietf-httpapi-ratelimit-headers: a quota of the burst in the window in
which it comes back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from sealgate.guard.decision import Deny
from sealgate.policy.problems import problem

if TYPE_CHECKING:
    from sealgate.guard.client import Client

__all__ = ["Ask", "Limiter", "Rate", "Store", "Taken", "Unavailable", "rate_of"]

_LIMITED = problem("rate-limited")
_UNAVAILABLE = Deny(problem("rates-unavailable"), "rates-unavailable")
_SECOND = 1_000_000_000
_MOST_REMEMBERED = 4096
_WAYS = ("address", "client", "token")


class Rate(NamedTuple):
    """One of ``limits.rates``.

    Attributes:
        by: who is counted.
        requests: in `period` seconds, in the long run.
        period: seconds.
        burst: at once.
    """

    by: Literal["address", "client", "token"]
    requests: int
    period: int
    burst: int

    @property
    def interval(self) -> int:
        """Nanoseconds in which one request's worth comes back; rounded up, so that never more are let in."""
        return -(-self.period * _SECOND // self.requests)

    @property
    def depth(self) -> int:
        """Nanoseconds in which the whole budget does."""
        return self.burst * self.interval


class Ask(NamedTuple):
    """One request of somebody.

    Attributes:
        key: who, and by which rate.
        wider: with whom he is counted where there is no room for him alone; empty: with everybody.
        interval, depth: of the rate.
    """

    key: bytes
    wider: bytes
    interval: int
    depth: int


class Unavailable(Exception):
    """Nobody can say how often somebody has called."""


class Store(Protocol):
    """Who counts."""

    def take(self, asks: Sequence[Ask]) -> Sequence[int]:
        """Count a request under all of these, or under none.

        Returns:
            for each, nanoseconds until the budget is whole again; or, where some have none left and nothing
            was taken, less than 0 for those: until there is some.

        Raises:
            Unavailable: nobody can say.
        """


class Taken(NamedTuple):
    """What came of it.

    Attributes:
        deny: too often.
        headers: of the answer, whoever makes it.
    """

    deny: Deny | None
    headers: tuple[tuple[str, str], ...]


_NOTHING = Taken(None, ())


class _Named(NamedTuple):
    """A rate, what the log calls it, and what callers read of it."""

    rate: Rate
    rule: str
    name: str
    mark: bytes

    @property
    def policy(self) -> str:
        """An item of ``RateLimit-Policy``."""
        window = -(-self.rate.depth // _SECOND)
        return f'"{self.name}";q={self.rate.burst};w={window}'

    def left(self, level: int) -> str:
        """An item of ``RateLimit``: what is left, and in how many seconds all of it is back."""
        rate = self.rate
        remaining = 0 if level < 0 else (rate.depth - level) // rate.interval
        wait = -level if level < 0 else level
        return f'"{self.name}";r={remaining};t={-(-wait // _SECOND)}'


class Limiter:
    """The rates of one policy.

    Args:
        rates: in their order.
        store: who counts.
    """

    __slots__ = ("_by_address", "_by_principal", "_known", "_store")

    def __init__(self, rates: Iterable[Rate], store: Store) -> None:
        self._store = store
        named: list[_Named] = []
        for index, rate in enumerate(rates):
            same = sum(one.rate.by == rate.by for one in named)
            name = rate.by if not same else f"{rate.by}-{same + 1}"
            mark = f"{rate.by} {rate.requests}/{rate.period} {rate.burst}\0".encode()
            named.append(_Named(rate, f"limits.rates[{index}]", name, mark))
        self._by_address = tuple(one for one in named if one.rate.by == "address")
        self._by_principal = tuple(one for one in named if one.rate.by != "address")
        self._known: dict[str, tuple[bytes, bytes]] = {}

    def address(self, address: str) -> Taken:
        """A request from there; before anything costly is done for it."""
        if not self._by_address:
            return _NOTHING
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known = {}
            known = self._known[address] = _place(address)
        own, wider = known
        return self._taken([(one, one.mark + own, one.mark + wider) for one in self._by_address])

    def principal(self, client: Client) -> Taken:
        """A request of somebody who showed who he is."""
        if not self._by_principal:
            return _NOTHING
        asked = []
        token = client.token and f"t{client.token.issuer}\0{client.token.subject}".encode("utf-8", "replace")
        certificate = client.certificate
        for one in self._by_principal:
            who = token
            if one.rate.by == "client" and certificate is not None:
                # By what outlives a renewal: names are given out by one authority.
                who = f"c{certificate.authority}\0{certificate.subject}".encode("utf-8", "replace")
            if who:
                asked.append((one, one.mark + who, b""))
        return self._taken(asked) if asked else _NOTHING

    def _taken(self, asked: Sequence[tuple[_Named, bytes, bytes]]) -> Taken:
        asks = [Ask(key, wider, one.rate.interval, one.rate.depth) for one, key, wider in asked]
        try:
            levels = self._store.take(asks)
        except Unavailable:
            return Taken(_UNAVAILABLE, ())
        names = [one for one, _, _ in asked]
        headers = (
            ("ratelimit-policy", ", ".join(one.policy for one in names)),
            ("ratelimit", ", ".join(one.left(level) for one, level in zip(names, levels, strict=True))),
        )
        worst = min(levels)
        if worst >= 0:
            return Taken(None, headers)
        rule = names[list(levels).index(worst)].rule
        again = ("retry-after", str(-(worst // _SECOND)))
        return Taken(Deny(_LIMITED, rule, (again, *headers)), ())


def _place(address: str) -> tuple[bytes, bytes]:
    """Who is counted, and with whom where there is no room: IPv6 by /64, which is one customer's; by /48."""
    try:
        packed = ipaddress.ip_address(address).packed
    except ValueError:
        return b"?", b"?"
    return (packed[:8], packed[:6]) if len(packed) == 16 else (packed, packed[:3])


def rate_of(value: Any) -> Rate:  # noqa: ANN401 - of JSON
    """One of the compiled policy.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, dict) or value.keys() != set(Rate._fields) or value["by"] not in _WAYS:
        raise ValueError("keys of a rate are missing or unknown")
    for key in ("requests", "period", "burst"):
        if not isinstance(value[key], int) or isinstance(value[key], bool) or value[key] < 1:
            raise ValueError(f"a rate's {key} is no number")
    return Rate(**value)
