"""A revocation is done when each process has said that it ended what was under way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sealgate.errors import NotObserved
from sealgate.runtime import clients
from sealgate.runtime.clients import Clients


def waited(answers: list[tuple[int, ...]]) -> list[int]:
    """For whom it asks; the last answer counts for ever."""
    asked: list[int] = []

    def behind(generation: int) -> tuple[int, ...]:
        asked.append(generation)
        return answers[min(len(asked), len(answers)) - 1]

    standing = SimpleNamespace(
        publication=SimpleNamespace(revocations=SimpleNamespace(generation=5)), behind=behind
    )
    asyncio.run(Clients(cast("Any", standing), print).until_obeyed())
    return asked


def test_it_waits_for_the_last_one() -> None:
    assert waited([(11, 12), (12,), ()]) == [5, 5, 5]
    assert waited([()]) == [5]


def test_who_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_OBEYED", 0.1)
    with pytest.raises(NotObserved, match=r"revoked-not-shut: .* in process 11, 12, .* kill -9 11 12"):
        waited([(11, 12)])
