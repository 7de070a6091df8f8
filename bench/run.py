"""Rounds: in each, every row is started afresh, and then all take turns under load.

One round::

    start row after row ─ first 200, look, warm up
    turns: requests on row 1, on row 2, ... again and again            (CPU of each row's own processes)
    turns: handshakes on row 1, on row 2, ... again and again
    stop all

A machine's speed drifts (neighbours, caches) within seconds by more than what is to be seen. Short turns make
the drift hit all rows alike; waiting rows cost nothing that is counted. wrk opens a few connections and each
handshake carries a request, so both kinds of turns contain both costs; two equations give the two unknowns
(``summary.unit_costs``). Memory is taken once per row after the rounds, with no other row running:
processes that share libraries would share the blame.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.load import Client, Handshakes, Negotiated, NothingCountedError, Requests, Waits
from bench.machine import BenchError
from bench.pki import make_credentials
from bench.processes import Group, core_busy
from bench.rows import Place
from bench.summary import unit_costs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from bench.machine import Machine
    from bench.rows import Row

_T = TypeVar("_T")

__all__ = ["Memory", "Plan", "Sample", "measure_memory", "missing", "rounds", "steps"]

_TRIES = 3  # of one turn, where others disturb it
_QUIET = 0.1  # share of the core that others may use in a turn
_SETTLE_SECONDS = 0.2  # for what servers do after an answer: closing, logging


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how much. A turn is ``turn_seconds`` of load; ``waits`` connections are timed after it."""

    rounds: int = 5
    turns: int = 4
    turn_seconds: float = 1.0
    waits: int = 50
    connections: int = 32
    idle: int = 10_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One row in one round. Seconds; CPU of all server processes."""

    row: str
    round: int
    ready: float
    request_cpu: float
    handshake_cpu: float
    requests: Requests
    handshakes: Handshakes
    waits: Waits
    negotiated: Negotiated
    disturbed: float
    """Share of the server's core that was used by others while this row was under load."""


@dataclass(frozen=True, slots=True)
class Memory:
    """PSS of a row's processes in bytes: most of what was seen, and without and with idle connections."""

    row: str
    connections: int
    peak: int
    before: int
    after: int

    @property
    def per_ten_thousand(self) -> float:
        """Bytes that 10,000 idle connections take."""
        return (self.after - self.before) * 10_000 / self.connections


@dataclass(frozen=True, slots=True)
class Spent:
    """What a turn cost: the server's CPU, the whole core's, and the time that passed; seconds."""

    cpu: float
    core: float
    wall: float

    @property
    def disturbed(self) -> float:
        """The share of the core that others used meanwhile."""
        return max(0.0, (self.core - self.cpu) / self.wall)


@dataclass(slots=True)
class Running:
    """A row under way, and what its turns have given so far."""

    row: Row
    group: Group
    client: Client
    place: Place
    ready: float
    negotiated: Negotiated
    requests: list[tuple[Requests, Spent]] = field(default_factory=list)
    handshakes: list[tuple[Handshakes, Spent]] = field(default_factory=list)
    waits: list[Waits] = field(default_factory=list)


def steps(rows: Sequence[Row], plan: Plan) -> int:
    """How many times ``tell`` will be called by :func:`rounds`."""
    return plan.rounds * (len(rows) + 2 * plan.turns)


def missing(needs: Iterable[str]) -> tuple[str, ...]:
    """Which of these programs and ``python:`` modules this machine has not."""
    return tuple(
        need
        for need in needs
        if not (find_spec(need[7:]) if need.startswith("python:") else shutil.which(need))
    )


def rounds(
    rows: Sequence[Row], machine: Machine, plan: Plan, tell: Callable[[str], None]
) -> Iterator[Sample]:
    """Every row in every round; ``tell`` hears what is being done."""
    for number in range(plan.rounds):
        with ExitStack() as stack:
            here = f"round {number + 1} of {plan.rounds}"
            running = []
            for row in rows:
                tell(f"{here}: starting {row.title}")
                running.append(stack.enter_context(_running(row, machine, plan)))
            for turn in range(plan.turns):
                tell(f"{here}: requests, turn {turn + 1} of {plan.turns}")
                for one in _turned(running, turn):
                    _requests(one, machine, plan)
            for turn in range(plan.turns):
                tell(f"{here}: handshakes, turn {turn + 1} of {plan.turns}")
                for one in _turned(running, turn):
                    _handshakes(one, machine, plan)
            for one in running:
                _check_log(one)
        yield from (_sample(one, number) for one in running)


def measure_memory(row: Row, machine: Machine, plan: Plan) -> Memory:
    """Memory after a load, and with ``plan.idle`` connections that have had one request each."""
    with _running(row, machine, plan) as one:
        seen = [one.group.memory()]
        one.client.requests(connections=plan.connections, seconds=plan.turn_seconds)
        one.client.handshakes(seconds=plan.turn_seconds)
        time.sleep(_SETTLE_SECONDS)
        before = one.group.memory()
        with one.client.hold(count=plan.idle):
            time.sleep(_SETTLE_SECONDS)
            after = one.group.memory()
        return Memory(row.id, plan.idle, max(*seen, before), before, after)


def _turned(running: list[Running], turn: int) -> list[Running]:
    """Another one begins each turn."""
    shift = turn % len(running)
    return running[shift:] + running[:shift]


