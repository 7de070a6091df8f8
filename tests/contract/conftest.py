"""Servers shared by the contract tests, in an order that lets them be shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.sites import AGAIN, BRIEF, BRIEFLY, PROGRAMS, Pool, Site

HERE = Path(__file__).parent


def _which_server(item: pytest.Item) -> tuple[str, str]:
    callspec = getattr(item, "callspec", None)
    pair = callspec.params.get("site") if callspec else None
    return pair if isinstance(pair, tuple) else ("~", "")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Where there is time only: most questions to a second program, and what is asked twice."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or not item.path.is_relative_to(HERE):
        return
    site = callspec.params.get("site", "")
    shared = isinstance(site, tuple)  # else a server of that file's own, in front of an upstream
    which = callspec.params.get("which", site[0] if shared else site)
    name = item.name.partition("[")[0]
    brief = name in BRIEF and (site[1] in BRIEFLY if shared else not site)
    if (which in PROGRAMS and not brief) or (shared and (name, site[1]) in AGAIN):
        item.add_marker(pytest.mark.long)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All questions to one server in a row, whatever file they are in."""
    places = [at for at, item in enumerate(items) if item.path.is_relative_to(HERE)]
    ordered = sorted((items[at] for at in places), key=_which_server)
    for at, item in zip(places, ordered, strict=True):
        items[at] = item


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    running = Pool()
    yield running
    running.close()


@pytest.fixture
def site(request: pytest.FixtureRequest, pool: Pool) -> Site:
    """The server of this engine and policy; see `sites.on`."""
    return pool.get(*request.param)
