from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.renewal import Held, Reason, Wanted, decide, due_at
from tests.pki.making import DAY, NOW

WANTED = Wanted(frozenset({"a", "b"}), "ecdsa-p256", "k")
HELD = Held(NOW, NOW + 48 * DAY, frozenset({"a", "b"}), "ecdsa-p256", "k")


@pytest.mark.parametrize(
    ("life", "due"),
    [
        (48 * DAY, 32 * DAY),
        (90 * DAY, 60 * DAY),
        (12 * DAY, 8 * DAY),
        (10 * DAY, 20 * DAY / 3),
        (6 * DAY, 3 * DAY),
        (timedelta(hours=1), timedelta(minutes=30)),
    ],
)
def test_due_at_two_thirds_or_half_of_a_short_life(life: timedelta, due: timedelta) -> None:
    assert due_at(NOW, NOW + life) == NOW + due


@pytest.mark.parametrize(
    ("held", "after", "force", "due", "reason"),
    [
        (None, 0 * DAY, False, True, Reason.MISSING),
        (HELD, 0 * DAY, False, False, Reason.FRESH),
        (HELD, 31.9 * DAY, False, False, Reason.FRESH),
        (HELD, 32 * DAY, False, True, Reason.TIME),
        (HELD, 48 * DAY, False, True, Reason.TIME),
        (HELD, 48.1 * DAY, False, True, Reason.EXPIRED),
        (HELD, 1 * DAY, True, True, Reason.FORCED),
        (HELD, -1 * DAY, False, False, Reason.CLOCK),
        (HELD, -1 * DAY, True, False, Reason.CLOCK),
        (replace(HELD, names=frozenset({"a"})), 1 * DAY, False, True, Reason.NAMES),
        (replace(HELD, names=frozenset({"a", "b", "c"})), 1 * DAY, False, True, Reason.NAMES),
        (replace(HELD, key_type="rsa-3072"), 1 * DAY, False, True, Reason.KEY_TYPE),
        (replace(HELD, issuer="other"), 1 * DAY, False, True, Reason.AUTHORITY),
        (replace(HELD, issuer="other"), 50 * DAY, False, True, Reason.EXPIRED),
    ],
)
def test_each_ground_has_its_reason(held, after, force: bool, due: bool, reason: Reason) -> None:
    decision = decide(held, WANTED, now=NOW + after, force=force)
    assert (decision.due, decision.reason) == (due, reason)
    assert decision.sentence


def test_sentences_name_what_differs() -> None:
    held = replace(HELD, names=frozenset({"a", "old"}))
    assert "lacks b" in decide(held, WANTED, now=NOW).sentence
    assert "old" in decide(replace(HELD, names=frozenset({"a", "b", "old"})), WANTED, now=NOW).sentence


@given(st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(days=4000)), st.floats(0, 1))
def test_time_alone_makes_it_due_exactly_from_then_on(life: timedelta, share: float) -> None:
    held = replace(HELD, not_after=NOW + life)
    now = NOW + life * share
    assert decide(held, WANTED, now=now).due is (now >= due_at(held.not_before, held.not_after))
    assert NOW < due_at(NOW, NOW + life) < NOW + life
