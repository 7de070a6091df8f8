"""Who may come in, by address: against `ipaddress`, which compares one network after the other."""

from __future__ import annotations

import ipaddress
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import PolicyError
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.policy.network import EVERYONE, Admitted, admitted, decided, network_of, shut_out, span

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[str, ...]
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def shorter(bits: int) -> st.SearchStrategy[int]:
    """Numbers of that many bits, among few values: so that networks meet."""
    few = st.sampled_from([0, 1, 2, 3, 2**bits - 1, 2**bits - 2, 2 ** (bits - 1), 0xFFFF << 32 | 0x0A000001])
    return (few | st.integers(0, 2**bits - 1)).map(lambda number: number % 2**bits)


FOUR = st.builds(
    lambda n, length: ipaddress.IPv4Network((n, length), strict=False), shorter(32), st.integers(0, 32)
)
SIX = st.builds(
    lambda n, length: ipaddress.IPv6Network((n, length), strict=False), shorter(128), st.integers(0, 128)
)
NETWORKS = st.lists((FOUR | SIX).map(str).map(network_of), max_size=6).map(tuple)
ADDRESSES = st.builds(ipaddress.IPv4Address, shorter(32)) | st.builds(ipaddress.IPv6Address, shorter(128))


def lies_in(address: IPAddress, networks: Networks) -> bool:
    plain = getattr(address, "ipv4_mapped", None) or address
    return any(plain in ipaddress.ip_network(network) for network in networks)


@given(NETWORKS, NETWORKS, ADDRESSES)
def test_deny_wins_over_allow_and_none_allowed_is_everyone(
    allow: Networks, deny: Networks, address: IPAddress
) -> None:
    wanted = (not allow or lies_in(address, allow)) and not lies_in(address, deny)
    assert admitted(allow, deny).admits(str(address)) is wanted


@given(NETWORKS, NETWORKS)
def test_at_the_borders_too(allow: Networks, deny: Networks) -> None:
    who = admitted(allow, deny)
    for network in map(ipaddress.ip_network, (*allow, *deny)):
        first, last = int(network.network_address), int(network.broadcast_address)
        end = (1 << network.max_prefixlen) - 1
        for number in {max(0, first - 1), first, last, min(end, last + 1)}:
            address: IPAddress = ipaddress.IPv6Address(number)
            if network.version == 4:
                address = ipaddress.IPv4Address(number)
            wanted = (not allow or lies_in(address, allow)) and not lies_in(address, deny)
            assert who.admits(str(address)) is wanted


@given(NETWORKS, NETWORKS)
def test_bounds_rise_and_each_begin_has_an_end(allow: Networks, deny: Networks) -> None:
    who = admitted(allow, deny)
    for bounds, bits in ((who.four, 32), (who.six, 128)):
        assert len(bounds) % 2 == 0
        assert list(bounds) == sorted(set(bounds))
        assert all(0 <= bound <= 2**bits for bound in bounds)


