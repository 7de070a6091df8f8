"""Where nginx sends requests, as ``site.upstream``; sizes and times."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import TypeAdapter, ValidationError

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.proposals._nginx_site import Site
from sealgate.engines.proposals._nginx_time import SECOND, milliseconds, written
from sealgate.engines.proposals._nginx_words import ELSE, WHY
from sealgate.engines.proposals.proposal import Carried, Changed, Finding, Left, Shorter
from sealgate.policy.values import Upstream

__all__ = ["limits", "location_of", "timeouts", "upstream"]

_UPSTREAM: TypeAdapter[str] = TypeAdapter(Upstream)
_SIZE = re.compile(r"(\d{1,15})([kmg]?)", re.IGNORECASE | re.ASCII)
_SIZES = {"": "", "k": "KiB", "m": "MiB", "g": "GiB"}
_LEAST_HEADERS, _MOST_HEADERS = 1024, 96 * 1024


def location_of(server: Directive) -> Directive | None:
    """The location that passes requests on: ``/``, else a named one, else the first that does."""
    found = [one for one in server.own("location") if one.own("proxy_pass")]

    def rank(location: Directive) -> tuple[bool, bool]:
        last = location.args[-1] if location.args else ""
        return last == "/" and location.value not in {"~", "~*"}, last.startswith("@")

    return max(found, key=rank, default=None)


def upstream(site: Site, location: Directive | None) -> Iterator[Finding]:
    """``proxy_pass`` as ``site.upstream``."""
    if location is None:
        yield _nothing_behind(site)
        return
    passed = location.own("proxy_pass")[0]
    match = re.fullmatch(r"(https?)://(unix:[^:]+|[^/]+)(?::(?=/)|)(/.*)?", passed.value, re.IGNORECASE)
    if not match or "$" in passed.value or "\\" in passed.value:
        yield Left(passed, "where it leads is known only while nginx runs; set site.upstream by hand")
        return
    scheme, target, path = match[1].lower(), match[2], match[3]
    group = next((one for one in site.http.own("upstream") if one.value == target), None)
    servers = group.own("server") if group else ()
    for more in servers[1:]:
        yield Left(more, "a policy has one upstream; the group's first server is taken")
    if servers:
        target = servers[0].value
    url = target.removesuffix(":") if target.startswith("unix:") else f"{scheme}://{target}"
    try:
        yield Carried(("site", "upstream"), _UPSTREAM.validate_python(url), passed)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        yield Left(passed, f"{said}; set site.upstream by hand")
        return
    where = location.value if len(location.args) == 1 else ""
    if path and path != where:
        example = f" ({where}x as {where}x, not as {path}x)" if where.startswith("/") else ""
        said = f"its path {path} is left out: the app gets every path as the client sent it{example}"
        yield Changed(passed, said)


def _nothing_behind(site: Site) -> Left:
    """Who answers where no location passes requests on to HTTP."""
    for one in site.server.walk():
        if one.name in {"fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass"}:
            return Left(one, WHY.get(one.name, ELSE))
    why = "answers by itself (files, return): nothing stands behind it; set site.app or site.upstream by hand"
    return Left(site.server, why)


def limits(site: Site, location: Directive | None) -> Iterator[Finding]:
    """Sizes of bodies and headers."""
    body = (location.last("client_max_body_size") if location else None) or site.effective(
        "client_max_body_size"
    )
    if body is not None:
        match = _SIZE.fullmatch(body.value)
        if not match:
            yield Left(body, "no size that limits.body can have; the default of 1 MiB stays")
        elif int(match[1]) == 0:
            said = "a body has no limit there, and 1 MiB at most now, by limits.body"
            yield Shorter(body, f"client_max_body_size {body.value}: {said}")
        else:
            yield Carried(("limits", "body"), match[1] + (_SIZES[match[2].lower()] or "B"), body)
    headers = site.effective("large_client_header_buffers")
    if headers is not None and len(headers.args) > 1:
        count, each = re.fullmatch(r"\d{1,6}", headers.args[0], re.ASCII), _SIZE.fullmatch(headers.args[1])
        if count and each and each[2].lower() in {"", "k"}:
            size = int(count[0]) * int(each[1]) * (1024 if each[2] else 1)
            fitting = min(max(size // 1024 * 1024, _LEAST_HEADERS), _MOST_HEADERS)
            yield Carried(("limits", "headers"), f"{fitting // 1024}KiB", headers)
            if fitting != size:
                yield Changed(headers, f"{fitting // 1024} KiB for all header fields together")


def timeouts(site: Site, location: Directive | None) -> Iterator[Finding]:
    """How long slow peers are waited for."""
    found: dict[str, int] = {}
    for name, key in (
        ("client_header_timeout", "headers"),
        ("proxy_read_timeout", "request"),
        ("keepalive_timeout", "idle"),
    ):
        directive = (location.last(name) if location else None) or site.effective(name)
        if directive is None:
            continue
        total = milliseconds(directive.value)
        if total is None:
            yield Left(directive, f"no time that timeouts.{key} can have; the default stays")
            continue
        if key == "headers" and total > found.get("request", 30 * SECOND):
            yield from _longer(found, total, directive)
        found[key] = total
        yield Carried(("timeouts", key), written(total), directive)
        if key == "request":
            yield from _not_shorter(found, directive)
    if body := site.effective("client_body_timeout"):
        yield Changed(body, "timeouts.request bounds the whole request, timeouts.idle each pause in it")


def _longer(found: dict[str, int], headers: int, source: Directive) -> Iterator[Finding]:
    """``timeouts.request`` includes the headers: it cannot be shorter. Its own directive comes later."""
    found["request"] = headers
    yield Carried(("timeouts", "request"), written(headers), source)


def _not_shorter(found: dict[str, int], source: Directive) -> Iterator[Finding]:
    if found["request"] < found.get("headers", 10 * SECOND):
        shortest = max(found["request"], 10)
        yield Carried(("timeouts", "headers"), written(shortest), source)
        yield Changed(source, "a request includes its headers: timeouts.headers is no longer than this")
