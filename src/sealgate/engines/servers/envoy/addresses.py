"""Who may come in, by address: Envoy's RBAC filter over a trie of networks, the first HTTP filter of all.

Why HTTP and not the connection: a filter chain that takes only some addresses, or a network filter, would end
the connection without a word. Who is shut out by mistake would see what a broken server shows, and Sealgate
itself, whose own address may be shut out, could no longer see what certificate is served. So the handshake
is done, and the answer is 403 `address-refused`. It is asked for each request. The address is the
connection's, or what the PROXY protocol says.

RBAC leaves no trace in a local reply by which one 403 could be told from another (Envoy refuses upgrades
before any filter): so a mark is set just before it.
"""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.envoy.facts import Json, typed
from sealgate.policy.network import MAPPED, Decided

__all__ = ["address_filters", "asked_of_all", "refused_by_address"]

_ADDRESS = "address"
_MARK = "sealgate.address"
_EVERY_FOUR = "0.0.0.0/0"


def address_filters(facts: RenderFacts, *, tls: bool) -> list[Json]:
    """The first HTTP filters of a listener."""
    if not facts.policy.judges_addresses(tls=tls):
        return []
    mark = {"metadata_namespace": _MARK, "value": {"judged": "yes"}}
    marking = typed("envoy.extensions.filters.http.set_metadata.v3.Config", metadata=[mark])
    decided = facts.policy.network.decided()
    judging = typed(
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        matcher=_matcher(decided, mapped=facts.policy.listen.proxy_protocol),
    )
    return [
        {"name": "address_mark", "typed_config": marking},
        {"name": _ADDRESS, "typed_config": judging},
    ]


def asked_of_all(facts: RenderFacts, routes: list[Json]) -> list[Json]:
    """The same routes of the plain listener, for every address."""
    if not facts.policy.judges_addresses(tls=False):
        return routes
    unasked = {_ADDRESS: typed("envoy.config.route.v3.FilterConfig", disabled=True)}
    key = "typed_per_filter_config"
    return [{**route, key: {**route.get(key, {}), **unasked}} for route in routes]


def refused_by_address() -> Json:
    """A filter of local replies: whatever refused came from :func:`address_filters`, or later."""
    matcher = {
        "filter": _MARK,
        "path": [{"key": "judged"}],
        "value": {"string_match": {"exact": "yes"}},
    }
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _matcher(decided: Decided, *, mapped: bool) -> Json:
    """By the longest prefix. Only a balancer's word can be an IPv4 address in IPv6 clothes."""
    allow, deny = list(decided.allow), list(decided.deny)
    if mapped:
        allow += [_dressed(network) for network in decided.allow if ":" not in network]
        deny += [_dressed(network) for network in decided.deny if ":" not in network]
        if _EVERY_FOUR not in {*decided.allow, *decided.deny}:
            (allow if decided.default else deny).append(MAPPED)
    lists = ((allow, "ALLOW"), (deny, "DENY"))
    source = "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput"
    found = [
        {"ranges": [_range(network) for network in networks], "on_match": _action(action)}
        for networks, action in lists
        if networks
    ]
    trie = typed("xds.type.matcher.v3.IPMatcher", range_matchers=found)
    return {
        "matcher_tree": {
            "input": {"name": "source", "typed_config": typed(source)},
            "custom_match": {"name": "networks", "typed_config": trie},
        },
        "on_no_match": _action("ALLOW" if decided.default else "DENY"),
    }


def _action(action: str) -> Json:
    config = typed("envoy.config.rbac.v3.Action", name=action.lower(), action=action)
    return {"action": {"name": action.lower(), "typed_config": config}}


def _range(network: str) -> Json:
    prefix, _, length = network.partition("/")
    return {"address_prefix": prefix, "prefix_len": int(length)}


def _dressed(network: str) -> str:
    prefix, _, length = network.partition("/")
    return f"::ffff:{prefix}/{96 + int(length)}"
