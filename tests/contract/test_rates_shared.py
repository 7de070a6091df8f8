"""Rates that several machines share: two `serve`, one Redis; and what its loss comes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.sites import Site, at_least, started
from tests.contract.test_access import ask
from tests.runtime.test_redis_store import Server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def status(site: Site, path: str = "/x") -> int:
    answer = ask(site, path)
    assert answer is not None
    return answer.status


def said(site: Site, text: str) -> None:
    """Until a worker says so; it asks when somebody calls."""
    site.served.wait_for(lambda: status(site) in (200, 429, 503) and text in site.served.err, 40)


@at_least("envoy")
@pytest.mark.parametrize("failure", ["local", "deny"])
def test_two_machines(stack: ExitStack, server: Server, tmp_path: Path, which: str, failure: str) -> None:
    secret = tmp_path / "password"
    secret.write_text(server.password)
    secret.chmod(0o600)
    limits = {
        "rates": [{"by": "address", "rate": "6/h", "burst": 8}],
        "rate_store": server.address,
        "rate_store_password": {"file": str(secret)},
        "rate_store_failure": failure,
    }
    sites = [started(stack, which, "usual", limits=limits) for _ in range(2)]
    assert [status(sites[number % 2]) for number in range(12)] == [200] * 8 + [429] * 4
    server.stop()
    for site in sites:
        found = [status(site) for _ in range(10)]
        assert found == ([200] * 8 + [429] * 2 if failure == "local" else [503] * 10)
        said(site, "cannot be asked")
        assert server.password not in site.served.err + site.served.out
        assert server.password not in "".join(
            path.read_text(errors="replace") for path in site.served.state.rglob("*") if path.is_file()
        )
    server.start()
    for site in sites:
        said(site, "answers again")
