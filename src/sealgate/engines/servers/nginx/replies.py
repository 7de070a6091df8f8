"""What nginx answers itself: RFC 9457 problem details with a stable type, and HSTS on every status.

The pages are locations that only nginx itself can come to; a request from outside for such a path is the
app's, like any other.
"""

from __future__ import annotations

import json

from sealgate.engines.servers.nginx.words import block, quoted
from sealgate.policy.problems import CONTENT_TYPE, PROBLEMS

__all__ = ["CLEAR", "HSTS", "ODD_PATH", "STRANGE", "error_pages", "problem_location", "problem_locations"]

ODD_PATH = 440
"""A status that nobody uses, for a path that is not canonical."""

STRANGE = 441
"""Likewise, for an address that may not come in."""

CLEAR = 442
"""Likewise, for credentials over plain HTTP."""

HSTS = "add_header Strict-Transport-Security $sealgate_hsts always;"
_PLACE = "/.sealgate-problem/"
# Kind of problem to the statuses that nginx gives such a request; 494 to 497 are its own.
_SECURE: dict[str, tuple[int, ...]] = {
    "bad-request": (400, 405, 411, 415, 497, 501),
    "client-certificate-refused": (495, 496),
    "path-not-canonical": (ODD_PATH,),
    "upgrade-refused": (403,),
    "request-timeout": (408,),
    "body-too-large": (413,),
    "unknown-host": (421,),
    "http-version-unsupported": (426, 505),
    "headers-too-large": (414, 431, 494),
    "internal-error": (500,),
    "app-unavailable": (502, 503),
    "app-timeout": (504,),
}
_PLAIN = {**_SECURE, "upgrade-refused": (), "client-certificate-refused": (), "plain-http-refused": (403,)}


def _kinds(*, tls: bool, strangers: bool, clear: bool) -> dict[str, tuple[int, ...]]:
    kinds = {slug: statuses for slug, statuses in (_SECURE if tls else _PLAIN).items() if statuses}
    kinds |= {"address-refused": (STRANGE,)} if strangers else {}
    return kinds | ({"credentials-in-the-clear": (CLEAR,)} if clear else {})


def error_pages(*, tls: bool, strangers: bool = False, clear: bool = False) -> list[str]:
    """Which page answers for which status.

    Args:
        tls: of the HTTPS listeners.
        strangers: some addresses may not come in.
        clear: credentials are looked for, where they could be read on the way.
    """
    return [
        f"error_page {' '.join(map(str, statuses))} ={PROBLEMS[slug].status} {_PLACE}{slug};"
        for slug, statuses in _kinds(tls=tls, strangers=strangers, clear=clear).items()
    ]


def problem_locations(*, tls: bool, strangers: bool = False, clear: bool = False) -> list[str]:
    """The pages."""
    kinds = _kinds(tls=tls, strangers=strangers, clear=clear)
    return [line for slug in kinds for line in _page(slug, tls=tls)]


def problem_location(slug: str) -> tuple[str, list[str]]:
    """Path and location of a page for plain HTTP alone."""
    return f"{_PLACE}{slug}", _page(slug, tls=False)


def _page(slug: str, *, tls: bool) -> list[str]:
    problem = PROBLEMS[slug]
    body = json.dumps(problem.as_dict())
    lines = ["internal;", f"default_type {CONTENT_TYPE};", *([HSTS] if tls else [])]
    # A length announced over HTTP/2 is compared again at each internal redirect: without end, then 500.
    lines.append("client_max_body_size 0;")
    lines.append("add_header Cache-Control no-store always;")
    if problem.status == 503:
        lines.append("add_header Retry-After 1 always;")
    if problem.status == 405:
        lines.append('add_header Allow "GET, HEAD" always;')
    return block(f"location = {_PLACE}{slug}", [*lines, f"return {problem.status} {quoted(body)};"])
