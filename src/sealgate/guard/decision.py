"""The decision on one request: a pure function from the policy and the facts to yes or no.

Adapters gather the facts (``wsgi.py``, ``asgi.py``; from where: ``sources.py``) and act on the answer. What
the decision does not know it cannot use: facts carry no header that came from outside but Host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealgate.guard.host import is_site_host
from sealgate.guard.path import NotCanonical, judge_target
from sealgate.policy.problems import ProblemType, problem

if TYPE_CHECKING:
    from sealgate.guard.client import Client
    from sealgate.guard.compiled import Compiled

__all__ = [
    "ADDRESS_REFUSED",
    "BLOCKED",
    "BODY_CUT",
    "BODY_TOO_LARGE",
    "HEADERS_TOO_LARGE",
    "LAPSED",
    "PATH_MISMATCH",
    "REVOKED",
    "UNJUDGED",
    "UNKNOWN",
    "UNLISTED",
    "UNSPOOLED",
    "UNVERIFIED",
    "VALIDATED",
    "Allow",
    "Deny",
    "Facts",
    "decide",
]

_UNKNOWN_HOST = problem("unknown-host")
_NOT_CANONICAL = problem("path-not-canonical")
_LONGEST_NUMBER = 18


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about a request.

    ``host`` is the Host field's value, empty where there is none or more than one. ``target`` is the raw
    target as received, as latin-1. ``length`` is the Content-Length in decimal, empty where there is none.
    """

    client: Client
    method: str
    host: str
    target: str
    length: str = ""


@dataclass(frozen=True, slots=True)
class Allow:
    """Yes: the app may see it. ``path`` is decoded once, ``query`` is raw."""

    client: Client
    path: str
    query: str


@dataclass(frozen=True, slots=True)
class Deny:
    """No: the answer for the caller, the ``reason`` for the log.

    ``headers`` are further fields of the answer, lower-case; ``members`` further members of its body.
    """

    problem: ProblemType
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
    members: tuple[tuple[str, object], ...] = ()


UNJUDGED = Deny(problem("internal-error"), "engine-facts-missing")
"""The engine did not say what it promised to say: never guess, fail closed."""

UNVERIFIED = Deny(problem("client-certificate-refused"), "certificate-not-verified")
"""The engine looked at the client's certificate and does not vouch for it: never taken for no certificate."""

PATH_MISMATCH = Deny(problem("internal-error"), "path-mismatch")
"""The path that arrived is not the decoded form of the one that the engine announced."""

REVOKED = Deny(problem("client-certificate-refused"), "certificate-revoked")
LAPSED = Deny(problem("client-certificate-refused"), "certificate-list-lapsed")
BLOCKED = Deny(problem("client-certificate-refused"), "certificate-blocked")
"""The client's certificate was revoked, perhaps since its connection began."""

UNKNOWN = Deny(problem("client-status-unknown"), "certificate-status-unknown")
"""Whether it is revoked is not known yet: somebody was told to find out."""

UNLISTED = Deny(problem("client-certificate-refused"), "certificate-without-list")
"""Nothing in it says where to ask whether it is revoked, and its authority's rule is to ask."""

ADDRESS_REFUSED = Deny(problem("address-refused"), "address")

BODY_CUT = Deny(problem("bad-request"), "body-cut")
"""It ended before its announced length: half of it is not what was meant."""

VALIDATED = frozenset(
    {"media-type-unsupported", "method-not-allowed", "operation-unknown", "request-invalid"}
)
"""Problems of requests that an API's description does not know: mode ``report`` lets them pass."""

BODY_TOO_LARGE = Deny(problem("body-too-large"), "body-limit")

HEADERS_TOO_LARGE = Deny(problem("headers-too-large"), "headers-limit")

UNSPOOLED = Deny(problem("internal-error"), "spool-directory")
"""A body of unknown length could not be kept: no place to write, or no room."""


def decide(compiled: Compiled, facts: Facts) -> Allow | Deny:
    """Judge one request; the first rule that denies answers."""
    if not is_site_host(compiled, facts.host):
        return Deny(_UNKNOWN_HOST, "host")
    target = judge_target(facts.method, facts.target)
    if isinstance(target, NotCanonical):
        return Deny(_NOT_CANONICAL, target.reason)
    if facts.length and not _fits(facts.length, compiled.body_limit):
        return BODY_TOO_LARGE
    return Allow(facts.client, target.path, target.query)


def _fits(length: str, limit: int) -> bool:
    """Is it a number, and not above the limit? The engine counts too; it takes no limit of 0, for one."""
    return len(length) <= _LONGEST_NUMBER and length.isascii() and length.isdigit() and int(length) <= limit
