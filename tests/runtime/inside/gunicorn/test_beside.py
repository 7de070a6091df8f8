"""The process for plain HTTP beside somebody's Gunicorn: started again, ever less often, never silently."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from sealgate.engines.redirect import Redirect
from sealgate.runtime.inside.budget import Budget, shared_memory
from sealgate.runtime.inside.gunicorn.beside import Beside

ORDERS = Redirect(
    listeners=(),
    mode="redirect",
    names=("localhost",),
    ports=(80,),
    public_port=443,
    header_bytes=1,
    header_seconds=1,
    idle_seconds=1,
    drain_seconds=1,
    connections=1,
    parent=0,
)


class Process:
    """One that ends when told."""

    def __init__(self) -> None:
        self.status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def terminate(self) -> None:
        self.status = -15


class World:
    """A clock, processes, and what was said."""

    def __init__(self) -> None:
        self.now = 100.0
        self.started: list[Process] = []
        self.said: list[str] = []
        self.refuse = False
        self.beside = Beside(self.start, lambda: self.now)  # type: ignore[arg-type]  # a process of the test's

    def start(self, orders: Redirect) -> Process:
        assert orders.names == ORDERS.names
        if self.refuse:
            raise OSError(11, "Resource temporarily unavailable")
        self.started.append(Process())
        return self.started[-1]

    def say(self, text: str, *words: Any) -> None:
        self.said.append(text % words)

    def look(self, seconds: float = 0) -> int:
        self.now += seconds
        self.beside.look(self.say)
        return len(self.started)


def test_what_ends_again_and_again_is_started_less_and_less_often() -> None:
    world = World()
    world.beside.begin(ORDERS, world.say)
    waits = []
    for number in range(1, 10):
        world.started[-1].status = -9
        assert world.look() == number, "not at once"
        before = world.now
        while world.look(0.25) == number:
            pass
        waits.append(world.now - before)
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert len(world.said) == 9
    assert world.said[2] == "sealgate: the process for plain HTTP ended; another one in 2 s, HTTPS goes on"
    world.look(61)
    world.started[-1].status = 1
    world.look()
    assert world.said[-1].endswith("in 0.5 s, HTTPS goes on"), "it had lived: from the beginning"


def test_one_that_cannot_be_started_does_not_end_the_arbiter() -> None:
    world = World()
    world.refuse = True
    world.beside.begin(ORDERS, world.say)
    assert "could not be started (Resource temporarily unavailable)" in world.said[0]
    world.refuse = False
    assert world.look(0.4) == 0
    assert world.look(0.2) == 1


def test_nothing_comes_back_once_it_is_over() -> None:
    world = World()
    assert world.look() == 0
    world.beside.begin(ORDERS, world.say)
    world.beside.end()
    assert world.started[0].status == -15
    assert world.look(1000) == 1
    assert world.said == []


def test_new_orders_end_the_one_before() -> None:
    world = World()
    world.beside.begin(ORDERS, world.say)
    world.beside.begin(ORDERS, world.say)
    assert [one.status for one in world.started] == [-15, None]
    assert world.look() == 2


def test_what_it_had_counted_is_no_more() -> None:
    memory = shared_memory(2)
    its, ours = Budget(1, fd=memory, place=0), Budget(1, fd=memory, place=1)
    assert its.take()
    world = World()
    world.beside.begin(replace(ORDERS, budget=memory), world.say)
    assert not ours.take()
    world.started[0].status = -9
    world.look()
    assert ours.take()


def test_it_is_looked_at_in_the_arbiters_round_and_only_there() -> None:
    class Arbiter:
        rounds = 0
        log = SimpleNamespace(error=lambda *_: None)

        def manage_workers(self) -> None:
            self.rounds += 1

    world, arbiter = World(), Arbiter()
    world.beside.begin(ORDERS, world.say)
    for _ in range(3):
        world.beside.keep(arbiter)
    world.started[0].status = 0
    arbiter.manage_workers()
    world.now += 1
    arbiter.manage_workers()
    assert (arbiter.rounds, len(world.started)) == (2, 2)
    world.beside.leave(arbiter)
    world.started[1].status = 0
    arbiter.manage_workers()
    assert (arbiter.rounds, len(world.started), len(world.said)) == (3, 2, 0)
