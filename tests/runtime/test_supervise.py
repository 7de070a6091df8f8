"""When to start a child again."""

from __future__ import annotations

import pytest

from sealgate.runtime.supervise import Backoff


def waits(lives: list[float]) -> list[float]:
    backoff, found = Backoff(), []
    for lived in lives:
        backoff, wait = backoff.ended(lived)
        found.append(wait)
    return found


@pytest.mark.parametrize(
    ("lives", "expected"),
    [
        ([0] * 9, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]),
        ([29.9, 29.9], [0.1, 0.2]),
        ([0, 0, 30, 0], [0.1, 0.2, 0.1, 0.2]),
        ([3600, 3600], [0.1, 0.1]),
    ],
)
def test_short_lives_slow_it_down(lives: list[float], expected: list[float]) -> None:
    assert waits(lives) == pytest.approx(expected)


def test_it_never_gives_up_nor_overflows() -> None:
    assert waits([0] * 5000)[-1] == 10
