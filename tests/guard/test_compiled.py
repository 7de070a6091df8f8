"""The guard's policy survives the way through the live directory, and nothing else does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import StateError
from sealgate.guard.compiled import Compiled, compile_policy
from sealgate.policy.model import Policy
from tests.guard.exchange import SITE, compiled

GOOD: dict[str, Any] = json.loads(SITE.to_json())


def test_of_an_empty_policy() -> None:
    assert compile_policy(Policy(), 3) == Compiled(
        generation=3,
        names=frozenset({"localhost"}),
        wildcards=frozenset(),
        ports=frozenset({"8443"}),
        public_host="localhost",
        public_port=8443,
        body_limit=1024**2,
        clients="off",
    )


def test_of_a_policy_that_says_more() -> None:
    made = compiled(
        site={"names": ["*.example.org", "::1"], "url": "https://[2001:db8::1]:444"},
        listen={"https": ["127.0.0.1:8443", "[::1]:9443"]},
        limits={"body": "2MiB"},
    )
    assert made.names == {"::1"}
    assert made.wildcards == {"example.org"}
    assert made.ports == {"444", "8443", "9443"}
    assert (made.public_host, made.public_port) == ("[2001:db8::1]", 444)
    assert made.body_limit == 2 * 1024**2


def test_headers_are_counted_only_where_the_engine_leaves_it_to_the_guard() -> None:
    policy = Policy.model_validate({"limits": {"headers": "8KiB"}})
    assert compile_policy(policy, 1).headers_limit == 0
    assert compile_policy(policy, 1, guards={"site.names"}).headers_limit == 0
    assert compile_policy(policy, 1, guards={"site.names", "limits.headers"}).headers_limit == 8192


def test_addresses_are_judged_only_where_the_engine_leaves_it_to_the_guard() -> None:
    policy = Policy.model_validate({"network": {"allow": ["10.0.0.0/8"], "deny": ["2001:db8::/32"]}})
    assert compile_policy(policy, 1).admitted is None
    assert compile_policy(policy, 1, guards={"site.names"}).admitted is None
    made = compile_policy(policy, 1, guards={"network.allow", "network.deny"})
    assert made.admitted == policy.network.admitted()
    assert Compiled.from_json(made.to_json()) == made
    assert compile_policy(Policy(), 1, guards={"network.allow"}).admitted is None


def test_the_standard_port_is_allowed_only_where_clients_use_it() -> None:
    assert "443" not in SITE.ports
    assert "443" in compiled(site={"names": ["a.example"], "url": "https://a.example"}).ports
    assert "443" in compiled(listen={"https": ["127.0.0.1:443"]}).ports


def test_json_and_back() -> None:
    again = Compiled.from_json(SITE.to_json())
    assert again == SITE
    assert again.usual_hosts == SITE.usual_hosts
    assert Compiled.from_json(SITE.to_json().encode()) == SITE
    assert SITE.to_json() == again.to_json()


@pytest.mark.parametrize(
    "change",
    (
        {"schema": 2},
        {"schema": 6},
        {"schema": 7},
        {"schema": 4},
        {"schema": "1"},
        {"generation": -1},
        {"generation": True},
        {"generation": "7"},
        {"generation": 7.5},
        {"names": "localhost"},
        {"names": [1]},
        {"names": [""]},
        {"wildcards": None},
        {"ports": [8443]},
        {"ports": ["08443"]},
        {"ports": ["0"]},
        {"ports": ["65536"]},
        {"ports": ["٨"]},
        {"ports": [""]},
        {"public_host": ""},
        {"public_host": None},
        {"public_port": 0},
        {"public_port": 65536},
        {"public_port": "443"},
        {"body_limit": -1},
        {"body_limit": None},
        {"headers_limit": -1},
        {"headers_limit": None},
        {"admitted": []},
        {"admitted": {}},
        {"admitted": {"four": [0, 1]}},
        {"admitted": {"four": [0, 1], "six": [], "further": []}},
        {"admitted": {"four": [0], "six": []}},
        {"admitted": {"four": [0, 1, 2], "six": []}},
        {"admitted": {"four": [1, 0], "six": []}},
        {"admitted": {"four": [1, 1], "six": []}},
        {"admitted": {"four": [-1, 1], "six": []}},
        {"admitted": {"four": [0, 2**32 + 1], "six": []}},
        {"admitted": {"four": [], "six": [0, 2**128 + 1]}},
        {"admitted": {"four": [0, True], "six": []}},
        {"admitted": {"four": [0, 1.5], "six": []}},
        {"admitted": {"four": None, "six": []}},
        {"clients": "maybe"},
        {"clients": None},
        {"clients": []},
        {"authorities": None},
        {"authorities": [None]},
        {"authorities": [{"name": "a", "issuers": ["MIIB"], "own": True}]},
        {"authorities": [{"name": "", "issuers": ["MIIB"], "own": True, "listed": True}]},
        {"authorities": [{"name": "a", "issuers": [], "own": True, "listed": True}]},
        {"authorities": [{"name": "a", "issuers": "MIIB", "own": True, "listed": True}]},
        {"authorities": [{"name": "a", "issuers": ["MIIB"], "own": 1, "listed": True}]},
        {"authorities": [{"name": "a", "issuers": ["MIIB"], "own": True, "listed": None}]},
        {"former": None},
        {"further": 1},
    ),
)
def test_anything_else_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StateError) as caught:
        Compiled.from_json(json.dumps(GOOD | change))
    assert caught.value.code == "compiled-policy-refused"


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_refused(key: str) -> None:
    with pytest.raises(StateError):
        Compiled.from_json(json.dumps({name: value for name, value in GOOD.items() if name != key}))


@pytest.mark.parametrize(
    "text", ("", "{", "null", "[]", "7", '"x"', "\ufeff{}", "[" * 100_000, b"\xff\xfe", b"\x80")
)
def test_garbage_is_refused(text: str | bytes) -> None:
    with pytest.raises(StateError, match="compiled-policy-refused"):
        Compiled.from_json(text)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_garbage_gets_through_or_raises_anything_else(text: str | bytes) -> None:
    with pytest.raises(StateError):
        Compiled.from_json(text)


def test_a_file_cut_anywhere_is_refused() -> None:
    text = SITE.to_json()
    for end in range(len(text)):
        with pytest.raises(StateError):
            Compiled.from_json(text[:end])
