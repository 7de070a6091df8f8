"""A snapshot goes through JSON unharmed, and nothing else comes out of it."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.monitor import snapshot as module
from sealgate.monitor.alerts import Notes
from sealgate.monitor.snapshot import Renewal, Snapshot, Workers, from_json, loads, to_json
from tests.monitor.made import everything


def test_there_and_back() -> None:
    whole = everything()
    assert loads(Snapshot, json.dumps(to_json(whole))) == whole


def test_everything_has_every_part() -> None:
    """What is empty in the sample would go through unseen."""
    whole = everything()
    for field in fields(whole):
        assert getattr(whole, field.name) not in {(), None}, field.name


@pytest.mark.parametrize(
    "spoil",
    [
        {"schema": 2},
        {"at": "yesterday"},
        {"at": "2026-11-22T12:00:00"},
        {"keeper": "yes"},
        {"keeper": 1},
        {"pid": True},
        {"listeners": {}},
        {"listeners": [{"address": "x"}]},
        {"engine": None},
        {"engine": {"id": "e", "title": "E", "version": "1", "state": "flying"}},
        {"surprise": 1},
        {"counters": [["a", "b"]]},
    ],
    ids=str,
)
def test_what_another_version_wrote_is_refused(spoil: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(Snapshot, {**to_json(everything()), **spoil})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_garbage_is_a_value_error(data: Any) -> None:
    for kind in (Snapshot, Workers, Renewal, Notes):
        try:
            from_json(kind, data)
        except ValueError:
            continue
        assert kind is Notes  # all of whose parts may be left out
        assert data == {}


def test_deep_nesting_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="nested"):
        loads(Snapshot, "[" * 100_000)


def test_the_module_exports_what_it_has() -> None:
    for name in module.__all__:
        one = getattr(module, name)
        assert is_dataclass(one) or callable(one) or isinstance(one, int)
