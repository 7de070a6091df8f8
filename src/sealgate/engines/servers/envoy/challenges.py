"""Answers to an ACME authority's questions, in Envoy's words.

http-01: Envoy serves no files by name, so each answer is a route. The plain listeners' route table is a file
of its own (RDS): another one counts at once, without a change of listeners.

tls-alpn-01 (RFC 8737): a filter chain for each name, only for who offers ``acme-tls/1``. Behind it is no HTTP
but a TCP proxy that leads nowhere, and only once the handshake is done: so the connection is closed then.
Chains that were there before stay as they are, and so do their connections (`filter chain only update`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sealgate.engines.challenges import ALPN, PATH, Challenges, checked
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.facts import Json, seconds, typed
from sealgate.engines.servers.envoy.routes import answer, field, header_is
from sealgate.engines.servers.envoy.tls import proof

__all__ = ["http_answers", "proving_chains"]

_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_NOWHERE = "nowhere"
_ASKED = header_is(":method", "GET|HEAD")


def http_answers(challenges: Challenges) -> list[Json]:
    """The routes that stand before all others on plain HTTP, whatever the Host."""
    refused: list[Json] = [
        _below({**answer(405), "response_headers_to_add": [field("allow", "GET, HEAD")]}, _not(_ASKED)),
        _below(answer(404)),
    ]
    return [*(_answered(token, text) for token, text in checked(challenges).http), *refused]


def _below(target: Json, *headers: Json) -> Json:
    return {"match": {"prefix": PATH, "headers": list(headers)}, **target}


def _not(matcher: Json) -> Json:
    return {**matcher, "invert_match": True}


def _answered(token: str, text: str) -> Json:
    # `path` alone would take a query too.
    exactly = header_is(":path", re.escape(PATH + token))
    return {
        "match": {"path": PATH + token, "headers": [exactly, _ASKED]},
        "direct_response": {"status": 200, "body": {"inline_string": text}},
        "response_headers_to_add": [
            field("content-type", "application/octet-stream"),
            field("cache-control", "no-store"),
        ],
    }


def proving_chains(facts: RenderFacts, seen: Mapping[str, str]) -> list[Json]:
    """Filter chains of the HTTPS listeners, beside the one that serves.

    Args:
        facts: the site.
        seen: of each name, what tells one certificate in the same file from the next: Envoy reads the file
            anew only for a chain that is another.
    """
    handshake = seconds(facts.policy.timeouts.handshake)
    return [
        {
            "name": f"{ALPN} {one.name} {seen.get(one.name, '')}",
            "filter_chain_match": {"application_protocols": [ALPN], "server_names": [one.name]},
            "transport_socket_connect_timeout": handshake,
            "transport_socket": {
                "name": "tls",
                "typed_config": proof(facts, alpn=ALPN, chain=one.chain, key=one.key),
            },
            "filters": [{"name": "closed", "typed_config": _closed()}],
        }
        for one in checked(facts.challenges).tls_alpn
    ]


def _closed() -> Json:
    """No filter at all would close before the handshake."""
    return typed(
        _PROXY,
        stat_prefix="acme",
        cluster=_NOWHERE,
        upstream_connect_mode="ON_DOWNSTREAM_TLS_HANDSHAKE",
        max_early_data_bytes=0,
    )
