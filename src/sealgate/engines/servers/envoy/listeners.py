"""Listeners: HTTPS over TCP, HTTP/3 over QUIC, plain HTTP; each with its limits and timeouts."""

from __future__ import annotations

from collections.abc import Mapping

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.access_log import access_log, exposed_filter
from sealgate.engines.servers.envoy.addresses import address_filters
from sealgate.engines.servers.envoy.asking import asking
from sealgate.engines.servers.envoy.challenges import proving_chains
from sealgate.engines.servers.envoy.facts import FOLDER, Json, seconds, typed
from sealgate.engines.servers.envoy.published import list_filters, unranged
from sealgate.engines.servers.envoy.replies import local_replies
from sealgate.engines.servers.envoy.routes import BODY_SIZE, WHOLE_BODIES, https_routes
from sealgate.engines.servers.envoy.spoofing import removals
from sealgate.engines.servers.envoy.tls import downstream
from sealgate.policy.model import Endpoint, is_address

__all__ = ["PLAIN_ROUTES", "listeners"]

PLAIN_ROUTES = "rds.json"
"""File of the plain listeners' route table."""

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_BUFFER = 64 * 1024
_STREAMS = 100
_HEADER_FIELDS = 100
_PLAIN_ROUTES: Json = {
    "route_config_name": "http",
    "config_source": {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{FOLDER}/{PLAIN_ROUTES}"},
    },
}


def listeners(facts: RenderFacts, seen: Mapping[str, str]) -> list[Json]:
    """All listeners of the site; for `seen` see `proving_chains`."""
    listen = facts.policy.listen
    proving = proving_chains(facts, seen)
    found = [_https(facts, endpoint, proving) for endpoint in listen.https]
    if listen.http3:
        found += [_http3(facts, endpoint) for endpoint in listen.https]
    return [*found, *(_plain(facts, endpoint) for endpoint in listen.http)]


def _address(endpoint: Endpoint, protocol: str = "TCP") -> Json:
    return {"socket_address": {"protocol": protocol, "address": endpoint.host, "port_value": endpoint.port}}


def _listener(facts: RenderFacts, name: str, endpoint: Endpoint, chain: Json, filters: list[Json]) -> Json:
    if facts.policy.listen.proxy_protocol:
        message = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
        filters = [{"name": "proxy_protocol", "typed_config": typed(message)}, *filters]
    handshake = seconds(facts.policy.timeouts.handshake)
    return {
        "name": f"{name}-{endpoint}",
        "stat_prefix": name,
        "address": _address(endpoint),
        "listener_filters": filters,
        "listener_filters_timeout": handshake,
        "per_connection_buffer_limit_bytes": _BUFFER,
        "tcp_backlog_size": 4096,
        "filter_chains": [{"name": name, "transport_socket_connect_timeout": handshake, **chain}],
    }


def _https(facts: RenderFacts, endpoint: Endpoint, proving: list[Json]) -> Json:
    message = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    inspector: Json = {"name": "tls_inspector", "typed_config": typed(message)}
    chain: Json = {
        "transport_socket": {"name": "tls", "typed_config": downstream(facts, alpn=("h2", "http/1.1"))},
        "filters": [_hcm(facts, tls=True)],
    }
    listener = _listener(facts, "https", endpoint, chain, [inspector])
    chains = listener["filter_chains"]
    return {**listener, "filter_chains": [*chains, *_named(facts, chains[0]), *proving]}


def _named(facts: RenderFacts, chain: Json) -> list[Json]:
    """The serving chain once more, under the site's names, where others may stand beside it for a while.

    Envoy looks at names first and does not go back: without it, a name that is being proven by tls-alpn-01
    would be there for nobody else. It is there always, so that it comes and goes with no connection.
    """
    certificate = facts.policy.certificate
    if certificate.source != "acme" or certificate.acme.challenge != "tls-alpn-01":
        return []
    names = [name for name in facts.policy.site.names if not is_address(name)]
    return [{**chain, "name": "https-named", "filter_chain_match": {"server_names": names}}] if names else []


def _plain(facts: RenderFacts, endpoint: Endpoint) -> Json:
    # As with every other engine: HTTP/2 without TLS is nobody's need, and would be one more way in.
    return _listener(facts, "http", endpoint, {"filters": [_hcm(facts, tls=False, codec="HTTP1")]}, [])


