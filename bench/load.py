"""The load: wrk on kept connections, h2load for handshakes, our client for waits, openssl for a first look.

wrk is no client for handshakes: a connection that it opens again takes its TLS session along (SSL_clear(3)
keeps it), so a server that resumes sessions would be compared with one that does not. h2load opens each of
its connections once, many at a time: alone, they would show what going to sleep and waking up costs.

All of them offer the same: TLS 1.3, X25519, AES-128-GCM. A server that could do more (X25519MLKEM768,
say) is so made to do the same work as one that cannot.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.connect import Target, client_context, exchange
from bench.machine import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.machine import Machine

__all__ = [
    "Client",
    "Handshakes",
    "Negotiated",
    "NothingCountedError",
    "Requests",
    "Waits",
    "openssl_conf",
    "parse_h2load",
    "parse_look",
    "parse_wrk",
    "quantile",
]


class NothingCountedError(BenchError):
    """Not one request was answered in the time: the machine stood still, or the server hangs."""


_OPENSSL_CONF = """\
openssl_conf = bench
[bench]
ssl_conf = tls
[tls]
system_default = offer
[offer]
MinProtocol = TLSv1.3
Groups = X25519
Ciphersuites = TLS_AES_128_GCM_SHA256
"""
_BURST = 32  # connections at a time: more would wait longer for Gunicorn than handshakes may take
_ROOT = Path(__file__).parent.parent
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Requests:
    """What wrk saw: requests answered, connections opened for them, how long; times in seconds."""

    count: int
    connections: int
    seconds: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Handshakes:
    """Full handshakes, each with one request."""

    count: int


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from connect(2) to the end of the answer, one connection after the other."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What a handshake settled on."""

    version: str
    cipher: str
    group: str
    key: str
    tickets: int


