"""Each server's own words for who may come in, read as the server reads them, say what the policy says."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.engines.contract import Capability, Enforcer, Refusal
from sealgate.engines.facts import RenderFacts
from sealgate.engines.installed.contract import included, included_ids
from sealgate.engines.registry import engine, engine_ids
from sealgate.engines.servers.apache.addresses import among
from sealgate.policy.model import Policy
from sealgate.policy.network import network_of
from sealgate.policy.profiles import load_profile
from tests.policy.test_network import ADDRESSES, NETWORKS

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Reader = Callable[[Address], bool]


def everyone(_address: Address) -> bool:
    return True


def facts(policy: Policy) -> RenderFacts:
    paths = ("live/server/site/chain.pem", "live/server/site/key.pem", "live/server/site")
    return RenderFacts(policy, load_profile(policy.tls.profile), "wsgi", *paths, proof="p" * 43)


def rendered(which: str, policy: Policy) -> dict[str, str]:
    return {name: content.decode() for name, content in engine(which).render(facts(policy)).items()}


def plainly(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def longest(rows: list[tuple[str, bool]], address: Address, *, default: bool) -> bool:
    found = [
        (ipaddress.ip_network(network).prefixlen, may)
        for network, may in rows
        if address in ipaddress.ip_network(network)
    ]
    assert len({length for length, _ in found}) == len(found), "one and the same network twice"
    return max(found, default=(0, default))[1]


def by_nginx(policy: Policy) -> Reader:
    """`geo`: mapped addresses are looked up as IPv4 (ngx_http_geo_cidr_variable)."""
    text = rendered("nginx", policy)["nginx.conf"]
    table = re.search(r"geo \$\S+ \$sealgate_stranger \{(.*?)\}", text, re.DOTALL)
    if table is None:
        assert "$sealgate_stranger" not in text
        return everyone
    rows = [(network, value == "0") for network, value in re.findall(r"(\S+) ([01]);", table[1])]
    return lambda address: longest(rows, plainly(address), default=False)


def by_apache(policy: Policy) -> Reader:
    """`-R`: mapped addresses are compared as IPv4 (apr_ipsubnet_test)."""
    text = rendered("apache", policy)["httpd.conf"]
    expression = re.search(r'SetEnvIfExpr "([^"]*)" SEALGATE_ADMITTED=1', text)
    if expression is None:
        assert "SEALGATE_ADMITTED" not in text
        return everyone
    words = expression[1]
    return lambda address: evaluated(words, plainly(address))


def evaluated(expression: str, address: Address) -> bool:
    def inside(found: re.Match[str]) -> str:
        assert ipaddress.ip_network(found[1]).prefixlen, "APR may know no mask without a bit"
        return str(address in ipaddress.ip_network(found[1]))

    words = re.sub(r"-R '([^']*)'", inside, expression)
    words = words.replace("||", " or ").replace("&&", " and ").replace("!", " not ").replace("false", "False")
    assert re.fullmatch(r"(?:True|False|or|and|not|[() ])*", words)
    return bool(eval(words))  # noqa: S307 - of nothing but these words


def filters(value: Any, wanted: str) -> Iterator[dict[str, Any]]:
    """Every message of that type in it."""
    if isinstance(value, dict):
        if str(value.get("@type", "")).endswith(wanted):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from filters(item, wanted)


def by_envoy(policy: Policy) -> Reader:
    """A trie for each family; mapped addresses are IPv6 to it, and only a balancer could name one."""
    found = list(filters(json.loads(rendered("envoy", policy)["lds.json"]), "rbac.v3.RBAC"))
    if not found:
        return everyone
    matcher = found[0]["matcher"]
    rows = [
        (f"{each['address_prefix']}/{each['prefix_len']}", _action(listed["on_match"]))
        for listed in matcher["matcher_tree"]["custom_match"]["typed_config"]["range_matchers"]
        for each in listed["ranges"]
    ]
    default, proxied = _action(matcher["on_no_match"]), policy.listen.proxy_protocol
    return lambda address: longest(rows, address if proxied else plainly(address), default=default)


def _action(found: dict[str, Any]) -> bool:
    return bool(found["action"]["typed_config"]["action"] == "ALLOW")


READERS: dict[str, Callable[[Policy], Reader]] = {"nginx": by_nginx, "apache": by_apache, "envoy": by_envoy}


@pytest.mark.parametrize("which", READERS)
@settings(max_examples=50)
@given(NETWORKS, NETWORKS, st.lists(ADDRESSES, min_size=1, max_size=5), st.booleans())
def test_what_is_rendered_says_what_is_meant(
    which: str, allow: tuple[str, ...], deny: tuple[str, ...], addresses: list[Address], proxied: bool
) -> None:
    policy = Policy.model_validate(
        {"network": {"allow": allow, "deny": deny}, "listen": {"proxy_protocol": proxied}}
    )
    who, read = policy.network.admitted(), READERS[which](policy)
    for address in addresses:
        assert read(address) is who.admits(str(address))


@pytest.mark.long
@settings(max_examples=20)
@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=100, max_size=400),
    st.sampled_from([8, 15, 16, 20, 24, 31, 32]),
)
def test_many_networks_stand_under_their_first_bits(numbers: list[int], length: int) -> None:
    networks = [str(ipaddress.IPv4Network((number, length), strict=False)) for number in numbers]
    networks += [str(ipaddress.IPv6Network((number << 90, length + 32), strict=False)) for number in numbers]
    expression = among([network_of(network) for network in networks])
    for number in numbers[:5]:
        for near in (number, number ^ 1, number ^ 1 << 31, number ^ 1 << 9):
            for address in (ipaddress.IPv4Address(near), ipaddress.IPv6Address(near << 90)):
                assert evaluated(expression, address) is any(
                    address in ipaddress.ip_network(network) for network in networks
                )


@pytest.mark.long
def test_apache_has_few_levels_to_go_down() -> None:
    """It evaluates twenty at most; what is deeper would be an error for each request."""
    networks = [f"10.{n >> 12 & 255}.{n >> 4 & 255}.{(n & 15) << 4}/28" for n in range(60_000)]
    networks += [f"2001:db8:{n >> 8:x}:{n & 255:x}::/64" for n in range(0, 60_000, 2)]
    expression = among([network_of(network) for network in networks])
    depth = deepest = 0
    for mark in expression:
        depth += {"(": 1, ")": -1}.get(mark, 0)
        deepest = max(deepest, depth)
    assert depth == 0
    # Two for each level, and two around them.
    assert deepest <= 14


@pytest.mark.parametrize("which", engine_ids())
def test_without_rules_nothing_is_asked(which: str) -> None:
    for content in rendered(which, Policy()).values():
        for word in ("sealgate_stranger", "ADMITTED", "rbac", "address_mark", "address-refused"):
            assert word not in content


@pytest.mark.parametrize("which", engine_ids())
def test_one_place_judges(which: str) -> None:
    """The guard where the app is inside of the server, which then has no words for it; else the server."""
    policy = Policy.model_validate({"network": {"allow": ["10.0.0.0/8"], "deny": ["10.66.0.0/16"]}})
    rows = [row for row in engine(which).capabilities(policy) if row.key.startswith("network.")]
    others = {"network.fetch", "network.trusted_proxies"}  # the keeper's, the guard's
    rows = [row for row in rows if row.key not in others]
    assert [row.key for row in rows] == ["network.allow", "network.deny"]
    inside = engine(which).identity == "inside"
    wanted = Enforcer.GUARD if inside else Enforcer.ENGINE
    assert [row.enforcer for row in rows if isinstance(row, Capability)] == [wanted] * 2
    assert inside or which in READERS


@pytest.mark.parametrize("which", READERS)
def test_plain_http_that_refuses_everyone_asks_nobody(which: str) -> None:
    rules = {"network": {"deny": ["10.0.0.0/8"]}}
    words = {"nginx": "if ($sealgate_stranger)", "apache": "SEALGATE_ADMITTED=1", "envoy": "rbac.v3.RBAC"}
    counts = []
    for mode in ("redirect", "refuse"):
        policy = Policy.model_validate({**rules, "http": {"mode": mode}})
        counts.append(sum(content.count(words[which]) for content in rendered(which, policy).values()))
    assert counts[0] > counts[1] > 0


@pytest.mark.parametrize("which", included_ids())
@pytest.mark.parametrize(
    ("network", "key"),
    [
        ({"allow": ["10.0.0.0/8"]}, "network.allow"),
        ({"deny": ["127.0.0.0/8"]}, "network.deny"),
        ({"allow": ["10.0.0.0/8", "127.0.0.1"]}, ""),
        ({"deny": ["127.0.0.2"]}, ""),
    ],
)
def test_an_installed_server_must_let_looks_in(which: str, network: dict[str, list[str]], key: str) -> None:
    site = {} if which == "gunicorn" else {"upstream": "http://127.0.0.1:9000"}
    policy = Policy.model_validate({"site": site, "network": network, "listen": {"https": ["0.0.0.0:8443"]}})
    found = [row.key for row in included(which).capabilities(policy) if isinstance(row, Refusal)]
    assert found == ([key] if key else [])


def test_a_look_comes_from_the_listeners_own_address_where_that_is_no_loopback() -> None:
    listen = {"https": ["192.0.2.7:8443", "[2001:db8::7]:8443"], "http": ["[::1]:8080"]}
    site = {"upstream": "http://127.0.0.1:9000"}
    allow = ["192.0.2.7", "2001:db8::7", "::1"]
    for without in (None, *allow):
        network = {"allow": [one for one in allow if one != without]}
        policy = Policy.model_validate({"site": site, "listen": listen, "network": network})
        rows = [row for row in included("nginx").capabilities(policy) if isinstance(row, Refusal)]
        assert [without in row.reason for row in rows if without] == ([True] if without else [])
        assert bool(rows) is bool(without)