def _requests(one: Running, machine: Machine, plan: Plan) -> None:
    one.requests.append(
        _quietly(
            one,
            machine,
            lambda: one.client.requests(connections=plan.connections, seconds=plan.turn_seconds),
        )
    )


def _handshakes(one: Running, machine: Machine, plan: Plan) -> None:
    one.handshakes.append(_quietly(one, machine, lambda: one.client.handshakes(seconds=plan.turn_seconds)))
    one.waits.append(one.client.waits(count=plan.waits))


def _sample(one: Running, number: int) -> Sample:
    """All turns of a row: counts added up; of costs and latencies the medians."""
    loads, shakes = [load for load, _ in one.requests], [shake for shake, _ in one.handshakes]
    spent = [spent for _, spent in (*one.requests, *one.handshakes)]
    requests = Requests(
        sum(load.count for load in loads),
        sum(load.connections for load in loads),
        sum(load.seconds for load in loads),
        statistics.median(load.p50 for load in loads),
        statistics.median(load.p99 for load in loads),
    )
    handshakes = Handshakes(sum(shake.count for shake in shakes))
    waits = Waits(
        statistics.median(wait.p50 for wait in one.waits), statistics.median(wait.p99 for wait in one.waits)
    )
    costs = [
        unit_costs((load.count, load.connections, first.cpu), (shake.count, shake.count, second.cpu))
        for (load, first), (shake, second) in zip(one.requests, one.handshakes, strict=True)
    ]
    others = statistics.median(item.disturbed for item in spent)
    return Sample(
        row=one.row.id,
        round=number,
        ready=one.ready,
        request_cpu=statistics.median(request for request, _ in costs),
        handshake_cpu=statistics.median(handshake for _, handshake in costs),
        requests=requests,
        handshakes=handshakes,
        waits=waits,
        negotiated=one.negotiated,
        disturbed=others,
    )


@contextmanager
def _running(row: Row, machine: Machine, plan: Plan) -> Iterator[Running]:
    """The row's processes: ready, verified and warm, in a directory that goes with them."""
    with tempfile.TemporaryDirectory(prefix="sealgate-bench-") as name:
        directory = Path(name)
        credentials = make_credentials(directory, machine.address)
        place = Place(directory, machine.address, machine.free_port(), machine.free_port(), credentials)
        launch = row.launch(place)
        client = Client(machine, place.port, directory)
        group = Group(launch.commands, core=machine.server_core, logs=directory)
        try:
            try:
                client.wait_ready(group.check_alive)
                ready = time.monotonic() - group.started
                client.verify(launch.root())
                negotiated = client.look()
                _warm(client, plan.connections)
            except BenchError as error:
                raise BenchError(f"{row.id}: {error}") from error
            yield Running(row, group, client, place, ready, negotiated)
        finally:
            group.stop()


def _warm(client: Client, connections: int) -> None:
    """Caches, connections, and the first of everything; not counted, but it must have worked."""
    for _ in range(_TRIES - 1):
        with suppress(NothingCountedError):  # the machine stood still for that second
            client.requests(connections=connections, seconds=1)
            return
    client.requests(connections=connections, seconds=1)


def _quietly(one: Running, machine: Machine, load: Callable[[], _T]) -> tuple[_T, Spent]:
    """What a load costs the server; again where others were at work, and the quietest try counts.

    A machine that stood still for the whole turn has counted nothing: that is no result, and is tried again.
    """
    best: tuple[_T, Spent] | None = None
    for attempt in range(_TRIES):
        try:
            tried = _spend(one, machine, load)
        except NothingCountedError:
            if attempt == _TRIES - 1 and best is None:
                raise
            continue
        best = tried if best is None else min(best, tried, key=lambda each: each[1].disturbed)
        if best[1].disturbed <= _QUIET:
            break
    assert best is not None  # the last try raises or gives one
    return best


def _spend(one: Running, machine: Machine, load: Callable[[], _T]) -> tuple[_T, Spent]:
    begun, core, cpu = time.monotonic(), core_busy(machine.server_core), one.group.cpu()
    try:
        result = load()
    except BenchError as error:
        one.group.check_alive()
        raise type(error)(f"{one.row.id}: {error}") from error
    time.sleep(_SETTLE_SECONDS)
    cpu_after, core_after = one.group.cpu(), core_busy(machine.server_core)
    if gone := cpu.keys() - cpu_after.keys():
        one.group.check_alive()
        raise BenchError(f"{one.row.id}: processes {sorted(gone)} ended under load, their CPU time is lost")
    spent = sum(cpu_after.values()) - sum(cpu.values())
    return result, Spent(spent, core_after - core, time.monotonic() - begun)


def _check_log(one: Running) -> None:
    """Everybody logs every request: a server that does not would win by it."""
    one.group.check_alive()
    asked = sum(load.count for load, _ in one.requests)
    lines = _lines(one.place.access_log) or max(map(_lines, one.place.directory.glob("*.out")))
    # Buffered logs may still hold the last lines.
    if lines < asked * 0.9:
        raise BenchError(f"{one.row.id}: {lines} access log lines for {asked} requests: logging is not equal")


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as log:
        return sum(part.count(b"\n") for part in iter(lambda: log.read(1 << 20), b""))