class Client:
    """The load on one server, from the load's cores."""

    def __init__(self, machine: Machine, port: int, directory: Path) -> None:
        self._machine = machine
        self._target = Target(machine.address, port, machine.sources)
        self._env = {**os.environ, "OPENSSL_CONF": str(openssl_conf(directory))}
        self._pin = ("taskset", "-c", ",".join(str(core) for core in machine.load_cores))

    def wait_ready(self, alive: Callable[[], None], *, seconds: float = 60.0) -> None:
        """Ask until the first 200; ``alive()`` raises when the server has ended instead."""
        context = client_context()
        deadline = time.monotonic() + seconds
        reason = ""
        while time.monotonic() < deadline:
            try:
                exchange(context, self._target, self._machine.sources[0], close=True).close()
            except OSError as error:
                reason = str(error)
            else:
                return
            alive()
            time.sleep(0.01)
        raise BenchError(f"no 200 within {seconds:.0f} s: {reason}")

    def verify(self, root: Path) -> None:
        """One exchange with the certificate checked."""
        exchange(client_context(str(root)), self._target, self._machine.sources[0], close=True).close()

    def look(self) -> Negotiated:
        """What is negotiated, and how many tickets come."""
        where = f"{self._target.host}:{self._target.port}"
        process = subprocess.Popen(
            ["openssl", "s_client", "-connect", where, "-ign_eof", "-servername", "localhost"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._env,
        )  # fmt: skip
        try:
            said, _ = process.communicate(self._target.request(close=True), timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        return parse_look(said.decode(errors="replace"))

    def requests(self, *, connections: int, seconds: float) -> Requests:
        """wrk for so long on kept connections; any error is ours to explain."""
        return parse_wrk(self._wrk(connections, seconds), connections)

    def handshakes(self, *, seconds: float) -> Handshakes:
        """For so long a new connection, and a full handshake, for each request, many at a time."""
        url = f"https://{self._target.host}:{self._target.port}/"
        argv = ["h2load", "--h1", "-t", "1", "-n", str(_BURST), "-c", str(_BURST), url]
        count, end = 0, time.monotonic() + seconds
        while not count or time.monotonic() < end:
            count += parse_h2load(self._run([*self._pin, *argv], seconds + 20))
        return Handshakes(count)

    def waits(self, *, count: int, seconds: float = 30.0) -> Waits:
        """``count`` connections of one request each, and how long each of them took."""
        answer = json.loads(self._run(self._connect("waits", count, seconds), seconds + 40))
        done = answer["latencies"]
        if answer["failed"] or not done:
            raise BenchError(f"{answer['failed']} of {count} connections failed: {answer['reason']}")
        return Waits(quantile(done, 0.5), quantile(done, 0.99))

    @contextlib.contextmanager
    def hold(self, *, count: int, seconds: float = 120.0) -> Iterator[int]:
        """Keep ``count`` idle connections open during the ``with``; gives how many there are."""
        process = subprocess.Popen(
            self._connect("hold", count, seconds),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self._env, cwd=_ROOT,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            opened = json.loads(process.stdout.readline() or '{"open": 0, "reason": "the client ended"}')
            if opened["open"] < count:
                raise BenchError(f"only {opened['open']} of {count} connections opened: {opened['reason']}")
            yield opened["open"]
            alive = json.loads(process.communicate("", timeout=60)[0])["alive"]
            if alive < count:
                raise BenchError(f"the server closed {count - alive} of {count} idle connections")
        finally:
            process.kill()
            process.wait()

    def _wrk(self, connections: int, seconds: float) -> str:
        url = f"https://{self._target.host}:{self._target.port}/"
        long = f"{max(1, round(seconds))}s"
        argv = ["wrk", "-t", "1", "-c", str(connections), "-d", long, "--latency", url]
        return self._run([*self._pin, *argv], seconds + 20)

    def _connect(self, what: str, count: int, seconds: float) -> list[str]:
        target = self._target
        call = [*self._pin, sys.executable, "-m", "bench.connect", what, target.host, str(target.port)]
        sources = ",".join(target.sources)
        return [*call, "--sources", sources, "--count", str(count), "--seconds", str(seconds)]

    def _run(self, argv: list[str], seconds: float) -> str:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=seconds, env=self._env, cwd=_ROOT, check=False
        )
        if done.returncode:
            raise BenchError(f"{argv[3]} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout


def openssl_conf(directory: Path) -> Path:
    """What every client offers, as OPENSSL_CONF has it."""
    conf = directory / "openssl.cnf"
    conf.write_text(_OPENSSL_CONF)
    return conf


def quantile(ordered: list[float], share: float) -> float:
    """The value below which ``share`` of an ordered, non-empty list lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def parse_wrk(said: str, connections: int) -> Requests:
    """wrk's report as data.

    Raises:
        NothingCountedError: a report of no requests.
        BenchError: socket errors, answers other than 2xx and 3xx, or no report.
    """
    for complaint in ("Socket errors", "Non-2xx"):
        if complaint in said:
            line = next(line.strip() for line in said.splitlines() if complaint in line)
            raise BenchError(f"wrk saw errors ({line}); the numbers would not be comparable")
    count = re.search(r"^\s*(\d+) requests in ([\d.]+[a-z]+),", said, re.MULTILINE)
    quantiles = dict(re.findall(r"^\s+(50|99)%\s+([\d.]+[a-z]+)$", said, re.MULTILINE))
    if count and int(count[1]) == 0:
        raise NothingCountedError("wrk had nothing to count: no request was answered")
    if not count or len(quantiles) != 2:
        raise BenchError(f"wrk reported nothing to count: {said.strip()[-300:]!r}")
    p50, p99 = _seconds(quantiles["50"]), _seconds(quantiles["99"])
    return Requests(int(count[1]), connections, _seconds(count[2]), p50, p99)


def parse_h2load(said: str) -> int:
    """How many requests h2load's report says were answered with 2xx.

    Raises:
        BenchError: some were not, or there is no report.
    """
    requests = re.search(r"^requests: (\d+) total, .* (\d+) succeeded, ", said, re.MULTILINE)
    codes = re.search(r"^status codes: (\d+) 2xx, ", said, re.MULTILINE)
    if not requests or not codes or len({requests[1], requests[2], codes[1]}) != 1 or requests[1] == "0":
        raise BenchError(f"h2load saw errors: {said.strip()[-300:]!r}")
    return int(requests[1])


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if not match:
        raise BenchError(f"wrk wrote a time that is none: {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def parse_look(said: str) -> Negotiated:
    """What ``openssl s_client`` prints about a handshake."""

    def find(pattern: str) -> str:
        match = re.search(pattern, said)
        return match[1] if match else "?"

    return Negotiated(
        version=find(r"New, (TLSv[\d.]+), Cipher"),
        cipher=find(r"Cipher is (\S+)"),
        group=find(r"Server Temp Key: (\w+)"),
        key=find(r"Peer signature type: (\w+)") + " " + find(r"Server public key is (\d+) bit"),
        tickets=said.count("Post-Handshake New Session Ticket arrived"),
    )
