"""Sealgate beside what people build today, by turns: the same app, clients, certificates, tokens and rules.

========================  =============================  ====================================================
what is asked             Sealgate (Envoy, its worker)   today (nginx, Gunicorn gthread, middleware of Falcon)
========================  =============================  ====================================================
TLS, client certificate   Envoy                          nginx, of the same files
addresses                 ``network.allow``              ``allow``, ``deny all``
calls of an address       ``limits.rates``               ``limit_req``
token (ES256)             ``tokens.issuers``             PyJWT
group, scope              ``access.rules``               the app
calls of a client         ``limits.rates``               limits
OpenAPI                   ``[validation]``               openapi-core
========================  =============================  ====================================================

One worker of eight threads each, all processes of a server on one core. Its CPU is that of the whole tree.
All are started once and take turns; the load is ``bench.kept``, since wrk shows no certificate.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from bench.guard import DENIED, denied
from bench.issuer import Issuing
from bench.kept import complete
from bench.load import openssl_conf
from bench.machine import BenchError, survey
from bench.processes import core_busy
from bench.stacks import ROOT, Ours, Theirs, has_openapi_core
from bench.steady import client_context, connect
from bench.summary import THEIRS, Target, spread
from bench.validate import order

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence

    from bench.machine import Machine

__all__ = ["GET", "OURS", "POST", "Today", "measure_today", "today_targets"]

OURS, OURS_VALIDATED, OURS_LISTED = (
    "Sealgate",
    "Sealgate, validating",
    f"Sealgate, {DENIED:,} networks denied",
)
THEIRS_VALIDATED = f"{THEIRS}, validating"
GET, POST = "GET /", "POST /orders, 1 KiB"

_ASKED = {
    GET: (OURS, OURS_LISTED, THEIRS),
    POST: (OURS, OURS_VALIDATED, THEIRS, THEIRS_VALIDATED),
}
_VALIDATING = (OURS_VALIDATED, THEIRS_VALIDATED)
_AT_MOST = 0.5
_LIST_AT_MOST = 1.1
_TURNS = 3
_TRIES = 3  # of one turn, where others disturb it
_QUIET = 0.1  # share of the core that others may use in a turn
_TURN_SECONDS = 0.6
_SETTLE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Today:
    """CPU seconds of all processes for one request: by what is asked, by server, by round.

    Attributes:
        costs: what is asked, server, rounds.
        waits: the same, medians of seconds until the answer, with all connections at work.
    """

    costs: Mapping[str, Mapping[str, tuple[float, ...]]]
    waits: Mapping[str, Mapping[str, tuple[float, ...]]]

    def ratios(self, asked: str, one: str, other: str) -> tuple[float, ...]:
        """One server to another, within each round; none: one of them did not run."""
        costs = self.costs[asked]
        if one not in costs or other not in costs:
            return ()
        return tuple(a / b for a, b in zip(costs[one], costs[other], strict=True))


def today_targets(found: Today | None) -> tuple[Target, ...]:
    """What was promised; None: not run."""
    promises = (
        (
            "CPU per request, the same policy: Sealgate / nginx → Gunicorn and middleware",
            GET,
            OURS,
            THEIRS,
            _AT_MOST,
        ),
        ("CPU per request, 100,000 networks denied / none, Envoy", GET, OURS_LISTED, OURS, _LIST_AT_MOST),
    )
    told = []
    for what, asked, one, other, limit in promises:
        ratios = found.ratios(asked, one, other) if found else ()
        told.append(Target(what, limit, spread(ratios) if ratios else None))
    return tuple(told)


class _Server(Protocol):
    """One that takes turns."""

    at: tuple[str, int]
    shown: Path

    def cpu(self) -> float:
        """Seconds of all its processes so far."""


class _Load:
    """Kept connections to one server that ask for one thing."""

    def __init__(self, server: _Server, request: Path, cores: Sequence[int], env: Mapping[str, str]) -> None:
        argv = ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-m", "bench.kept"]
        argv += [server.at[0], str(server.at[1]), str(server.shown), str(request)]
        self._server = server
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
            cwd=ROOT,
        )
        self._heard("ready")

    def _heard(self, wanted: str) -> dict[str, float]:
        out: IO[str] | None = self._process.stdout
        assert out is not None
        line = out.readline()
        if wanted not in line:
            raise BenchError(f"the load on {self._server.at} failed: {line.strip() or 'it ended'}")
        told: dict[str, float] = {} if line.strip() == wanted else json.loads(line)
        return told

    def turn(self, core: int) -> tuple[float, float]:
        """CPU seconds of the server for one request, and clients' median wait; of the quietest try."""
        best = self._turn(core)
        for _ in range(_TRIES - 1):
            if best[2] <= _QUIET:
                break
            best = min(best, self._turn(core), key=lambda one: one[2])
        return best[:2]

    def _turn(self, core: int) -> tuple[float, float, float]:
        """And the share of the core that others used."""
        begun, busy, before = time.monotonic(), core_busy(core), self._server.cpu()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{_TURN_SECONDS}\n")
        self._process.stdin.flush()
        told = self._heard("count")
        time.sleep(_SETTLE_SECONDS)
        spent = self._server.cpu() - before
        others = (core_busy(core) - busy - spent) / (time.monotonic() - begun)
        return spent / told["count"], told["p50"], others

    def stop(self) -> None:
        """Its process ends."""
        self._process.kill()
        self._process.communicate()


