"""How the guard says no: RFC 9457 ``application/problem+json``.

The texts are shared with the engines: ``policy/problems.py``.
"""

from __future__ import annotations

import http
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealgate.policy.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from sealgate.policy.problems import ProblemType

__all__ = ["Answer", "answer"]

_REQUEST_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer; adapters only convert it."""

    status: int
    phrase: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def answer(
    problem: ProblemType,
    *,
    method: str,
    request_id: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    members: tuple[tuple[str, object], ...] = (),
) -> Answer:
    """The answer for a problem; ``headers`` and ``members`` are a denial's own.

    HEAD gets the same fields without a body (RFC 9110 §9.3.2). ``no-store``: a refusal of today must not be
    replayed by a cache tomorrow. ``instance`` names the occurrence, so that a caller can quote it.
    """
    said: dict[str, object] = {**problem.as_dict(), **dict(members)}
    if _REQUEST_ID.fullmatch(request_id):
        said["instance"] = f"urn:uuid:{request_id}"
    body = json.dumps(said).encode("ascii") + b"\n"
    told = any(name == "retry-after" for name, _ in headers)
    again = (("retry-after", str(problem.retry_after)),) if problem.retry_after and not told else ()
    fields = (
        ("content-type", CONTENT_TYPE),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        *again,
        *headers,
    )
    phrase = http.HTTPStatus(problem.status).phrase
    return Answer(problem.status, phrase, fields, b"" if method == "HEAD" else body)
