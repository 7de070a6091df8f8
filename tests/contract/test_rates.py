"""How often somebody may call, on every engine: one budget for all workers, told in every answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.contract.certificates import make
from tests.contract.sites import Site, at_least, started
from tests.contract.test_access import ask
from tests.live.wire import Answer

RATES = [{"by": "address", "rate": "20/h", "burst": 30}, {"by": "client", "rate": "5/h"}]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def at_once(site: Site, count: int) -> list[Answer]:
    """From several threads, each on connections of its own."""
    found: list[Answer] = []

    def some(number: int) -> None:
        for _ in range(count // 6):
            answer = ask(site, f"/{number}")
            assert answer is not None
            found.append(answer)

    threads = [threading.Thread(target=some, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return found


@at_least("envoy")
def test_rates(stack: ExitStack, which: str) -> None:
    site = started(
        stack,
        which,
        "usual",
        site={"workers": 2},
        clients={"mode": "optional"},
        access={"default": "none"},
        limits={"rates": RATES},
    )
    alice = make(site.served, "good")
    mark = site.witness.mark
    for left in (4, 3, 2, 1, 0):
        answer = ask(site, "/x", alice)
        assert answer is not None
        assert answer.status == 200
        assert answer.one("ratelimit").split(", ")[1].startswith(f'"client";r={left};t=')
        assert answer.one("ratelimit-policy") == '"address";q=30;w=5400, "client";q=5;w=3600'
    answer = ask(site, "/x", alice)
    assert answer is not None
    assert (answer.status, answer.slug) == (429, "rate-limited")
    assert 0 < int(answer.one("retry-after")) <= 720
    assert len(site.witness.since(mark)) == 5
    answers = at_once(site, 60)
    assert Counter(one.status for one in answers) == {200: 24, 429: 36}, "6 of 30 were the client's"
    assert len(site.witness.since(mark)) == 29
    for one in answers:
        assert one.one("ratelimit").startswith('"address";r=')
        assert bool(one.all("retry-after")) == (one.status == 429)
    site.served.reload()
    answer = ask(site, "/x")
    assert answer is not None
    assert answer.status == 429, "and no reload gives a budget back"
