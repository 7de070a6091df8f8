"""Fixtures of the live tests: real servers on loopback addresses of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.live.served import EXAMPLES, Served, serve

Serve = Callable[..., Served]


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
