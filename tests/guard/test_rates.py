"""How often somebody may call: against a model that counts, and what callers read of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.guard.client import Client, Token
from sealgate.guard.rates import Budget, Limiter, Rate, Unavailable, rate_of
from tests.guard.test_access import ANN

SECOND = 1_000_000_000


class Counted:
    """One time for each key, in a dictionary; the clock is the test's."""

    blocking = False

    def __init__(self) -> None:
        self.now = 0
        self.wholes: dict[bytes, int] = {}

    def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> list[int]:
        keys = [one.mark + who for one in budgets]
        pairs = zip(keys, budgets, strict=True)
        levels = [max(self.wholes.get(key, 0), self.now) - self.now + one.interval for key, one in pairs]
        waits = [one.depth - level for one, level in zip(budgets, levels, strict=True)]
        if min(waits) < 0:
            triples = zip(budgets, levels, waits, strict=True)
            return [wait if wait < 0 else level - one.interval for one, level, wait in triples]
        self.wholes |= {key: self.now + level for key, level in zip(keys, levels, strict=True)}
        return levels


rates = st.builds(
    Rate,
    by=st.just("address"),
    requests=st.integers(1, 1000),
    period=st.sampled_from([1, 60, 3600]),
    burst=st.integers(1, 50),
)


@settings(max_examples=200)
@given(rates, st.lists(st.one_of(st.integers(0, 3 * SECOND), st.integers(0, 10**13)), max_size=300))
def test_never_more_and_never_two_fewer(rate: Rate, pauses: list[int]) -> None:
    """A bucket that is filled evenly, in exact numbers, lets in the most that may be."""
    store = Counted()
    limiter = Limiter([rate], store)
    pace = Fraction(rate.requests, rate.period * SECOND)
    level = Fraction(rate.burst)
    model = let_in = 0
    admitted: list[int] = []
    for pause in pauses:
        store.now += pause
        level = min(level + pause * pace, Fraction(rate.burst))
        if limiter.address("192.0.2.7").deny is None:
            let_in += 1
            admitted.append(store.now)
        if level >= 1:
            level, model = level - 1, model + 1
        assert let_in <= model
        assert let_in > model - 2
    for number, first in enumerate(admitted):
        elapsed = (admitted[-1] - first) * pace
        assert len(admitted) - number <= rate.burst + elapsed.__floor__()


def test_what_callers_read() -> None:
    store = Counted()
    limiter = Limiter([Rate("address", 60, 60, 3)], store)
    said = [dict(limiter.address("192.0.2.7").headers)["ratelimit"] for _ in range(3)]
    assert said == ['"address";r=2;t=1', '"address";r=1;t=2', '"address";r=0;t=3']
    deny = limiter.address("192.0.2.7").deny
    assert deny is not None
    assert (deny.problem.slug, deny.problem.status, deny.reason) == ("rate-limited", 429, "limits.rates[0]")
    assert dict(deny.headers) == {
        "retry-after": "1",
        "ratelimit-policy": '"address";q=3;w=3',
        "ratelimit": '"address";r=0;t=1',
    }
    store.now += SECOND
    assert limiter.address("192.0.2.7").deny is None
    assert limiter.address("192.0.2.8").deny is None


def test_who_waits_as_long_as_he_is_told_is_let_in() -> None:
    store = Counted()
    limiter = Limiter([Rate("address", 7, 60, 2)], store)
    for _ in range(20):
        deny = limiter.address("::1").deny
        if deny is not None:
            store.now += int(dict(deny.headers)["retry-after"]) * SECOND
            assert limiter.address("::1").deny is None


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.7", "::192.0.2.7", False),
    ],
)
def test_who_is_counted_together(one: str, other: str, together: bool) -> None:
    limiter = Limiter([Rate("address", 1, 3600, 1)], Counted())
    assert limiter.address(one).deny is None
    assert (limiter.address(other).deny is not None) is together


def test_of_several_rates_one_that_denies_takes_nothing_from_the_others() -> None:
    store = Counted()
    limiter = Limiter([Rate("address", 1, 1, 5), Rate("address", 1, 3600, 2)], store)
    assert [limiter.address("::1").deny is None for _ in range(4)] == [True, True, False, False]
    deny = limiter.address("::1").deny
    assert deny is not None
    assert deny.reason == "limits.rates[1]"
    assert dict(deny.headers)["ratelimit"].startswith('"address";r=3;t=2, "address-2";r=0;t=')
    assert dict(deny.headers)["ratelimit-policy"] == '"address";q=5;w=5, "address-2";q=2;w=7200'


def test_by_client_and_by_token() -> None:
    limiter = Limiter([Rate("client", 1, 3600, 2), Rate("token", 1, 3600, 1)], Counted())
    token = Token("https://issuer.test", "ann")

    def let_in(client: Client) -> bool:
        return limiter.principal(client).deny is None

    assert [let_in(Client("::1")) for _ in range(5)] == [True] * 5, (
        "nobody in particular is counted by address"
    )
    assert [let_in(Client("::1", ANN)) for _ in range(3)] == [True, True, False]
    assert [let_in(Client("::2", token=token)) for _ in range(2)] == [True, False]
    assert let_in(Client("::2", token=Token("https://issuer.test", "ben")))
    assert let_in(Client("::2", token=Token("https://other.test", "ann")))
    assert limiter.address("::1").headers == ()
    both = Client("::1", replace(ANN, subject="CN=both"), token=Token("https://issuer.test", "both"))
    said = dict(limiter.principal(both).headers)["ratelimit"]
    assert said.startswith('"client";r=1;t=3600, "token";r=0;t=')
    assert not let_in(both), "and the token's budget is gone"


def test_where_nobody_can_say_nobody_is_let_in() -> None:
    class Lost:
        blocking = False

        def take(self, who: bytes, wider: bytes, budgets: Sequence[Budget]) -> Sequence[int]:
            raise Unavailable

    deny = Limiter([Rate("address", 1, 1, 1)], Lost()).address("::1").deny
    assert deny is not None
    assert (deny.problem.slug, deny.problem.status) == ("rates-unavailable", 503)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        {"by": "address"},
        *(
            {"by": "address", "requests": 1, "period": 1, "burst": 1} | spoilt
            for spoilt in (
                {"by": "x"},
                {"requests": 0},
                {"period": "1"},
                {"burst": True},
                {"burst": -1},
                {"more": 1},
            )
        ),
    ],
)
def test_half_a_rate_is_none(value: object) -> None:
    with pytest.raises(ValueError, match="rate"):
        rate_of(value)
    whole = Rate("client", 2, 60, 5)
    assert rate_of(whole._asdict()) == whole


def test_what_does_not_divide_is_rounded_against_the_caller() -> None:
    for count in (3, 7, 999, 999_999):
        rate = Rate("address", count, 60, 1)
        assert rate.interval * count >= 60 * SECOND > (rate.interval - 1) * count
