"""Renewing, stopping, crashing: no request that could be answered is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sealgate.engines.observe import handshake
from sealgate.policy.model import Endpoint
from tests.contract.sites import Site, every_engine, on, started
from tests.live.load import Tally, h1_client, h2_client, nothing_was_lost
from tests.live.served import Background, alive
from tests.live.wire import Answer, get, read_until_closed, tell


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def fingerprint(site: Site) -> str:
    """Of the certificate that is served now."""
    return handshake(Endpoint(site.served.host, site.served.https), site.served.host).fingerprint


async def _renewals(site: Site, tally: Tally, count: int, pause: float) -> list[float]:
    """Renew under load; for each the seconds until it was seen."""
    clients: list[asyncio.Future[None]] = [asyncio.ensure_future(h1_client(tally)) for _ in range(2)]
    if "h2" in site.alpns:
        clients.append(h2_client(tally))
    taken = []
    await asyncio.sleep(pause)
    for _ in range(count):
        before = await asyncio.to_thread(fingerprint, site)
        renewed = await asyncio.to_thread(site.served.order, order="renew")
        assert await asyncio.to_thread(fingerprint, site) == renewed["fingerprint"] != before
        taken.append(renewed["seen_after"])
        await asyncio.sleep(pause)
    # A server has several processes, and each may remember what it read.
    assert {await asyncio.to_thread(fingerprint, site) for _ in range(12)} == {renewed["fingerprint"]}
    tally.until = 0
    await asyncio.gather(*clients)
    return taken


def renewed_under_load(site: Site, count: int, pause: float, *, within: float = 20.0) -> None:
    """`within`: seconds until each was seen; what is promised is asked where nothing else runs."""
    tally = Tally(site.served, path="/x")
    taken = asyncio.run(_renewals(site, tally, count, pause))
    nothing_was_lost(tally, site.engine, count)
    assert len(tally.answers) > 20 * count
    assert max(taken) < within


@on("usual")
def test_renewals_under_load(site: Site) -> None:
    renewed_under_load(site, 3, 0.4)


@on("optional")
def test_renewals_where_clients_show_certificates(site: Site) -> None:
    renewed_under_load(site, 2, 0.3)


@on("asgi")
def test_reloads_under_load(site: Site) -> None:
    """The app's workers are others afterwards; who was being served by the old ones was served."""
    before = _pids(site)
    tally = Tally(site.served, path="/x")
    asyncio.run(_reloads(site, tally, 2, 0.3))
    nothing_was_lost(tally, site.engine, 2)
    assert len(tally.answers) > 40
    assert not before & _pids(site)


def _pids(site: Site) -> set[int]:
    mark = site.witness.mark
    outcome(site)
    return {line["pid"] for line in site.witness.since(mark)}


async def _reloads(site: Site, tally: Tally, count: int, pause: float) -> None:
    clients: list[asyncio.Future[None]] = [asyncio.ensure_future(h1_client(tally)) for _ in range(2)]
    if "h2" in site.alpns:
        clients.append(h2_client(tally))
    for _ in range(count):
        await asyncio.sleep(pause)
        await asyncio.to_thread(site.served.reload)
        assert site.served.err.rstrip().endswith("sealgate: reloaded")
    await asyncio.sleep(pause)
    tally.until = 0
    await asyncio.gather(*clients)


@pytest.mark.long
@every_engine
def test_twenty_renewals_under_load(stack: ExitStack, which: str) -> None:
    renewed_under_load(started(stack, which, "usual", site={"workers": 2}), 20, 1.0, within=2)


def outcome(site: Site) -> Answer | None:
    """Of a request on a connection of its own; None: none, or it broke off."""
    try:
        answers = tell(site.served, get("localhost", "/x"))
    except (OSError, ssl.SSLError, AssertionError):
        return None
    return answers[0] if answers else None


@every_engine
def test_a_killed_worker_and_then_a_stop(stack: ExitStack, which: str) -> None:
    """On one server, because each start takes its time."""
    site = started(stack, which, "usual", site={"workers": 2})
    a_killed_worker_is_replaced(site)
    what_is_under_way_at_a_stop_is_finished(stack, site)


def a_killed_worker_is_replaced(site: Site) -> None:
    """The other one serves meanwhile, and another is started."""
    assert tell(site.served, get("localhost", "/x"))[0].status == 200
    dead = site.witness.lines()[-1]["pid"]
    mark = site.witness.mark
    os.kill(dead, signal.SIGKILL)
    began, served = time.monotonic(), 0
    while served < 10 and time.monotonic() - began < 15:
        answer = outcome(site)
        served = served + 1 if answer is not None and answer.status == 200 else 0
        if answer is None:
            assert site.inside, "the engine itself goes on"
        elif answer.status != 200:
            assert answer.slug == "app-unavailable"
            assert answer.one("strict-transport-security")
    assert served == 10
    assert dead not in {line["pid"] for line in site.witness.since(mark)}
    site.served.wait_for(lambda: len(_workers(site)) == 2)


def _workers(site: Site) -> set[int]:
    """Those of the last requests that are still there."""
    outcome(site)
    return {line["pid"] for line in site.witness.lines() if alive(line["pid"])}


def what_is_under_way_at_a_stop_is_finished(stack: ExitStack, site: Site) -> None:
    served = site.served
    # One that is kept alive and idle holds nothing up.
    idle = stack.enter_context(served.connect())
    idle.sendall(get("localhost", "/x", close=False))
    assert b" 200 " in read_until_closed(idle)
    answers: list[Answer] = []

    def slow(_: object) -> None:
        answers.extend(tell(served, get("localhost", "/sleep?2"), settle=5))

    background = Background(slow)
    served.wait_for(lambda: [line for line in site.witness.lines() if line["path"] == "/sleep"])
    began = time.monotonic()
    assert served.stop() == 0
    background.end()
    assert [answer.status for answer in answers] == [200]
    assert answers[0].complete
    assert 1 < time.monotonic() - began < 12
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((served.host, served.https), timeout=2)