@given(NETWORKS, NETWORKS, ADDRESSES)
def test_the_longest_prefix_says_the_same(allow: Networks, deny: Networks, address: IPAddress) -> None:
    """As a trie decides."""
    rules = decided(allow, deny)
    plain = getattr(address, "ipv4_mapped", None) or address
    found = [
        (ipaddress.ip_network(network).prefixlen, may)
        for networks, may in ((rules.allow, True), (rules.deny, False))
        for network in networks
        if plain in ipaddress.ip_network(network)
    ]
    assert len({length for length, _ in found}) == len(found), "no network twice"
    assert max(found, default=(0, rules.default))[1] is admitted(allow, deny).admits(str(address))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/32", "2001:db8::/32"),
        ("2001:0db8:0:0::1", "2001:db8::1/128"),
        ("::/0", "::/0"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ],
)
def test_in_its_shortest_form(written: str, meant: str) -> None:
    assert network_of(written) == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("10.1.2.3/8", "the network is 10.0.0.0/8"),
        ("10.0.0.1/31", "the network is 10.0.0.0/31"),
        ("2001:db8::1/64", "the network is 2001:db8::/64"),
        ("::ffff:10.1.0.0/104", "the network is 10.0.0.0/8"),
        ("::ffff:10.1.0.0/80", "the network is ::/80"),
        ("10.0.0.0/33", "no number from 0 to 32"),
        ("::/129", "no number from 0 to 128"),
        ("10.0.0.0/255.0.0.0", "no number from 0 to 32"),
        ("10.0.0.0/", "no number"),
        ("10.0.0.0/-8", "no number"),
        ("10.0.0.0/\uff18", "no number"),
        ("10.0.0.0/8/8", "no number"),
        ("10.0.0/8", "not an IP address before the slash"),
        ("010.0.0.0/8", "not an IP address"),
        ("localhost", "not an IP address"),
        ("", "not an IP address"),
        (" 10.0.0.0/8", "not an IP address"),
        ("fe80::1%eth0", "zone"),
        ("[::1]/128", "not an IP address"),
    ],
)
def test_what_is_no_network(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        network_of(written)


@given(FOUR | SIX)
def test_a_span_is_all_of_it(network: IPNetwork) -> None:
    text = network_of(str(network))
    version, first, after = span(text)
    again = ipaddress.ip_network(text)
    assert (version, first, after) == (
        again.version,
        int(again.network_address),
        int(again.network_address) + again.num_addresses,
    )


@pytest.mark.parametrize(
    "address", ["", "localhost", "10.0.0.1:80", "[::1]", "10.0.0.1 ", "\x00", "10.0.0.256"]
)
def test_what_is_no_address_may_not_come_in(address: str) -> None:
    assert not EVERYONE.admits(address)


def test_a_zone_does_not_matter() -> None:
    assert admitted(("fe80::/10",), ()).admits("fe80::1%eth0")
    assert not admitted((), ("fe80::/10",)).admits("fe80::1%eth0")


def test_the_two_ends() -> None:
    assert admitted((), ()).everyone
    assert admitted(("0.0.0.0/0", "::/0"), ()) == EVERYONE
    assert admitted((), ("0.0.0.0/1", "128.0.0.0/1", "::/0")) == Admitted((), ())
    assert admitted((), ("0.0.0.0/0", "::/0")).nobody
    assert not admitted(("10.0.0.0/8",), ()).everyone


def test_all_of_ipv6_is_not_ipv4_in_its_clothes() -> None:
    who = admitted(("::/0",), ())
    assert not who.admits("::ffff:192.0.2.1")
    assert who.admits("::fffe:192.0.2.1")


def test_shut_out_whatever_the_pieces() -> None:
    allow = ("10.0.0.0/8", "10.0.0.0/16", "11.0.0.0/8", "::1/128")
    assert shut_out(allow, ["10.0.0.0/9", "10.128.0.0/9", "11.0.0.0/9"]) == (0, 1)
    assert decided(allow, ("10.0.0.0/8",)).allow == ("11.0.0.0/8", "::1/128")


def said(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        loads(text, path=Path("/p/sealgate.toml"), environ={})
    return [f"{problem.key}: {problem.fact} {problem.remedy}" for problem in caught.value.problems]


def test_the_right_network_is_named_in_the_policys_own_error() -> None:
    (line,) = said('network.allow = ["192.0.2.1", "10.1.2.3/8"]')
    assert line.startswith('network.allow[1]: found "10.1.2.3/8" (bits after the first 8 are set; ')
    assert "the network is 10.0.0.0/8)" in line


def test_what_would_do_nothing_is_told() -> None:
    (line,) = said('network = {allow = ["10.1.0.0/16", "10.0.0.0/7"], deny = ["10.0.0.0/8"]}')
    assert line.startswith('network.allow[0]: "10.1.0.0/16" lies in network.deny as a whole, which wins')


def test_nobody_left_is_told() -> None:
    (line,) = said('network.deny = ["0.0.0.0/0", "::/0"]')
    assert line.startswith("network.deny: nobody is left who may come in")


def test_not_everybody_may_speak_for_others() -> None:
    for networks in ('"0.0.0.0/0"', '"::/0"', '"10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/1"'):
        (line,) = said(f"network.trusted_proxies = [{networks}]")
        assert line.startswith("network.trusted_proxies: every address is a trusted proxy")


def test_behind_proxies_no_engine_judges_by_the_peer() -> None:
    for rules, judges in (({"deny": ["10.0.0.0/8"]}, True), ({}, False)):
        policy = Policy.model_validate({"network": rules})
        assert policy.judges_addresses(tls=True) is judges
        behind = Policy.model_validate({"network": {**rules, "trusted_proxies": ["192.0.2.1"]}})
        assert not behind.judges_addresses(tls=True)


def test_by_an_environment_variable() -> None:
    environ = {"SEALGATE_NETWORK__DENY": "10.0.0.0/8,2001:db8::1"}
    policy = loads("", path=Path("/p/sealgate.toml"), environ=environ).policy
    assert policy.network.deny == ("10.0.0.0/8", "2001:db8::1/128")


def test_a_hundred_thousand_networks_cost_one_search() -> None:
    many = [f"{n >> 16 & 127}.{n >> 8 & 255}.{n & 255}.0/25" for n in range(100_000)]
    who = Policy.model_validate({"network": {"deny": many}}).network.admitted()
    assert len(who.four) == 200_000
    assert json.loads(json.dumps(who.four)) == list(who.four)
    began = time.process_time()
    for n in range(0, 1_000_000, 999):
        assert who.admits(str(ipaddress.IPv4Address(n << 7))) is bool(n % 2 or n >= 200_000)
    # One after the other they would take minutes.
    assert time.process_time() - began < 5