def measure_today(rounds: int, tell: Callable[[str], None]) -> Today:
    """All servers under way at once; in each round each has a turn of everything that is asked.

    Raises:
        BenchError: one of them does not serve.
    """
    machine = survey()
    with tempfile.TemporaryDirectory(prefix="bench-today-") as folder, contextlib.ExitStack() as stack:
        directory = Path(folder)
        if os.geteuid() == 0:  # servers' workers are other users then
            directory.chmod(0o711)
        tell("starting what people build today, and Sealgate")
        servers = _servers(directory, machine.server_core, stack)
        return _turns(servers, directory, machine, rounds, tell, stack)


def _servers(directory: Path, core: int, stack: contextlib.ExitStack) -> dict[str, _Server]:
    keys = (issuing := Issuing()).jwks
    (directory / "token").write_text(issuing.token())
    ours: dict[str, Ours] = {}
    wanted = ((OURS, False, ()), (OURS_VALIDATED, True, ()), (OURS_LISTED, False, denied()))
    for number, (name, validating, deny) in enumerate(wanted):
        one = Ours(directory / f"ours-{number}", keys, core, validating=validating, deny=deny)
        stack.callback(one.stop)
        one.start()
        ours[name] = one
    servers: dict[str, _Server] = {**ours}
    for name, validating in ((THEIRS, False), (THEIRS_VALIDATED, True)):
        if validating and not has_openapi_core():
            continue
        other = Theirs(directory / f"theirs-{validating:d}", keys, core, ours[OURS], validating=validating)
        stack.callback(other.stop)
        other.group.wait_for((directory / f"theirs-{validating:d}" / "app.sock").exists)
        servers[name] = other
    return servers


def _turns(
    servers: Mapping[str, _Server],
    directory: Path,
    machine: Machine,
    rounds: int,
    tell: Callable[[str], None],
    stack: contextlib.ExitStack,
) -> Today:
    env = {"OPENSSL_CONF": str(openssl_conf(directory))}
    requests = _requests(directory, (directory / "token").read_text())
    loads: dict[tuple[str, str], _Load] = {}
    for asked, request in requests.items():
        for name in _ASKED[asked]:
            if name not in servers:
                continue
            loads[asked, name] = load = _Load(servers[name], request, machine.load_cores, env)
            stack.callback(load.stop)
    for name, server in servers.items():
        _check(name, server, requests)
    for load in loads.values():
        load.turn(machine.server_core)  # caches, and the first of everything
    found: dict[tuple[str, str], list[tuple[float, float]]] = {each: [] for each in loads}
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}: beside what people build today")
        turns = [
            {each: load.turn(machine.server_core) for each, load in loads.items()} for _ in range(_TURNS)
        ]
        for each in loads:
            cpu, wait = zip(*(turn[each] for turn in turns), strict=True)
            found[each].append((statistics.median(cpu), statistics.median(wait)))
    return Today(*(_by(found, place) for place in (0, 1)))


def _check(name: str, server: _Server, requests: Mapping[str, Path]) -> None:
    """Who leaves something out would win by it.

    Raises:
        BenchError: a server lets in what it should refuse.
    """
    get, post = (requests[asked].read_bytes() for asked in (GET, POST))
    expected = {
        re.sub(rb"(Bearer [^.]+\.[^.]+\.)..", rb"\g<1>AA", get): {401},
        re.sub(rb"Authorization: [^\r]+\r\n", b"", get): {401},
        post.replace(b'"quantity": 1,', b'"quantity": 0,'): {400, 422} if name in _VALIDATING else {200},
        post: {200},
    }
    context = client_context(str(server.shown))
    for request, statuses in expected.items():
        with connect(context, *server.at) as connection:
            connection.sendall(request)
            status = _status(connection)
        if status not in statuses:
            raise BenchError(f"{name} answered {status} where it should say one of {sorted(statuses)}")


def _status(connection: ssl.SSLSocket) -> int:
    received = b""
    while (answer := complete(received)) is None:
        part = connection.recv(65536)
        if not part:
            return 0
        received += part
    return answer.status


def _by(
    found: Mapping[tuple[str, str], list[tuple[float, float]]], place: int
) -> dict[str, dict[str, tuple[float, ...]]]:
    told: dict[str, dict[str, tuple[float, ...]]] = {}
    for (asked, name), values in found.items():
        told.setdefault(asked, {})[name] = tuple(value[place] for value in values)
    return told


def _requests(directory: Path, token: str) -> dict[str, Path]:
    """What is sent, byte for byte, in files."""
    body = order()
    fields = f"Host: localhost\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n"
    said = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    sent = {
        GET: f"GET / HTTP/1.1\r\n{fields}\r\n".encode(),
        POST: f"POST /orders HTTP/1.1\r\n{fields}{said}\r\n".encode() + body,
    }
    files = {}
    for number, (asked, request) in enumerate(sent.items()):
        files[asked] = directory / f"request-{number}"
        files[asked].write_bytes(request)
    return files
