"""What an engine is: one constant ``ENGINE`` in ``engines/servers/<name>/__init__.py``.

An engine says for each part of a policy who enforces it, or that it cannot be enforced, with the way out.
A policy key that nobody claims is a bug (a test goes through all of them): nothing is silently dropped.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from sealgate.engines.counts import Counters
from sealgate.engines.facts import RenderFacts
from sealgate.errors import PolicyError, Problem
from sealgate.policy.model import Policy

__all__ = [
    "ALWAYS",
    "Capability",
    "Counting",
    "Drive",
    "Driver",
    "Enforcer",
    "Engine",
    "Obeying",
    "Program",
    "Refusal",
    "enforced",
    "enforced_rows",
]

ALWAYS = ""
"""The key of a promise that holds whatever the policy says."""


class Enforcer(enum.Enum):
    """Who makes a promise true."""

    ENGINE = "engine"
    GUARD = "guard"
    KEEPER = "keeper"
    OS = "os"


@dataclass(frozen=True, slots=True)
class Capability:
    """One promise of the policy, and who keeps it.

    Attributes:
        key: dotted key or table of the policy that it is about (``http.hsts``), or :data:`ALWAYS`.
        promise: what holds, in the policy's own values.
        enforcer: who makes it so.
        how: by what means, for those who want to check.
    """

    key: str
    promise: str
    enforcer: Enforcer
    how: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What this engine cannot enforce: the key, why, and the way out."""

    key: str
    reason: str
    way_out: str


@dataclass(frozen=True, slots=True)
class Program:
    """An engine's program that may be run: found, and checked.

    Attributes:
        path: absolute.
        version: `1.40.0`.
        pinned: byte for byte what was tested.
    """

    path: Path
    version: str
    pinned: bool


class Driver(Protocol):
    """An engine of one site, as the keeper drives it. Made by :attr:`Engine.drive`, not started yet."""

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """The process, once started."""

    @property
    def running(self) -> bool:
        """Is it there?"""

    @property
    def folder(self) -> Path:
        """The only directory that the engine's process writes to."""

    @property
    def reads(self) -> tuple[Path, ...]:
        """What its process reads beside its files in the state directory and the system's own."""

    async def start(self, facts: RenderFacts) -> None:
        """Render, start, wait until all listeners are open.

        Raises:
            EngineRefused: it did not; nothing is left running.
        """

    def needs_restart(self, facts: RenderFacts) -> str:
        """The key whose change would count only after a new start; empty: there is none."""

    async def apply(self, facts: RenderFacts) -> bool:
        """Make new facts count without losing a request; true if anything changed.

        Raises:
            EngineRefused: what was in force still is, byte for byte.
        """

    async def refresh(self) -> None:
        """Certificate, key or trust under ``live/`` changed: make them count without losing a request.

        Not called where :meth:`apply` just did. Nothing to do for engines that watch the files themselves.
        """

    async def spread(self, facts: RenderFacts) -> None:
        """Send requests to these workers; returns once it does."""

    async def challenge(self, facts: RenderFacts) -> None:
        """Answer exactly these questions of an ACME authority (``facts.challenges``); returns once it does.

        http-01 on every plain listener, whatever ``http.mode`` says; tls-alpn-01 on every HTTPS listener.
        Nothing else changes, and no request is lost. Later calls of `apply` and `start` carry them too.

        Raises:
            EngineRefused: what was answered before still is.
        """

    async def until_idle(self, socket: str, seconds: float) -> bool:
        """Wait until nothing is under way to a worker; false if something still was after `seconds`."""

    async def drain(self, seconds: float) -> bool:
        """Accept no more; true if all that was under way came to its end in `seconds`."""

    async def stop(self) -> None:
        """End the process."""

    def remove(self) -> None:
        """After the last `stop`: leave nothing behind."""


@runtime_checkable
class Counting(Protocol):
    """A driver whose engine tells what it counts; most cannot."""

    async def counters(self) -> Counters:
        """What happened since the engine's start: name, label, number.

        `requests` by class of status, `handshakes` by version, `key_exchanges` by group,
        `handshake_errors` by reason, `denials` by problem; `server_seconds` by class of latency
        (`counts.bound_names`), with the sum of all as `nanoseconds`.

        Raises:
            EngineError: it does not answer.
        """


@runtime_checkable
class Obeying(Protocol):
    """A driver whose engine runs the app, and the guard with it, in processes of its own."""

    def behind(self, generation: int) -> tuple[int, ...]:
        """Processes that have exchanges under way, and have not yet ended those of the revoked.

        Args:
            generation: of the table of the revoked.
        """

    def questions(self) -> tuple[bytes, ...]:
        """Certificates of which a guard asked since the last call if they are revoked; anybody's word."""


class Drive(Protocol):
    """Makes a :class:`Driver`."""

    def __call__(self, state: Path, program: Program, prepare: Callable[[], None], *, uid: int) -> Driver:
        """The state directory, the program, what to run in the child before exec, whom it becomes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A server that Sealgate drives.

    Attributes:
        id: as ``site.engine`` says it; the name of its folder.
        title: as people say it.
        versions: the minor versions tested, oldest first; their newer patch releases are accepted.
        capabilities: who enforces what of a policy.
        render: from facts to the engine's own files: name to content. Pure.
        program: finds and checks the program: environment, and whether another version counts.
        drive: makes a driver.
        identity: how the guard learns who called. ``h2``: Envoy's fields; ``proof``: those and the server's
            verdict about the client; both count only with the deployment's proof; ``inside``: the app runs in
            the engine's own process, where the guard is told by the TLS object itself (``apps`` says which
            apps can).
        apps: kinds of app that can be served.
    """

    id: str
    title: str
    versions: tuple[str, ...]
    capabilities: Callable[[Policy], tuple[Capability | Refusal, ...]]
    render: Callable[[RenderFacts], Mapping[str, bytes]]
    program: Callable[[Mapping[str, str], bool], Program]
    drive: Drive
    identity: Literal["h2", "proof", "inside"] = "h2"
    apps: tuple[Literal["wsgi", "asgi"], ...] = ("wsgi", "asgi")


def enforced(engine: Engine, policy: Policy) -> tuple[Capability, ...]:
    """The promises of a policy, each with who keeps it.

    Raises:
        PolicyError: ``engine-cannot``: all that this engine cannot enforce.
    """
    return enforced_rows(engine.title, engine.capabilities(policy))


def enforced_rows(title: str, rows: tuple[Capability | Refusal, ...]) -> tuple[Capability, ...]:
    """The promises among the rows.

    Raises:
        PolicyError: as :func:`enforced`.
    """
    refusals = [row for row in rows if isinstance(row, Refusal)]
    if refusals:
        problems = tuple(Problem(r.key, None, r.reason, r.way_out) for r in refusals)
        first = f"{refusals[0].key}: {refusals[0].reason}"
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        fact = f"{title} cannot enforce {first}{more}"
        raise PolicyError("engine-cannot", fact, f"use {refusals[0].way_out}", problems)
    return tuple(row for row in rows if isinstance(row, Capability))
