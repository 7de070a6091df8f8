"""A worker by itself: its orders, its answers, and what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from sealgate.errors import AppError
from sealgate.guard.compiled import compile_policy
from sealgate.policy.model import Policy
from sealgate.runtime.separation import plan
from sealgate.runtime.worker import Orders
from sealgate.runtime.workers import Launch, Pool, discard, launch
from tests.live.served import APPS, temporary


def test_orders_survive_the_way() -> None:
    orders = Orders(app="a:b", folder="/f", listener=4, guard="/g", threads=8, parent=1, answers=3)
    assert Orders.from_json(orders.to_json()) == orders


@pytest.fixture
def spec() -> Launch:
    """The test app in a state directory of its own."""
    state = temporary()
    (state / "run").mkdir()
    (state / "live/guard").mkdir(parents=True)
    guard = state / "live/guard/policy.json"
    guard.write_bytes(compile_policy(Policy(), 1).to_json().encode())
    return Launch("ops:app", APPS, guard, 2, plan(state), dict(os.environ), proof="p" * 32)


class World:
    """What a pool is told of the engine: everything at once, nothing under way."""

    def __init__(self, spec: Launch) -> None:
        self.announced: list[list[tuple[str, bool]]] = []
        self.said: list[str] = []
        self.pool = Pool(spec.separation.state, self._announce, self._idle, self.said.append)

    async def _announce(self) -> None:
        self.announced.append([(worker.socket, worker.draining) for worker in self.pool.running])

    async def _idle(self, socket: str, seconds: float) -> bool:
        return True

    async def until(self, condition) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - processes set no events
                await asyncio.sleep(0.02)


def sockets(spec: Launch) -> list[str]:
    return [path.name for path in (spec.separation.state / "run").glob("app-*.sock")]


def test_it_says_what_its_app_is_and_leaves_nothing(spec: Launch) -> None:
    async def main() -> None:
        worker = await launch(spec)
        assert worker.interface == "wsgi"
        assert sockets(spec) == [Path(worker.socket).name]
        await discard(worker, spec.separation.state)
        assert worker.process.returncode == -signal.SIGKILL

    asyncio.run(main())
    assert sockets(spec) == []


def test_one_that_fails_leaves_nothing(spec: Launch) -> None:
    broken = Launch(
        "ops:nothing", spec.folder, spec.guard, 2, spec.separation, spec.environ, proof=spec.proof
    )
    with pytest.raises(AppError) as caught:
        asyncio.run(launch(broken))
    assert caught.value.code == "app-not-found"
    assert sockets(spec) == []


def test_a_pool_fills_rolls_mends_and_stops(spec: Launch) -> None:
    world = World(spec)

    async def main() -> None:
        pool = world.pool
        await pool.fill(spec, 2)
        old = {worker.process.pid for worker in pool.running}
        assert len(old) == 2
        await pool.roll(spec, 2, None, 5)
        assert sum(not worker.draining for worker in pool.running) == 2
        await world.until(lambda: len(pool.running) == 2)
        assert old.isdisjoint(worker.process.pid for worker in pool.running)
        # A new one was announced before, or together with, the retirement of each old one.
        assert all(any(not draining for _, draining in hosts) for hosts in world.announced)
        dead = pool.running[0].process.pid
        os.kill(dead, signal.SIGKILL)
        await world.until(lambda: len(pool.running) == 1)
        await world.until(lambda: len(pool.running) == 2)
        assert any(f"worker {dead} ended (SIGKILL)" in text for text in world.said)
        await pool.roll(None, 0, None, 5)
        await world.until(lambda: not pool.running)
        await pool.stop(5)

    asyncio.run(main())
    assert sockets(spec) == []


def test_a_pool_that_cannot_be_filled_is_empty(spec: Launch) -> None:
    world = World(spec)
    broken = Launch(
        "ops:nothing", spec.folder, spec.guard, 2, spec.separation, spec.environ, proof=spec.proof
    )

    async def main() -> None:
        with pytest.raises(AppError):
            await world.pool.fill(broken, 2)
        assert world.pool.running == []

    asyncio.run(main())
    assert sockets(spec) == []
