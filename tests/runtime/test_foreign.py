"""Which lists are asked for next: nobody who hangs keeps another's list from being had in time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sealgate.pki.lists.schedule import Facts
from sealgate.pki.lists.shelf import Place
from sealgate.policy.points import Point
from sealgate.runtime.foreign import Foreign

NOW = datetime.now(UTC)


def foreign(tmp_path: Path, *places: Place) -> Any:
    standing: Any = SimpleNamespace(state=SimpleNamespace(fetched_lists=tmp_path))
    made: Any = Foreign(standing, lambda: None, lambda _: None)
    made._shelf.places = {one.key: one for one in places}
    return made


def place(authority: str, number: int, *, held: bool = False, late: float = 0.0) -> Place:
    one = Place(authority, b"i" * 32, Point.at(f"http://{authority}.example/{number}"))
    if held:
        facts = Facts(NOW + timedelta(days=1), NOW - timedelta(days=2 + late))
        one = replace(one, file="ab" * 32, facts=facts)
    return one


def test_each_authority_and_each_kind_has_places_of_its_own(tmp_path: Path) -> None:
    many = [place("hangs", number) for number in range(50)]
    others = [place("new", 1), place("kept", 1, held=True), place("kept", 2, held=True, late=1.0)]

    async def look() -> list[Place]:
        made = foreign(tmp_path, *many, *others)
        first = list(made._due(NOW))
        for one in first:
            made._busy[one.key] = asyncio.get_running_loop().create_future()
        assert not list(made._due(NOW)), "all of them are under way"
        return first

    found = asyncio.run(look())
    assert [one.authority for one in found].count("hangs") == 2
    assert {one.authority for one in found} == {"hangs", "new", "kept"}
    kept = [one for one in found if one.authority == "kept"]
    assert kept == [others[2], others[1]], "who waits the longest first"


def test_one_that_raises_is_not_asked_again_at_once(tmp_path: Path) -> None:
    one, said = place("odd", 1), list[str]()

    async def look() -> list[Place]:
        made = foreign(tmp_path, one)
        made._say = said.append

        async def ask(_: bytes) -> bool:
            raise TypeError("odd")

        made.ask = ask
        await made._start(one)
        return list(made._due(datetime.now(UTC) + timedelta(seconds=30)))

    assert asyncio.run(look()) == []
    assert said == ["TypeError: odd"]
