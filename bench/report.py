"""The table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.summary import BASE_HANDSHAKE, BASE_REQUEST, THEIRS, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from bench.summary import Line, Spread, Target
    from bench.today import Today

__all__ = ["show", "show_guard", "show_targets", "show_today"]

_MICRO, _MILLI, _MEGA = 1e6, 1e3, 1e-6


def show(console: Console, lines: Sequence[Line], targets: Sequence[Target], disturbed: float) -> None:
    """Two tables (cost, the rest), the targets, and how quiet the machine was."""
    console.print(_costs(lines))
    console.print(_rest(lines))
    show_targets(console, targets)
    if disturbed > 0.05:
        note = f"other programs took {disturbed:.0%} of the server's core: trust ratios more than times"
        console.print(Text(note, style="yellow"))


def show_targets(console: Console, targets: Sequence[Target]) -> None:
    """A line for each."""
    for target in targets:
        console.print(_verdict(target))


def show_guard(console: Console, app: Sequence[float], guard: Mapping[str, Sequence[float]]) -> None:
    """What guards add to an app's own call, by what they are asked for."""
    table = Table(title="the guard in one process, CPU: median (least-greatest of the rounds)")
    for head in ("", "µs added", "in calls of the app"):
        table.add_column(head, justify="right" if head else "left")
    table.add_row("Falcon's own call of the app", _scaled(spread(app), _MICRO, 1), "")
    for name, added in guard.items():
        ratios = [one / own for one, own in zip(added, app, strict=True)]
        table.add_row(name, _scaled(spread(added), _MICRO, 1), _scaled(spread(ratios), 1, 2))
    console.print(table)


def show_today(console: Console, found: Today) -> None:
    """What is asked, by server."""
    table = Table(title="the same policy, CPU of all server processes: median (least-greatest of the rounds)")
    for head in ("", "", "µs per request", f"ratio to {THEIRS}", "p50 ms"):
        table.add_column(head, justify="right" if head else "left")
    for asked, servers in found.costs.items():
        for name, costs in servers.items():
            wait = spread(found.waits[asked][name]).median
            ratios = found.ratios(asked, name, THEIRS)
            ratio = _scaled(spread(ratios), 1, 2) if ratios else "-"
            table.add_row(asked, name, _scaled(spread(costs), _MICRO, 0), ratio, f"{wait * _MILLI:.2f}")
    console.print(table)


def _costs(lines: Sequence[Line]) -> Table:
    table = Table(title="CPU of all server processes: median (least-greatest of the rounds)")
    table.add_column("")
    to_request, to_handshake = f"ratio to {BASE_REQUEST}", f"ratio to {BASE_HANDSHAKE}"
    for head in ("µs per request", to_request, "µs per handshake", to_handshake):
        table.add_column(head, justify="right")
    for line in lines:
        table.add_row(
            line.title,
            _scaled(line.request_cpu, _MICRO, 0),
            _scaled(line.request_ratio, 1, 2),
            _scaled(line.handshake_cpu, _MICRO, 0),
            _scaled(line.handshake_ratio, 1, 2),
        )
    return table


def _rest(lines: Sequence[Line]) -> Table:
    table = Table(title="Latency on a full core, memory (PSS), readiness")
    table.add_column("")
    heads = ("requests/s", "p50 ms", "p99 ms", "connect p50 ms", "p99 ms")
    for head in (*heads, "peak MB", "MB per 10,000 idle", "first 200 s", "tickets"):
        table.add_column(head, justify="right")
    for line in lines:
        latencies = (line.p50, line.p99, line.wait_p50, line.wait_p99)
        table.add_row(
            line.title,
            f"{line.throughput.median:.0f}",
            *(f"{value.median * _MILLI:.2f}" for value in latencies),
            "-" if line.memory is None else f"{line.memory * _MEGA:.0f}",
            "-" if line.idle is None else f"{line.idle * _MEGA:.0f}",
            _scaled(line.ready, 1, 2),
            line.tickets,
        )
    return table


def _scaled(value: Spread | None, factor: float, digits: int) -> str:
    if value is None:
        return "-"
    low, middle, high = (f"{x * factor:.{digits}f}" for x in (value.low, value.median, value.high))
    return f"{middle} ({low}-{high})"


def _verdict(target: Target) -> Text:
    limit = f"≤ {target.limit:g}{target.unit and ' ' + target.unit}"
    if target.met is None:
        return Text(f"not run  {target.what}: {limit}", style="dim")
    measured = _scaled(target.measured, 1, 2)
    word, style = ("pass", "green") if target.met else ("FAIL", "bold red")
    return Text(f"{word}  {target.what}: {measured}, target {limit}", style=style)
