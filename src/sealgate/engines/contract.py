"""What an engine is: one constant ``ENGINE`` in ``engines/servers/<name>/__init__.py``.

An engine says for each part of a policy who enforces it, or that it cannot be enforced, with the way out.
A policy key that nobody claims is a bug (a test goes through all of them): nothing is silently dropped.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sealgate.errors import PolicyError, Problem
from sealgate.policy.model import Policy

__all__ = [
    "ALWAYS",
    "Capability",
    "Enforcer",
    "Engine",
    "Refusal",
    "Render",
    "enforced",
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


class Render(Protocol):
    """From a plan to the engine's own files: relative path to content. Pure."""

    def __call__(self, *arguments: Any, **options: Any) -> Mapping[str, bytes]:  # noqa: ANN401 - differs by engine
        """Render."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A server that Sealgate drives.

    Attributes:
        id: as ``site.engine`` says it; the name of its folder.
        title: as people say it.
        versions: the minor versions tested, oldest first; their newer patch releases are accepted.
        capabilities: who enforces what of a policy.
        render: see :class:`Render`.
        check: judges rendered files with the engine's own checker.
        run: starts it.
        reload: makes it take up changed files.
    """

    id: str
    title: str
    versions: tuple[str, ...]
    capabilities: Callable[[Policy], tuple[Capability | Refusal, ...]]
    render: Render
    check: Callable[..., Any]
    run: Callable[..., Any]
    reload: Callable[..., Any]


def enforced(engine: Engine, policy: Policy) -> tuple[Capability, ...]:
    """The promises of a policy, each with who keeps it.

    Raises:
        PolicyError: ``engine-cannot``: all that this engine cannot enforce.
    """
    rows = engine.capabilities(policy)
    refusals = [row for row in rows if isinstance(row, Refusal)]
    if refusals:
        problems = tuple(Problem(r.key, None, r.reason, r.way_out) for r in refusals)
        first = f"{refusals[0].key}: {refusals[0].reason}"
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        fact = f"{engine.title} cannot enforce {first}{more}"
        raise PolicyError("engine-cannot", fact, f"use {refusals[0].way_out}", problems)
    return tuple(row for row in rows if isinstance(row, Capability))
