"""Fixtures of the live tests: real servers on loopback addresses of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from sealgate.cli import _installed
from tests.live.served import EXAMPLES, Served, serve

Serve = Callable[..., Served]

ONCE = {
    *("test_it_asks_before", "test_rollback_asks_before_nothing_is_served", "test_a_plan_is_short"),
    *("test_what_matters_to_apply_does_not_keep_rollback_from_its_work", "test_one_at_a_time"),
    *("test_links_modes_and_owners_stay", "test_a_hard_link_is_not_torn"),
    *("test_a_running_keeper_is_asked", "test_a_change_that_fails_after_one_that_was_broken_off"),
    *("test_a_full_disk_changes_nothing", "test_a_plan_of_files_with_odd_bytes"),
    *("test_a_state_directory_whose_name_is_no_text", "test_a_server_of_another_user_is_left_alone"),
}
"""What is our own doing, whatever server is installed: `make test` asks one, `make test-long` all."""
AGAIN = {"test_killed_at_every_step[apache-rollback]", "test_killed_at_every_step[nginx-first apply]"}
"""Asked in `make test` of another step on the same server, and of the same step on the other server."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """What `make test` has no time for."""
    callspec = getattr(item, "callspec", None)
    server = callspec.params.get("server") if callspec else None
    if item.name in AGAIN or (server == "apache" and item.name.partition("[")[0] in ONCE):
        item.add_marker(pytest.mark.long)


@pytest.fixture
def sealgate(tmp_path: Path) -> Iterator[Serve]:
    """`sealgate(app="echo:app", limits={...})` starts one; it is stopped after the test."""
    with ExitStack() as stack:
        count = 0

        def start(**settings: Any) -> Served:
            nonlocal count
            count += 1
            folder = tmp_path / f"site{count}"
            folder.mkdir()
            manager: AbstractContextManager[Served] = serve(folder, **settings)
            return stack.enter_context(manager)

        yield start


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example app (WSGI), shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("orders")
    with serve(folder, app="orders:app", app_folder=EXAMPLES, limits={"body": "32MiB"}) as served:
        yield served


@pytest.fixture(scope="module")
def orders_async(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example app (ASGI), shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("orders_async")
    with serve(folder, app="orders_async:app", app_folder=EXAMPLES, limits={"body": "32MiB"}) as served:
        yield served


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the place of our site was written after it was asked for."""
    monkeypatch.setattr(_installed, "in_our_place", lambda *_: ())
