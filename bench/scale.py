"""``python -m bench.scale``: what many revoked clients cost, by engine.

For each engine and each number of revoked certificates a fresh state directory is filled by code, and
`sealgate serve` started on it. Then: handshakes of a good client (CPU of all processes but the keeper's), a
steady load, and in it one revocation after the other, while the client that is revoked knocks at the door of
new connections and at that of one which is open. Doors and latencies are wall time, all else is CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.table import Table

from bench.load import quantile
from bench.machine import BenchError
from bench.rows import PYTHON
from bench.serving import Serving
from bench.steady import client_context, connect, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Counted", "Found", "handshakes", "main", "policy_of"]

_ENGINES = {"envoy": "wsgi", "nginx": "wsgi", "apache": "wsgi", "gunicorn": "wsgi", "uvicorn": "asgi"}
_ROOT = Path(__file__).parent.parent
_AFTER = 1.5  # seconds after the answer that still belong to the swap
_POLICY = """\
[site]
names = ["localhost", "{address}"]
engine = "{engine}"
app = "apps:hello_{kind}"
workers = 2
threads = 8
[listen]
https = ["{address}:{port}"]
http = []
[clients]
mode = "required"
[monitor]
listen = ""
"""


@dataclass(frozen=True, slots=True)
class Found:
    """One engine with so many revoked; seconds and bytes, medians of the swaps.

    Attributes:
        ready: from the start to the first answer.
        answered: `client revoke`, from the order to its answer.
        new: from the order to the last new connection of the revoked that was served.
        kept: the same, of requests on its open connection.
        keeper_cpu: the keeper's, for one swap.
        engine_cpu: everybody else's, less what the load costs.
        before: p99 of others' requests before.
        during: p99 during the swap, and 1.5 s after it.
        longest: the longest of them.
        failed: of others' requests, all swaps together.
        handshake: CPU of one full handshake and its refusal of another host.
        memory: PSS of all processes but the keeper.
        keeper_memory: the keeper's.
    """

    engine: str
    revoked: int
    ready: float
    answered: float
    new: float
    kept: float
    keeper_cpu: float
    engine_cpu: float
    before: float
    during: float
    longest: float
    failed: int
    handshake: float
    memory: int
    keeper_memory: int


def policy_of(engine: str) -> Callable[[str, int], str]:
    """For :class:`~bench.serving.Serving`."""
    return lambda address, port: _POLICY.format(
        address=address, port=port, kind=_ENGINES[engine], engine=engine
    )


def _served(context: ssl.SSLContext, at: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), connect(context, *at) as connection:
        return request(connection, close=True) == 200
    return False


def _knocking(knock: Callable[[], bool], stop: threading.Event) -> tuple[threading.Thread, list[float]]:
    """Knocks until told to stop; when it knocked and was let in."""
    let_in: list[float] = []

    def run() -> None:
        while not stop.is_set():
            asked = time.monotonic()
            if knock():
                let_in.append(asked)
            time.sleep(0.02)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, let_in


def _swap(serving: Serving, name: str, shown: Path) -> dict[str, float]:
    """Revoke one that knocks at both doors."""
    context, stop = client_context(str(shown)), threading.Event()
    held = connect(context, *serving.at)

    def kept() -> bool:
        with contextlib.suppress(OSError):
            return request(held) == 200
        return False

    doors = [_knocking(lambda: _served(context, serving.at), stop), _knocking(kept, stop)]
    time.sleep(0.5)
    if not all(let_in for _, let_in in doors):
        raise BenchError(f"{name} was not let in before it was revoked")
    keeper, others = serving.cpu()
    given = time.monotonic()
    serving.revoke(name)
    returned = time.monotonic()
    time.sleep(_AFTER)
    after = serving.cpu()
    stop.set()
    for thread, _ in doors:
        thread.join()
    held.close()
    new, open_ = (max(0.0, let_in[-1] - given) for _, let_in in doors)
    ended = time.monotonic()
    spans = {"given": given, "ended": ended, "answered": returned - given, "new": new, "kept": open_}
    return {**spans, "keeper": after[0] - keeper, "others": after[1] - others}


class Counted(Protocol):
    """A server whose CPU time can be asked for: its parent's, and all others'."""

    at: tuple[str, int]

    def cpu(self) -> tuple[float, float]:
        """Seconds so far."""


def handshakes(serving: Counted, shown: Path, count: int) -> float:
    """CPU seconds of one, all processes but the keeper. The host is nobody's: 421, no app sees it."""
    context = client_context(str(shown))
    before = serving.cpu()[1]
    for _ in range(count):
        with connect(context, *serving.at) as connection:
            if request(connection, host="nobody.invalid", close=True) != 421:
                raise BenchError("a good client was not taken")
    return (serving.cpu()[1] - before) / count


