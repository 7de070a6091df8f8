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

__all__ = [
    "UNCOUNTED",
    "Budget",
    "Counting",
    "Limiter",
    "Rate",
    "Store",
    "Taken",
    "Unavailable",
    "joined",
    "rate_of",
]

_LIMITED = problem("rate-limited")
_UNAVAILABLE = Deny(problem("rates-unavailable"), "rates-unavailable")
_SECOND = 1_000_000_000
_MOST_REMEMBERED = 4096
Headers = tuple[tuple[str, str], ...]
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


class Budget(NamedTuple):
    """What one rate gives each caller.

    Attributes:
        mark: which; of rates that differ it does.
        interval, depth: of the rate.
    """

    mark: bytes
    interval: int
    depth: int


class Unavailable(Exception):
    """Nobody can say how often somebody has called."""


class Store(Protocol):
    """Who counts."""

    @property
    def blocking(self) -> bool:
        """Does it wait for another machine?"""

    def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> Sequence[int]:
        """Count a request under all of these, or under none.

        Args:
            who: the caller.
            wider: with whom he is counted where there is no room for him alone.
            budgets: that he has; of one caller always the same.

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
UNCOUNTED = Taken(_UNAVAILABLE, ())


class _Named(NamedTuple):
    """A rate, what the log calls it, and what callers read of it."""

    by: str
    rule: str
    name: str
    budget: Budget
    policy: str

    def left(self, level: int) -> str:
        """An item of ``RateLimit``: what is left, and in how many seconds all of it is back."""
        _, interval, depth = self.budget
        if level < 0:
            return f'"{self.name}";r=0;t={-(level // _SECOND)}'
        return f'"{self.name}";r={(depth - level) // interval};t={-(-level // _SECOND)}'


def _named(rates: Iterable[Rate]) -> tuple[_Named, ...]:
    found: list[_Named] = []
    for index, rate in enumerate(rates):
        same = sum(one.by == rate.by for one in found)
        name = rate.by if not same else f"{rate.by}-{same + 1}"
        mark = f"{rate.by} {rate.requests}/{rate.period} {rate.burst}\0".encode()
        policy = f'"{name}";q={rate.burst};w={-(-rate.depth // _SECOND)}'
        budget = Budget(mark, rate.interval, rate.depth)
        found.append(_Named(rate.by, f"limits.rates[{index}]", name, budget, policy))
    return tuple(found)


class _Some:
    """Rates that are asked together."""

    __slots__ = ("_budgets", "_policy", "_rates", "_store")

    def __init__(self, rates: Sequence[_Named], store: Store) -> None:
        self._rates, self._store = rates, store
        self._budgets = tuple(one.budget for one in rates)
        self._policy = ("ratelimit-policy", ", ".join(one.policy for one in rates))

    def __bool__(self) -> bool:
        return bool(self._rates)

    def taken(self, who: bytes, wider: bytes) -> Taken:
        """A request of this caller."""
        try:
            levels = self._store.take(who, wider, self._budgets)
        except Unavailable:
            return Taken(_UNAVAILABLE, ())
        left = ", ".join([one.left(level) for one, level in zip(self._rates, levels, strict=True)])
        headers = (self._policy, ("ratelimit", left))
        worst = min(levels)
        if worst >= 0:
            return Taken(None, headers)
        rule = self._rates[list(levels).index(worst)].rule
        again = ("retry-after", str(-(worst // _SECOND)))
        return Taken(Deny(_LIMITED, rule, (again, *headers)), ())


class Limiter:
    """The rates of one policy.

    Args:
        rates: in their order.
        store: who counts.
    """

    __slots__ = ("_by_address", "_by_certificate", "_by_token", "_known", "blocking")

    def __init__(self, rates: Iterable[Rate], store: Store) -> None:
        named = _named(rates)
        self.blocking = store.blocking
        self._by_address = _Some([one for one in named if one.by == "address"], store)
        # Who shows both is one client by his certificate, and his token's subject by the token.
        self._by_certificate = _Some([one for one in named if one.by == "client"], store)
        self._by_token = {
            alone: _Some([one for one in named if one.by == "token" or (alone and one.by == "client")], store)
            for alone in (False, True)
        }
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
        return self._by_address.taken(*known)

    def principal(self, client: Client) -> Taken:
        """A request of somebody who showed who he is."""
        certificate, token, taken = client.certificate, client.token, _NOTHING
        if certificate is not None and self._by_certificate:
            # By what outlives a renewal: names are given out by one authority.
            who = f"c{certificate.authority}\0{certificate.subject}".encode("utf-8", "replace")
            taken = self._by_certificate.taken(who, b"")
        rates = self._by_token[certificate is None]
        if token is None or taken.deny is not None or not rates:
            return taken
        more = rates.taken(f"t{token.issuer}\0{token.subject}".encode("utf-8", "replace"), b"")
        return Taken(more.deny, joined(taken.headers, more.headers))


class Counting:
    """Rates that an app asks for by itself (:func:`sealgate.falcon.requires`).

    Args:
        store: who counts.
    """

    __slots__ = ("_known", "_store", "blocking")

    def __init__(self, store: Store) -> None:
        self._store, self.blocking = store, store.blocking
        self._known: dict[tuple[str, Rate], _Some] = {}

    def __call__(self, client: Client, name: str, rate: Rate) -> Taken:
        """One more by this caller: by his certificate, else his token, else his address.

        Args:
            client: who.
            name: of what he asks for; for each its own budget.
            rate: how often; its `by` does not matter.
        """
        some = self._known.get((name, rate))  # of an app's own few
        if some is None:
            mark = f"app {name} {rate.requests}/{rate.period} {rate.burst}\0".encode()
            policy = f'"{name}";q={rate.burst};w={-(-rate.depth // _SECOND)}'
            budget = Budget(mark, rate.interval, rate.depth)
            one = _Named("app", f"requires {name}", name, budget, policy)
            some = self._known[name, rate] = _Some([one], self._store)
        who, wider = _who(client)
        # Of one caller a store expects the same budgets each time: here it is another one for each name.
        return some.taken(f"{name}\0".encode() + who, f"{name}\0".encode() + wider if wider else b"")


def _who(client: Client) -> tuple[bytes, bytes]:
    certificate, token = client.certificate, client.token
    if certificate is not None:
        return f"c{certificate.authority}\0{certificate.subject}".encode("utf-8", "replace"), b""
    if token is not None:
        return f"t{token.issuer}\0{token.subject}".encode("utf-8", "replace"), b""
    return _place(client.address)


def joined(one: Headers, other: Headers) -> Headers:
    """Each field once, its items in a list (RFC 9651 §3.1)."""
    if not one or not other:
        return one or other
    further = dict(other)
    return tuple((name, f"{value}, {further[name]}") for name, value in one)


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
