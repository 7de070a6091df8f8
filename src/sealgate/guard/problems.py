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


def answer(problem: ProblemType, *, method: str, request_id: str = "") -> Answer:
    """The answer for a problem.

    HEAD gets the same fields without a body (RFC 9110 §9.3.2). ``no-store``: a refusal of today must not be
    replayed by a cache tomorrow. ``instance`` names the occurrence, so that a caller can quote it.
    """
    members: dict[str, str | int] = problem.as_dict()
    if _REQUEST_ID.fullmatch(request_id):
        members["instance"] = f"urn:uuid:{request_id}"
    body = json.dumps(members).encode("ascii") + b"\n"
    again = (("retry-after", str(problem.retry_after)),) if problem.retry_after else ()
    headers = (
        ("content-type", CONTENT_TYPE),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        *again,
    )
    phrase = http.HTTPStatus(problem.status).phrase
    return Answer(problem.status, phrase, headers, b"" if method == "HEAD" else body)
