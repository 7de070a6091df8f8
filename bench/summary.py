"""From samples to sentences: unit costs, medians, ratios, targets. No I/O."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.machine import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.run import Memory, Sample

__all__ = [
    "BASE_HANDSHAKE",
    "BASE_REQUEST",
    "PAIRS",
    "THEIRS",
    "Line",
    "Spread",
    "Target",
    "mutual_target",
    "ratios",
    "spread",
    "summarise",
    "targets",
    "unit_costs",
]

BASE_REQUEST = "nginx-gunicorn"
BASE_HANDSHAKE = "nginx-granian"
OURS = "sealgate-wsgi"
THEIRS = "nginx → Gunicorn"
"""What people build today, in ``bench.today``."""

_REQUEST_AT_MOST = 0.4
_HANDSHAKE_AT_MOST = 0.9
_MUTUAL_AT_MOST = 0.9
_READY_AT_MOST_SECONDS = 2.5
_ENGINE_AT_MOST = 1.1
_OWN_HANDSHAKE_AT_MOST = 0.5

PAIRS = {
    "engine-nginx-upstream": "nginx-hand",
    "engine-apache-upstream": "apache-hand",
    "engine-gunicorn": "gunicorn",
    "engine-uvicorn": "uvicorn",
}
"""Rows of our engines, and the same servers without us."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and what lies around it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """One row's results. Seconds and bytes; None where there is nothing to say or to compare with."""

    row: str
    title: str
    request_cpu: Spread
    handshake_cpu: Spread
    request_ratio: Spread | None
    handshake_ratio: Spread | None
    p50: Spread
    p99: Spread
    wait_p50: Spread
    wait_p99: Spread
    throughput: Spread
    ready: Spread
    memory: float | None
    idle: float | None
    tickets: str
    negotiated: str
    pair_request: Spread | None = None
    pair_handshake: Spread | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised, what was measured; ``met`` is None where a row it needs was not run."""

    what: str
    limit: float
    measured: Spread | None
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Is the median within the limit?"""
        return None if self.measured is None else self.measured.median <= self.limit


def unit_costs(first: tuple[int, int, float], second: tuple[int, int, float]) -> tuple[float, float]:
    """CPU per request and per handshake, from two phases of (requests, handshakes, CPU seconds).

    Each phase costs ``requests x r + handshakes x h``; two phases of different mixture give r and h.

    Raises:
        BenchError: the two mixtures are the same.
    """
    (requests_1, handshakes_1, cpu_1), (requests_2, handshakes_2, cpu_2) = first, second
    determinant = requests_1 * handshakes_2 - requests_2 * handshakes_1
    if determinant == 0:
        raise BenchError("two phases of the same mixture cannot tell requests from handshakes")
    request = (cpu_1 * handshakes_2 - cpu_2 * handshakes_1) / determinant
    handshake = (requests_1 * cpu_2 - requests_2 * cpu_1) / determinant
    return request, handshake


def spread(values: Iterable[float]) -> Spread:
    """Median, least and greatest of at least one value."""
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1])


def ratios(
    samples: Sequence[Sample], base: Sequence[Sample], value: Callable[[Sample], float]
) -> Spread | None:
    """Each round's value over the base's in the same round: what disturbed a round disturbed both."""
    bases = {sample.round: value(sample) for sample in base}
    found = [value(sample) / bases[sample.round] for sample in samples if bases.get(sample.round)]
    return spread(found) if found else None


def summarise(
    samples: Sequence[Sample], memory: Sequence[Memory], titles: dict[str, str]
) -> tuple[Line, ...]:
    """One line per row that has samples, in the order of ``titles``."""
    by_row = {row: [sample for sample in samples if sample.row == row] for row in titles}
    memories = {item.row: item for item in memory}
    shown = [row for row in titles if by_row[row]]
    return tuple(_line(titles[row], by_row[row], by_row, memories.get(row)) for row in shown)


def _line(title: str, own: list[Sample], by_row: dict[str, list[Sample]], memory: Memory | None) -> Line:
    pair = by_row.get(PAIRS.get(own[0].row, ""), [])
    looks = Counter(sample.negotiated for sample in own).most_common(1)[0][0]
    return Line(
        row=own[0].row,
        title=title,
        request_cpu=spread(sample.request_cpu for sample in own),
        handshake_cpu=spread(sample.handshake_cpu for sample in own),
        request_ratio=ratios(own, by_row.get(BASE_REQUEST, []), lambda sample: sample.request_cpu),
        handshake_ratio=ratios(own, by_row.get(BASE_HANDSHAKE, []), lambda sample: sample.handshake_cpu),
        p50=spread(sample.requests.p50 for sample in own),
        p99=spread(sample.requests.p99 for sample in own),
        wait_p50=spread(sample.waits.p50 for sample in own),
        wait_p99=spread(sample.waits.p99 for sample in own),
        throughput=spread(sample.requests.count / sample.requests.seconds for sample in own),
        ready=spread(sample.ready for sample in own),
        memory=memory.peak if memory else None,
        idle=memory.per_ten_thousand if memory else None,
        tickets=str(looks.tickets),
        negotiated=f"{looks.version} {looks.group} {looks.cipher} {looks.key}",
        pair_request=ratios(own, pair, lambda sample: sample.request_cpu),
        pair_handshake=ratios(own, pair, lambda sample: sample.handshake_cpu),
    )


def targets(lines: Sequence[Line]) -> tuple[Target, ...]:
    """The promises of the design, and what came of them."""
    ours = next((line for line in lines if line.row == OURS), None)
    request, handshake, ready = (
        (ours.request_ratio, ours.handshake_ratio, ours.ready) if ours else (None, None, None)
    )
    return (
        Target("CPU per request, Sealgate (WSGI) / nginx → Gunicorn", _REQUEST_AT_MOST, request),
        Target("CPU per full handshake, Sealgate (WSGI) / nginx → Granian", _HANDSHAKE_AT_MOST, handshake),
        Target("command to first 200, Sealgate (WSGI)", _READY_AT_MOST_SECONDS, ready, "s"),
        *_engine_targets({line.row: line for line in lines}),
    )


def mutual_target(ratios: Sequence[float]) -> Target:
    """Of handshakes with client certificates; no ratios: not run."""
    what = "CPU per full handshake with a client certificate, Envoy / nginx, same chain and list"
    return Target(what, _MUTUAL_AT_MOST, spread(ratios) if ratios else None)


def _engine_targets(lines: dict[str, Line]) -> tuple[Target, ...]:
    """What our rendering adds to a server, and what Gunicorn's handshake saves."""
    found = [
        Target(
            f"CPU per request, {row} / {pair}",
            _ENGINE_AT_MOST,
            lines[row].pair_request if row in lines else None,
        )
        for row, pair in PAIRS.items()
    ]
    ours = lines.get("engine-gunicorn")
    what = "CPU per full handshake, engine-gunicorn / gunicorn"
    return (*found, Target(what, _OWN_HANDSHAKE_AT_MOST, ours.pair_handshake if ours else None))
