"""What Envoy answers itself: RFC 9457 problem details with a stable type, and HSTS on every status."""

from __future__ import annotations

import re

from sealgate.engines.challenges import PATH
from sealgate.engines.facts import RenderFacts
from sealgate.engines.published import FOLDER, UNKNOWN
from sealgate.engines.servers.envoy.addresses import refused_by_address
from sealgate.engines.servers.envoy.asking import UNASKED
from sealgate.engines.servers.envoy.facts import Json
from sealgate.engines.servers.envoy.hosts import LOOPBACK
from sealgate.engines.servers.envoy.routes import field, header_is, shows
from sealgate.policy.path import CANONICAL_PATH_RE2
from sealgate.policy.problems import PROBLEMS
from sealgate.policy.published import publishes

__all__ = ["local_replies"]

_SECURE = {
    400: "bad-request",
    403: "upgrade-refused",
    404: "bad-request",
    408: "request-timeout",
    413: "body-too-large",
    421: "unknown-host",
    426: "http-version-unsupported",
    431: "headers-too-large",
    500: "internal-error",
    501: "bad-request",
    502: "app-unavailable",
    503: "app-unavailable",
    504: "app-timeout",
}
# 404 is for what is no path at all; below the path of challenges it has a word of its own.
_PLAIN = {**_SECURE, 403: "plain-http-refused", 405: "method-not-allowed"}
_DENIED: Json = {"response_flag_filter": {"flags": ["UAEX"]}}
_CHALLENGE = re.escape(PATH) + ".*"


def local_replies(facts: RenderFacts, *, tls: bool) -> Json:
    """A LocalReplyConfig. The first mapper that fits answers."""
    always: list[Json] = [{"filter": _not_status(0), "fields": []}] if not tls else _hsts(facts)
    mappers: list[Json] = []
    for entry in always:
        condition, fields = entry["filter"], entry["fields"]
        if tls:
            # No path at all: what came was no request that could be read.
            fine = f"(?:{CANONICAL_PATH_RE2})?"
            odd = {"header_filter": {"header": header_is(":path", fine, invert=True)}}
            mappers.append(_mapper(400, "path-not-canonical", fields, condition, odd))
        else:
            asked = {"header_filter": {"header": header_is(":path", _CHALLENGE)}}
            mappers.append(_mapper(404, "challenge-unknown", fields, condition, asked))
            mappers += _lists(facts, fields, condition)
        if tls and facts.asks_guard:
            mappers.append(_mapper(UNASKED, "app-unavailable", fields, condition))
            # The guard's own words go to the caller as they are.
            mappers.append({"filter": _both(condition, _DENIED), "headers_to_add": fields})
        if facts.policy.judges_addresses(tls=tls):
            mappers.append(_mapper(403, "address-refused", fields, condition, refused_by_address()))
        for name in () if tls else facts.policy.credential_fields:
            shown = {"header_filter": {"header": shows(name)}}
            mappers.append(_mapper(403, "credentials-in-the-clear", fields, condition, shown))
        mappers += [
            _mapper(status, slug, fields, condition) for status, slug in (_SECURE if tls else _PLAIN).items()
        ]
        if tls:
            mappers.append({"filter": condition, "headers_to_add": fields})
    return {"mappers": mappers}


def _lists(facts: RenderFacts, fields: list[object], condition: object) -> list[Json]:
    """Below the path of the list; 403 is a file that is none, or that may not be read."""
    if not publishes(facts.policy):
        return []
    asked = {"header_filter": {"header": header_is(":path", re.escape(FOLDER) + ".*")}}
    return [_mapper(status, UNKNOWN, fields, condition, asked) for status in (404, 403)]


def _hsts(facts: RenderFacts) -> list[Json]:
    name = "strict-transport-security"
    everywhere: Json = {"filter": _not_status(0), "fields": [field(name, facts.hsts)]}
    if not facts.hsts_local:
        return [everywhere]
    local = {"header_filter": {"header": header_is(":authority", LOOPBACK)}}
    return [{"filter": local, "fields": [field(name, facts.hsts_local)]}, everywhere]


def _status(operation: str, value: int) -> Json:
    comparison = {"op": operation, "value": {"default_value": value, "runtime_key": "sealgate.unset"}}
    return {"status_code_filter": {"comparison": comparison}}


def _both(*conditions: object) -> Json:
    return {"and_filter": {"filters": list(conditions)}}


def _not_status(value: int) -> Json:
    return _status("GE", value)


def _mapper(status: int, slug: str, fields: list[object], *conditions: object) -> Json:
    problem = PROBLEMS[slug]
    body = {"type": problem.type, "title": problem.title, "status": problem.status, "detail": problem.detail}
    added = [*fields, field("cache-control", "no-store")]
    if problem.status == 503:
        added.append(field("retry-after", "1"))
    return {
        "filter": {"and_filter": {"filters": [_status("EQ", status), *conditions]}},
        "status_code": problem.status,
        "body_format_override": {"json_format": body, "content_type": "application/problem+json"},
        "headers_to_add": added,
    }
