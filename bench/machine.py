"""The machine a run has for itself: cores, descriptors, a loopback address, ports.

Two runs at once must not meet: each draws a loopback address of its own out of 127.64.0.0/10
(Linux answers on all of 127.0.0.0/8), so their ports cannot clash.
"""

from __future__ import annotations

import os
import random
import resource
import socket
from dataclasses import dataclass

__all__ = ["BenchError", "Machine", "survey"]

_DESCRIPTORS = 20_000  # 10,000 idle connections in one process, and room


class BenchError(Exception):
    """The run cannot go on: one sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where servers run, where the load runs, and under which address they meet."""

    server_core: int
    load_cores: tuple[int, ...]
    address: str
    descriptors: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Client addresses: 10,000 connections to one port need more than one of them."""
        stem = self.address.rpartition(".")[0]
        return tuple(f"{stem}.{host}" for host in range(2, 6))

    def free_port(self) -> int:
        """A TCP port that nobody listens on at this run's address."""
        with socket.socket() as probe:
            probe.bind((self.address, 0))
            port: int = probe.getsockname()[1]
            return port


def survey() -> Machine:
    """Look at this machine and raise the limit of descriptors for everything started from here.

    Raises:
        BenchError: fewer than two cores: the load would be measured together with the server.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("the bench needs two cores, one for the server, one for the load; give it another")
    draw = random.SystemRandom()
    address = f"127.{draw.randrange(64, 128)}.{draw.randrange(256)}.1"
    return Machine(cores[-1], tuple(cores[:-1]), address, _raise_descriptors())


def _raise_descriptors() -> int:
    """The soft limit, raised to what is needed or as far as the hard limit lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
