"""What an engine does not do it refuses at load, with the way out; and it refuses no default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sealgate.engines.contract import Refusal
from sealgate.engines.registry import engine, engine_ids
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from tests.contract.sites import APPS, POLICIES, REFUSES, kind_of
from tests.live.served import toml


def policy(tables: dict[str, dict[str, Any]]) -> Policy:
    lines = [
        f"{name}.{key} = {toml(value)}" for name, table in tables.items() for key, value in table.items()
    ]
    text = "\n".join(lines).replace("{host}", "127.0.0.9")
    return loads(text, path=Path("/p/sealgate.toml"), environ={}).policy


def refusals(which: str, tables: dict[str, dict[str, Any]]) -> list[Refusal]:
    rows = engine(which).capabilities(policy(tables))
    return [row for row in rows if isinstance(row, Refusal)]


@pytest.mark.parametrize("which", engine_ids())
def test_an_empty_policy_is_served(which: str) -> None:
    assert refusals(which, {}) == []


# Beside those that are asked for here: `test_upstream.py`, and HTTP/3 in the live tests of Envoy.
ALSO: dict[str, dict[str, dict[str, Any]]] = {
    "upstream": {"site": {"upstream": "http://127.0.0.1:9000"}},
    "http3": {"listen": {"http3": True}},
}


@pytest.mark.parametrize("which", engine_ids())
@pytest.mark.parametrize("name", [*POLICIES, *ALSO])
def test_what_is_refused_is_what_the_table_says(which: str, name: str) -> None:
    tables = {**POLICIES, **ALSO}[name]
    site = tables.get("site", {"app": APPS[kind_of(which, name)]})
    found = refusals(which, {**tables, "site": {**site, "engine": which}})
    expected = REFUSES.get((which, name))
    assert {refusal.key for refusal in found} == ({expected} if expected else set())
    for refusal in found:
        assert refusal.reason
        assert refusal.way_out
