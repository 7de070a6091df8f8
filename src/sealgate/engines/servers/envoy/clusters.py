"""Where requests go: the app's workers (h2c over unix sockets, spread by EDS), or another backend."""

from __future__ import annotations

from urllib.parse import urlsplit

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.asking import GUARD
from sealgate.engines.servers.envoy.facts import FOLDER, Json, typed
from sealgate.policy.model import is_address

__all__ = ["APP", "APP_UPGRADES", "clusters", "endpoints"]

APP = "app"
APP_UPGRADES = "app-upgrades"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PARALLEL = 1_000_000
_WINDOW = 256 * 1024


def clusters(facts: RenderFacts) -> list[Json]:
    """One cluster for requests, and one over HTTP/1.1 for WebSocket upgrades where h2c is used."""
    h2: Json = {
        "max_concurrent_streams": 1024,
        "initial_stream_window_size": _WINDOW,
        # All streams share it, so it must never run out: answers that nobody reads would stop the others.
        "initial_connection_window_size": 2**31 - 1,
    }
    if facts.backend == "upstream":
        guard = [_workers(GUARD, {"http2_protocol_options": h2})] if facts.asks_guard else []
        return [_upstream(facts), *guard]
    found = [_workers(APP, {"http2_protocol_options": h2})]
    if facts.backend == "asgi":
        found.append(_workers(APP_UPGRADES, {"http_protocol_options": {}}))
    return found


def _base(name: str, **protocol: object) -> Json:
    return {
        "name": name,
        "connect_timeout": "2s",
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": _PARALLEL,
                    "max_pending_requests": _PARALLEL,
                    "max_requests": _PARALLEL,
                    "max_retries": 1024,
                }
            ]
        },
        # With every worker down the answer is 503, never a worker that is known to be gone.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {_OPTIONS: typed(_OPTIONS, **protocol)},
    }


def _workers(name: str, protocol: Json) -> Json:
    source = {"resource_api_version": "V3", "path_config_source": {"path": f"{FOLDER}/eds-{name}.json"}}
    return {
        **_base(name, explicit_http_config=protocol),
        "type": "EDS",
        "lb_policy": "LEAST_REQUEST",
        "eds_cluster_config": {"eds_config": source, "service_name": name},
    }


def endpoints(facts: RenderFacts) -> dict[str, Json]:
    """The EDS files. A draining worker keeps what it has and gets nothing new."""
    asked = [GUARD] if facts.asks_guard else []
    names = {"wsgi": [APP], "asgi": [APP, APP_UPGRADES], "upstream": asked}[facts.backend]
    return {f"eds-{name}.json": _assignment(name, facts) for name in names}


def _assignment(name: str, facts: RenderFacts) -> Json:
    hosts = [
        {
            "endpoint": {"address": {"pipe": {"path": worker.socket}}},
            "health_status": "DRAINING" if worker.draining else "HEALTHY",
        }
        for worker in facts.workers
    ]
    assignment = typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=name,
        endpoints=[{"lb_endpoints": hosts}] if hosts else [],
    )
    return {"resources": [assignment]}


def _upstream(facts: RenderFacts) -> Json:
    url = facts.policy.site.upstream
    if url.startswith("unix:"):
        return _fixed(
            _base(APP, explicit_http_config={"http_protocol_options": {}}), {"pipe": {"path": url[5:]}}
        )
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    address: Json = {"socket_address": {"address": host, "port_value": port}}
    if parts.scheme == "http":
        return _fixed(_base(APP, explicit_http_config={"http_protocol_options": {}}), address, host)
    auto: Json = {"http_protocol_options": {}, "http2_protocol_options": {}}
    return {
        **_fixed(_base(APP, auto_config=auto), address, host),
        "transport_socket": _client_tls(facts, host),
    }


def _fixed(base: Json, address: Json, host: str = "") -> Json:
    kind = "STRICT_DNS" if host and not is_address(host) else "STATIC"
    hosts = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    if kind == "STRICT_DNS":
        base = {**base, "dns_lookup_family": "ALL"}  # "localhost" has two; a backend may use one
    return {**base, "type": kind, "load_assignment": {"cluster_name": APP, "endpoints": hosts}}


def _client_tls(facts: RenderFacts, host: str) -> Json:
    """TLS to the backend: its certificate must be valid for its name, by the system's authorities."""
    kind = "IP_ADDRESS" if is_address(host) else "DNS"
    validation = {
        "trusted_ca": {"filename": facts.system_trust},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
    }
    parameters = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
    common = {"tls_params": parameters, "validation_context": validation}
    context: Json = {"common_tls_context": common}
    if kind == "DNS":
        context["sni"] = host
    message = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    return {"name": "tls", "typed_config": typed(message, **context)}
