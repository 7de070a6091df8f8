"""Routes: what is served, redirected, refused; with which response fields."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.clusters import APP, APP_UPGRADES
from sealgate.engines.servers.envoy.facts import Json, seconds, typed
from sealgate.engines.servers.envoy.hosts import LOOPBACK, WELL_FORMED_HOST, host_pattern, site_hosts
from sealgate.policy.path import CANONICAL_PATH_RE2, CARRIED_PATH_RE2

__all__ = [
    "BODY_SIZE",
    "WHOLE_BODIES",
    "answer",
    "field",
    "header_is",
    "https_routes",
    "plain_routes",
    "shows",
]

BODY_SIZE = "body_size_limit"
"""Name of the filter that counts request bodies."""

WHOLE_BODIES = "whole_bodies"
"""Name of the filter that holds a WSGI request until all of it is here."""

_HSTS = "strict-transport-security"
_HOP_KEY = "c2VhbGdhdGUtc2VhbGdhdA=="  # 16 bytes (RFC 6455 §4.1); it proves nothing and protects nothing


def header_is(name: str, pattern: str, *, invert: bool = False) -> Json:
    """A HeaderMatcher: the whole value matches the pattern."""
    return {
        "name": name,
        "string_match": {"safe_regex": {"regex": pattern}},
        "treat_missing_header_as_empty": True,
        "invert_match": invert,
    }


def field(key: str, value: str) -> Json:
    """A response (or request) field that replaces what is there."""
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def shows(name: str) -> Json:
    """A HeaderMatcher: the field is there."""
    return {"name": name, "present_match": True}


def _route(target: Json, *headers: Json, response: tuple[Json, ...] = ()) -> Json:
    return {
        "match": {"prefix": "/", "headers": list(headers)},
        **target,
        "response_headers_to_add": list(response),
    }


def _action(facts: RenderFacts, cluster: str, *, upgrades: bool) -> Json:
    idle = seconds(facts.policy.timeouts.idle)
    action: Json = {
        "cluster": cluster,
        # Streams may be long; what ends them is silence (idle), not their length.
        "timeout": "0s",
        "idle_timeout": idle,
        "retry_policy": {
            # Only where the worker has seen nothing of the request: safe for every method (RFC 9110 §9.2.2).
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 2,
            # From the end of the request to the beginning of the answer; a stream that has begun may go on.
            "per_try_timeout": seconds(facts.policy.timeouts.request),
        },
    }
    if upgrades:
        action["upgrade_configs"] = [{"upgrade_type": "websocket"}]
    return {"route": action}


def _backends(facts: RenderFacts) -> list[Json]:
    """Routes to the backend, for requests whose Host and path were judged already."""
    plain = _route(_action(facts, APP, upgrades=False))
    if facts.backend == "wsgi":
        return [plain]
    cluster = APP_UPGRADES if facts.backend == "asgi" else APP
    # Without a body (RFC 6455 §4.1): what follows is no body either, so its size is not counted as one's.
    bodiless = [{"name": name, "present_match": False} for name in ("content-length", "transfer-encoding")]
    asked = [header_is("upgrade", "(?i)websocket"), header_is(":method", "GET"), *bodiless]
    upgrade = _route(_action(facts, cluster, upgrades=True), *asked)
    uncounted = typed("envoy.config.route.v3.FilterConfig", disabled=True)
    upgrade["typed_per_filter_config"] = {BODY_SIZE: uncounted}
    # Over HTTP/2 there is no key (RFC 8441 §5), over the HTTP/1.1 behind it there must be one: the hop's own.
    key = {**field("sec-websocket-key", _HOP_KEY), "append_action": "ADD_IF_ABSENT"}
    return [{**upgrade, "request_headers_to_add": [key]}, plain]


def _with(routes: list[Json], *headers: Json, response: tuple[Json, ...] = ()) -> list[Json]:
    """The same routes under further conditions, with further response fields."""
    widened = []
    for route in routes:
        match = {**route["match"], "headers": [*headers, *route["match"]["headers"]]}
        added = [*response, *route["response_headers_to_add"]]
        widened.append({**route, "match": match, "response_headers_to_add": added})
    return widened


def answer(status: int) -> Json:
    """Answered here; the body comes from the local replies."""
    return {"direct_response": {"status": status}}


def https_routes(facts: RenderFacts) -> Json:
    """The route table of the HTTPS listeners.

    With an app the guard judges Host and path of every request. Another backend has none: the engine does.
    What a worker's HTTP/2 could not take in never goes there: it would end a connection that others share.
    """
    served = _backends(facts)
    if facts.guarded:
        host, path = header_is(":authority", WELL_FORMED_HOST), header_is(":path", CARRIED_PATH_RE2)
    else:
        host = header_is(":authority", site_hosts(facts.policy, plain=False))
        path = header_is(":path", CANONICAL_PATH_RE2)
    served = [*_with(served, host, path), *_with([_route(answer(400))], host), _route(answer(421))]
    if facts.hsts_local:
        local = header_is(":authority", LOOPBACK)
        short = (field(_HSTS, facts.hsts_local),)
        served = [*_with(served, local, response=short), *_with(served, response=(field(_HSTS, facts.hsts),))]
    else:
        served = _with(served, response=(field(_HSTS, facts.hsts),))
    served = [_no_tunnel(facts), *served]
    return _table("https", served, _request_fields(facts), _response_fields(facts))


def _no_tunnel(facts: RenderFacts) -> Json:
    """CONNECT is refused at once: no route with a path would match it, and its body would be waited for."""
    route: Json = {"match": {"connect_matcher": {}}, **answer(400)}
    if facts.backend == "wsgi":
        message = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
        route["typed_per_filter_config"] = {WHOLE_BODIES: typed(message, disabled=True)}
    return route


def _request_fields(facts: RenderFacts) -> list[Json]:
    if facts.guarded:
        told = [
            # Who reaches a worker's socket is not yet Envoy; who shows this is.
            field("sealgate-proof", facts.proof),
            field("sealgate-address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
            field("sealgate-path", "%REQ(:PATH)%"),
        ]
        if facts.policy.clients.mode != "off":
            # PEM, percent-encoded as a whole; no field where the client showed none.
            told.append(field("sealgate-certificate", "%DOWNSTREAM_PEER_CERT%"))
        return told
    return [
        field("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        field("x-forwarded-proto", "https"),
        field("x-forwarded-host", "%REQ(:AUTHORITY)%"),
        field("x-forwarded-port", str(facts.policy.public_port)),
    ]


def _response_fields(facts: RenderFacts) -> list[Json]:
    if not facts.policy.listen.http3:
        return []
    ports = sorted({endpoint.port for endpoint in facts.policy.listen.https})
    return [field("alt-svc", ", ".join(f'h3=":{port}"; ma=86400' for port in ports))]


def plain_routes(facts: RenderFacts, first: list[Json]) -> Json:
    """The route table of the plain HTTP listeners: a redirect to a configured name only, or a refusal.

    Args:
        facts: the site.
        first: routes before those.
    """
    policy = facts.policy
    target: Json = answer(403)
    if policy.http.mode == "redirect":
        target = {
            "redirect": {
                "https_redirect": True,
                "port_redirect": policy.public_port,
                "response_code": "PERMANENT_REDIRECT",
            }
        }
    host = header_is(":authority", site_hosts(policy, plain=True))
    exposed = [_route(answer(403), shows(name)) for name in policy.credential_fields]
    routes = [_route(target, host), _route(answer(421))]
    if policy.public_port == 443 and policy.http.mode == "redirect":
        # The usual port is left out where the client left it out too.
        bare = header_is(":authority", host_pattern(policy.site.names, (), bare=True))
        usual: Json = {"redirect": {"https_redirect": True, "response_code": "PERMANENT_REDIRECT"}}
        routes.insert(0, _route(usual, bare))
    return _table("http", [*first, *exposed, *routes], [], [])


def _table(name: str, routes: list[Json], request: list[Json], response: list[Json]) -> Json:
    return {
        "name": name,
        "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
        "request_headers_to_add": request,
        "request_headers_to_remove": ["x-envoy-external-address"],
        "response_headers_to_add": response,
        "response_headers_to_remove": ["server", "x-powered-by", "x-envoy-upstream-service-time"],
    }
