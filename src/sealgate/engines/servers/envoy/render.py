"""All of Envoy's files from a policy: a pure function. JSON only; key material only by path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

from sealgate.engines.counts import BOUNDS
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.addresses import asked_of_all
from sealgate.engines.servers.envoy.challenges import http_answers
from sealgate.engines.servers.envoy.clusters import clusters, endpoints
from sealgate.engines.servers.envoy.counters import LATENCY
from sealgate.engines.servers.envoy.facts import FOLDER, Json, typed
from sealgate.engines.servers.envoy.listeners import PLAIN_ROUTES, listeners
from sealgate.engines.servers.envoy.overload import overload_manager
from sealgate.engines.servers.envoy.published import list_routes
from sealgate.engines.servers.envoy.routes import plain_routes
from sealgate.engines.servers.envoy.tls import secrets

__all__ = ["BOOTSTRAP", "render", "render_endpoints"]

BOOTSTRAP = "bootstrap.json"
_LISTENER = "envoy.config.listener.v3.Listener"
_CLUSTER = "envoy.config.cluster.v3.Cluster"
_ROUTES = "envoy.config.route.v3.RouteConfiguration"
# Off by default in Envoy 1.40: without it, bytes between a chunk's data and its CRLF are skipped, which
# RFC 9112 §7.1 does not allow, and another proxy in front would see other requests than Envoy does.
_STRICTER: Json = {"envoy.reloadable_features.strict_chunk_parsing": True}
# Who sends requests and resets them in one packet: after 20 such the worker's HTTP/2 ends the whole
# connection, and the requests of all other clients on it. With one request of a connection in each turn of
# the event loop, the others are reset before they are passed on.
_IN_TURN: Json = {"http.max_requests_per_io_cycle": 1}
# The canonical path's pattern is our own and of a known size; Envoy's default bound is 100 instructions.
_PATTERNS: Json = {"re2.max_program_size.error_level": 20_000, "re2.max_program_size.warn_level": 20_000}

# What the keeper looks at, and what a person at night may ask for; each other counter costs on every request.
_STATS: list[Json] = [
    *(
        {"prefix": f"{name}."}
        for name in ("listener_manager", "cluster_manager", "runtime", "overload", "server")
    ),
    {"prefix": "http.http.rds."},
    {"safe_regex": {"regex": r"http\..*\.downstream_(?:rq|cx)_(?:total|active|[1-5]xx)"}},
    {"safe_regex": {"regex": LATENCY}},
    {"safe_regex": {"regex": r"listener\..*\.(?:ssl\..*|downstream_cx_.*|downstream_global_cx_overflow)"}},
]


def render(facts: RenderFacts, seen: Mapping[str, str] = MappingProxyType({})) -> dict[str, bytes]:
    """File name (in `engines/envoy/`) to content; for `seen` see `challenges.py`."""
    files: dict[str, Json] = {
        BOOTSTRAP: _bootstrap(facts),
        "lds.json": {"resources": [typed(_LISTENER, **listener) for listener in listeners(facts, seen)]},
        "cds.json": {"resources": [typed(_CLUSTER, **cluster) for cluster in clusters(facts)]},
        "rtds.json": {"resources": [_limits(facts)]},
        **endpoints(facts),
        **secrets(facts),
    }
    if facts.policy.listen.http:
        first = [*http_answers(facts.challenges), *list_routes(facts)]
        routes = plain_routes(facts, asked_of_all(facts, first))
        files[PLAIN_ROUTES] = {"resources": [typed(_ROUTES, **routes)]}
    return {name: _encode(content) for name, content in files.items()}


def _limits(facts: RenderFacts) -> Json:
    """The bound on open connections, as a runtime value: the overload manager reads it at the start only."""
    layer = {"overload.global_downstream_max_connections": facts.policy.limits.connections}
    return typed("envoy.service.runtime.v3.Runtime", name="limits", layer=layer)


def render_endpoints(facts: RenderFacts) -> dict[str, bytes]:
    """Only the EDS files: what changes when workers come and go."""
    return {name: _encode(content) for name, content in endpoints(facts).items()}


def _encode(content: Json) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _bootstrap(facts: RenderFacts) -> Json:
    def source(name: str) -> Json:
        return {"resource_api_version": "V3", "path_config_source": {"path": f"{FOLDER}/{name}.json"}}

    layers: list[Json] = [
        {"name": "sealgate", "static_layer": {**_STRICTER, **_IN_TURN, **_PATTERNS}},
        {"name": "limits", "rtds_layer": {"name": "limits", "rtds_config": source("rtds")}},
    ]
    return {
        "node": {"id": "sealgate", "cluster": "sealgate"},
        "admin": {
            "address": {"pipe": {"path": facts.admin, "mode": 0o600}},
            # No target is "-": without a key nobody is let in.
            "allow_paths": [{"suffix": f"key={facts.admin_key}"} if facts.admin_key else {"exact": "-"}],
            # Or a full house would lock the keeper out too.
            "ignore_global_conn_limit": True,
        },
        "dynamic_resources": {"lds_config": source("lds"), "cds_config": source("cds")},
        "layered_runtime": {"layers": layers},
        "overload_manager": overload_manager(facts.memory),
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": _STATS}},
            "histogram_bucket_settings": [
                {
                    "match": {"safe_regex": {"regex": LATENCY}},
                    "buckets": [bound * 1000 for bound in BOUNDS],
                }
            ],
        },
    }
