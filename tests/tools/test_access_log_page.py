"""The page of the access log knows every key that any server writes."""

from __future__ import annotations

from sealgate.engines.registry import engine_ids
from tools.access_log_page import MEANINGS, TIMES, keys


def test_every_key_has_a_meaning() -> None:
    assert set().union(*map(keys, engine_ids())) == set(MEANINGS)
    assert set(TIMES) == set(engine_ids())
