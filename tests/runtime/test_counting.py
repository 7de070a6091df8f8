"""Sums that only grow, whatever starts anew."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.counts import Counters
from sealgate.errors import EngineError
from sealgate.runtime.counting import Sums, counters


class Engine:
    """One that counts."""

    def __init__(self, *answers: Counters | Exception) -> None:
        self._answers = list(answers)

    async def counters(self) -> Counters:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ask(
    engine: object, sums: Sums, workers: list[int], *, running: bool = True
) -> dict[tuple[str, str], int]:
    found = asyncio.run(counters(engine, sums, workers, running=running))
    assert len({one[:2] for one in found}) == len(found)
    return {(name, label): value for name, label, value in found}


def test_an_engine_that_starts_anew_goes_on() -> None:
    sums = Sums()
    lives: tuple[Counters, ...] = (
        (("requests", "2xx", 5), ("requests", "4xx", 1)),
        (("requests", "2xx", 7), ("requests", "4xx", 1)),
        (("requests", "2xx", 2),),
        (("requests", "2xx", 3), ("requests", "4xx", 2)),
    )
    engine = Engine(*lives)
    found = [ask(engine, sums, [])["requests", "2xx"] for _ in lives]
    assert found == [5, 7, 9, 10]
    assert {(name, label): value for name, label, value in sums.counters()}["requests", "4xx"] == 3


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 1000)), max_size=20))
def test_nothing_ever_shrinks(said: list[dict[str, int]]) -> None:
    sums, before = Sums(), dict[str, int]()
    for one in said:
        sums.add(tuple(("requests", label, value) for label, value in one.items()))
        now = {label: value for _, label, value in sums.counters()}
        assert all(now[label] >= value for label, value in before.items())
        before = now


def test_an_engine_that_does_not_answer_loses_nothing() -> None:
    sums = Sums()
    engine = Engine((("requests", "2xx", 5),), EngineError("x", "y", "z"), ValueError())
    assert [ask(engine, sums, [])["requests", "2xx"] for _ in range(3)] == [5, 5, 5]
    assert ask(engine, sums, [], running=False) == {("requests", "2xx"): 5}


def test_one_that_makes_up_names_makes_nothing_grow_for_ever() -> None:
    sums = Sums()
    for number in range(2000):
        sums.add((("handshakes", f"TLSv{number}", 1), ("handshakes", "x" * 100_000 + str(number), 1)))
    assert len(sums.counters()) == 400
    assert max(len(label) for _, label, _ in sums.counters()) < 70


def test_what_the_engine_counts_is_not_counted_again() -> None:
    from sealgate.engines.counts import Row, Table, shared

    fd = shared()
    Row(fd).answered(200, 100_000_000)
    workers = Table(fd).read()
    found = ask(Engine((("requests", "2xx", 5),)), Sums(), workers)
    assert found["requests", "2xx"] == 5
    assert found["worker_seconds", "0.1"] == 1
    assert ask(object(), Sums(), workers)["requests", "2xx"] == 1  # an engine that counts nothing