def _http3(facts: RenderFacts, endpoint: Endpoint) -> Json:
    context = downstream(facts, alpn=("h3",))
    message = "envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport"
    # Early data can be replayed (RFC 9846 §8): never.
    quic = typed(message, downstream_tls_context=_without_type(context), enable_early_data=False)
    return {
        "name": f"http3-{endpoint}",
        "stat_prefix": "http3",
        "address": _address(endpoint, "UDP"),
        "udp_listener_config": {"quic_options": {}, "downstream_socket_config": {"prefer_gro": True}},
        "filter_chains": [
            {
                "name": "http3",
                "transport_socket": {"name": "quic", "typed_config": quic},
                "filters": [_hcm(facts, tls=True, codec="HTTP3")],
            }
        ],
    }


def _without_type(message: Json) -> Json:
    return {key: value for key, value in message.items() if key != "@type"}


def _hcm(facts: RenderFacts, *, tls: bool, codec: str = "AUTO") -> Json:
    manager: Json = {
        "stat_prefix": "https" if tls else "http",
        "codec_type": codec,
        **_identity(facts, tls=tls),
        **_limits(facts),
        "server_header_transformation": "PASS_THROUGH",
        # HTTP/2 clients name a scheme; what counts is how they came.
        "scheme_header_transformation": {"scheme_to_overwrite": "https" if tls else "http"},
        # Both the guard and the app must see the path as it came; what is odd is refused, not mended.
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "http_protocol_options": {"accept_http_10": False},
        "local_reply_config": local_replies(facts, tls=tls),
        "access_log": access_log(tls=tls, exposed=not tls and bool(facts.policy.credential_fields)),
        **({"route_config": https_routes(facts)} if tls else {"rds": _PLAIN_ROUTES}),
        "http_filters": _filters(facts, tls=tls),
    }
    if codec == "HTTP3":
        manager["http3_protocol_options"] = {}
    return {"name": "http", "typed_config": typed(_HCM, **manager)}


def _identity(facts: RenderFacts, *, tls: bool) -> Json:
    message = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    more = [] if tls else unranged(facts)
    mutations = typed(message, mutations=[*removals(guarded=facts.guarded and tls), *more])
    return {
        # The client is the peer of the connection; no field of a request can say otherwise.
        "use_remote_address": True,
        "skip_xff_append": True,
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "forward_client_cert_details": "SANITIZE",
        "generate_request_id": True,
        "early_header_mutation_extensions": [{"name": "spoofed", "typed_config": mutations}],
    }


def _limits(facts: RenderFacts) -> Json:
    timeouts = facts.policy.timeouts
    idle = seconds(timeouts.idle)
    return {
        "max_request_headers_kb": max(1, facts.policy.limits.headers // 1024),
        "request_headers_timeout": seconds(timeouts.headers),
        "request_timeout": seconds(timeouts.request),
        "stream_idle_timeout": idle,
        # Between the two GOAWAYs of a connection that shall end, idle ones too: on top of their timeout.
        "drain_timeout": seconds(min(1.0, timeouts.drain)),
        "delayed_close_timeout": "1s",
        "common_http_protocol_options": {
            "idle_timeout": idle,
            "max_headers_count": _HEADER_FIELDS,
            # `X_Forwarded_For` and `X-Forwarded-For` are one name to WSGI.
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": _STREAMS,
            "initial_stream_window_size": 4 * _BUFFER,
            "initial_connection_window_size": 16 * _BUFFER,
            "allow_connect": facts.backend != "wsgi",
        },
    }


def _filters(facts: RenderFacts, *, tls: bool) -> list[Json]:
    router = typed("envoy.extensions.filters.http.router.v3.Router", suppress_envoy_headers=True)
    last: Json = {"name": "router", "typed_config": router}
    first = address_filters(facts, tls=tls)
    if not tls:  # everything is answered at once, bodies are never read
        return [*exposed_filter(facts), *first, *list_filters(facts), last]
    # Envoy takes no 0: a limit of none at all lets one byte through to the guard, which refuses it.
    limit = max(1, facts.policy.limits.body)
    size = typed("envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit", max_request_bytes=limit)
    found: list[Json] = [*first, {"name": BODY_SIZE, "typed_config": size}]
    if facts.backend == "wsgi":
        found.append(_whole_bodies(facts))
    return [*found, *asking(facts), last]


def _whole_bodies(facts: RenderFacts) -> Json:
    """A WSGI worker gets a request when all of it is here, with its length: no thread waits for a sender."""
    size = max(1, facts.policy.limits.body)
    config = typed("envoy.extensions.filters.http.buffer.v3.Buffer", max_request_bytes=size)
    return {"name": WHOLE_BODIES, "typed_config": config}