@contextlib.contextmanager
def _load(serving: Serving, shown: Path, rate: float) -> Iterator[Callable[[], list[tuple[float, float]]]]:
    """A steady load; what it gives ends it, and says when each was asked for and how long it took."""
    argv = [PYTHON, "-m", "bench.steady", serving.at[0], str(serving.at[1]), str(shown), "--rate", str(rate)]
    with tempfile.TemporaryFile("w+") as sink:
        process = subprocess.Popen(argv, stdout=sink, cwd=_ROOT)

        def ended() -> list[tuple[float, float]]:
            process.terminate()
            process.wait()
            sink.seek(0)
            lines = [line.split() for line in sink.read().splitlines()]
            # What was being written when it ended is no line.
            return [(float(a), float(b)) for a, b in (one for one in lines if len(one) == 2) if "." in b]

        try:
            yield ended
        finally:
            process.kill()
            process.wait()


def _measured(engine: str, number: int, call: argparse.Namespace) -> Found:
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        if os.geteuid() == 0:  # servers' workers are other users then
            Path(folder).chmod(0o711)
        serving = Serving(policy_of(engine), Path(folder), revoked=number)
        try:
            return _of(serving, engine, number, call)
        finally:
            serving.group.stop()


def _of(serving: Serving, engine: str, number: int, call: argparse.Namespace) -> Found:
    ready = serving.wait()
    victims = [f"victim-{one}" for one in range(call.swaps)]
    shown = serving.clients(["good", *victims])
    handshakes(serving, shown["good"], 50)
    handshake = statistics.median(handshakes(serving, shown["good"], call.handshakes // 5) for _ in range(5))
    with _load(serving, shown["good"], call.rate) as ended:
        time.sleep(1.0)
        began, (_, cpu) = time.monotonic(), serving.cpu()
        time.sleep(call.before)
        quiet, idle = time.monotonic(), (serving.cpu()[1] - cpu) / call.before
        swaps = [_swap(serving, name, shown[name]) for name in victims]
        answers = ended()
    memory = {pid: serving.group.memory_of(pid) for pid in serving.group.pids()}
    before = sorted(took for at, took in answers if began <= at < quiet)
    during = sorted(took for at, took in answers if any(one["given"] <= at < one["ended"] for one in swaps))
    if not before or not during:
        raise BenchError("the load was answered by nobody")
    middle = {key: statistics.median(one[key] for one in swaps) for key in swaps[0]}
    lasted = statistics.median(one["ended"] - one["given"] for one in swaps)
    keeper = memory.pop(serving.group.roots[0])
    return Found(
        engine=engine,
        revoked=number,
        ready=ready,
        answered=middle["answered"],
        new=middle["new"],
        kept=middle["kept"],
        keeper_cpu=middle["keeper"],
        engine_cpu=max(0.0, middle["others"] - idle * lasted),
        before=quantile(before, 0.99),
        during=quantile(during, 0.99),
        longest=during[-1],
        failed=sum(took > 5 for _, took in answers),
        handshake=handshake,
        memory=sum(memory.values()),
        keeper_memory=keeper,
    )


def _table(found: Sequence[Found]) -> Table:
    table = Table(title="one more revocation, beside so many; medians of the swaps")
    heads = ["engine", "revoked", "ready s", "answer s", "new shut s", "open shut s", "keeper CPU s"]
    heads += ["others CPU s", "p99 before ms", "p99 during ms", "longest ms", "CPU µs/handshake"]
    for head in (*heads, "MB", "keeper MB"):
        table.add_column(head, justify="right")
    for one in found:
        seconds = (one.ready, one.answered, one.new, one.kept, one.keeper_cpu, one.engine_cpu)
        millis = (one.before, one.during, one.longest)
        table.add_row(
            one.engine,
            f"{one.revoked:,}",
            *(f"{value:.2f}" for value in seconds),
            *(f"{value * 1e3:.1f}" for value in millis),
            f"{one.handshake * 1e6:.0f}",
            *(f"{value / 1e6:.0f}" for value in (one.memory, one.keeper_memory)),
        )
    return table


def main(argv: list[str] | None = None) -> int:
    """Measure, print; exit status 3 where something failed on the way."""
    parser = argparse.ArgumentParser(prog="bench.scale", description="What many revoked clients cost.")
    parser.add_argument("--engines", default=",".join(_ENGINES))
    parser.add_argument("--revoked", default="0,100000,1000000", help="how many, comma-separated")
    parser.add_argument("--swaps", type=int, default=5)
    parser.add_argument("--handshakes", type=int, default=500)
    parser.add_argument("--rate", type=float, default=200.0, help="of the steady load, requests a second")
    parser.add_argument("--before", type=float, default=5.0, help="seconds of load before the first swap")
    parser.add_argument("--json", type=Path, help="write everything there too")
    call = parser.parse_args(argv)
    found: list[Found] = []
    errors, failed = Console(stderr=True), False
    for engine in call.engines.split(","):
        for number in map(int, call.revoked.split(",")):
            try:
                found.append(_measured(engine, number, call))
            except BenchError as error:
                errors.print(f"bench: {engine}, {number}: {error}", style="red", markup=False)
                failed = True
                continue
            errors.print(json.dumps(asdict(found[-1])), soft_wrap=True, markup=False, highlight=False)
    (Console() if sys.stdout.isatty() else Console(width=200)).print(_table(found))
    if call.json:
        call.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
