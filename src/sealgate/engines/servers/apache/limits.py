"""Processes, threads, connections; sizes and timers."""

from __future__ import annotations

from dataclasses import dataclass

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.facts import whole_seconds

__all__ = ["ENDS", "FIELDS", "GENERATIONS", "Capacity", "capacity", "limit_lines", "worker_lines"]

GENERATIONS = 16
"""Slots for processes, in multiples of those that serve: after a renewal the old ones take their time."""

FIELDS = 100
"""Most request header fields."""

ENDS = "from 64 KiB on no answer over HTTP/2"
"""Of the whole header, whatever the limit: the connection ends (nghttp2's NGHTTP2_MAX_HEADERSLEN)."""

_THREADS = 512
_STREAMS = 100
_WINDOW = 256 * 1024
_LEAST_FACTOR = 1 / 16  # the MPM counts in sixteenths, and takes no 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many connections are held: `processes * (threads + floor(threads * factor))`."""

    processes: int
    threads: int
    factor: float


def capacity(connections: int, cores: int) -> Capacity:
    """Never more than so many connections; a thread serves one request at a time, or waits with many."""
    processes = max(1, min(cores, connections // 8))
    each = connections // processes
    threads = max(1, min(_THREADS, int(each / (1 + _LEAST_FACTOR))))
    factor = max(_LEAST_FACTOR, each / threads - 1)
    return Capacity(processes, threads, int(factor / _LEAST_FACTOR) * _LEAST_FACTOR)


def worker_lines(facts: RenderFacts) -> list[str]:
    """Directives of the event MPM."""
    held = capacity(facts.policy.limits.connections, facts.concurrency)
    workers = held.processes * held.threads
    return [
        f"ServerLimit {max(facts.concurrency, 1) * GENERATIONS}",
        f"ThreadLimit {_THREADS}",
        f"StartServers {held.processes}",
        f"ThreadsPerChild {held.threads}",
        f"MaxRequestWorkers {workers}",
        f"MinSpareThreads {min(held.threads, workers)}",
        f"MaxSpareThreads {workers}",  # processes never come and go by load
        f"AsyncRequestWorkerFactor {held.factor:.4f}",
        "MaxConnectionsPerChild 0",
        "ListenBackLog 4096",
        "H2MinWorkers 8",
        f"GracefulShutdownTimeout {whole_seconds(facts.policy.timeouts.drain)}",
    ]


def limit_lines(facts: RenderFacts) -> list[str]:
    """Sizes and timers of a virtual host, or of the server."""
    limits, timeouts = facts.policy.limits, facts.policy.timeouts
    handshake, headers, request = (
        whole_seconds(value) for value in (timeouts.handshake, timeouts.headers, timeouts.request)
    )
    return [
        f"LimitRequestLine {limits.headers}",
        f"LimitRequestFieldSize {limits.headers}",
        f"LimitRequestFields {FIELDS}",
        f"RequestReadTimeout handshake={handshake} header={headers} body={request}",
        f"Timeout {whole_seconds(timeouts.idle)}",
        "KeepAlive on",
        "MaxKeepAliveRequests 0",
        f"KeepAliveTimeout {max(1, round(timeouts.idle * 1000))}ms",
        f"H2MaxSessionStreams {_STREAMS}",
        f"H2StreamTimeout {request}",
        f"H2WindowSize {_WINDOW}",
    ]
