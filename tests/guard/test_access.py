"""Who may do what: the rule that decides, and what somebody who may not is told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.access import DEFAULT, Access, Need, Rule, access_of, judge, read, written
from sealgate.guard.client import Client, Token
from sealgate.policy.model import Policy
from sealgate.policy.network import admitted
from tests.guard.test_certificate import certificate, make, ways

ANN = replace(certificate(str(ways(make("ann"))["nginx"])), authority="private")
STRANGER = Client("192.0.2.7")
KNOWN = Client("192.0.2.7", ANN)
OPS = Client("192.0.2.7", ANN, ("ops", "night"))
READER = Client("192.0.2.7", token=Token("https://issuer.test", "r", frozenset({"orders:read"})))
NEAR = Client("10.1.2.3")
CHALLENGE = 'Bearer realm="sealgate"'
BOTH_SCOPES = ', scope="orders:read orders:write"'
LACKING = ', error="insufficient_scope"' + BOTH_SCOPES

GROUP = Need(groups=("ops", "dev"))
AUTHORITY = Need(authorities=("private",))
SCOPE = Need(scopes=("orders:read", "orders:write"))
READ = Need(scopes=("orders:read",))
TOKEN = Need(token=True)
HOME = Need(networks=("10.0.0.0/8",), admitted=admitted(("10.0.0.0/8",), ()))
BOTH = HOME._replace(groups=("ops",))


@pytest.mark.parametrize(
    ("needs", "client", "answer"),
    [
        ((), STRANGER, "yes"),
        ((Need(),), STRANGER, "anonymous"),
        ((Need(),), KNOWN, "yes"),
        ((Need(),), READER, "yes"),
        ((GROUP,), STRANGER, "certificate"),
        ((GROUP,), READER, "certificate"),
        ((GROUP,), KNOWN, "more"),
        ((GROUP,), OPS, "yes"),
        ((AUTHORITY,), KNOWN, "yes"),
        ((AUTHORITY,), Client("::1", replace(ANN, authority="partners")), "more"),
        ((AUTHORITY,), Client("::1", replace(ANN, authority="")), "more"),
        ((TOKEN,), KNOWN, "token"),
        ((TOKEN,), READER, "yes"),
        ((READ,), READER, "yes"),
        ((SCOPE,), READER, "scope"),
        ((SCOPE,), OPS, "token"),
        ((HOME,), NEAR, "yes"),
        ((HOME,), OPS, "address"),
        ((BOTH,), NEAR, "certificate"),
        ((BOTH,), replace(OPS, address="10.1.2.3"), "yes"),
        ((BOTH,), OPS, "address"),
        ((GROUP, READ), READER, "yes"),
        ((GROUP, READ), OPS, "yes"),
        ((GROUP, SCOPE), READER, "scope"),
        ((GROUP, SCOPE), STRANGER, "token"),
        ((GROUP, HOME), STRANGER, "certificate"),
    ],
)
def test_whom_a_rule_wants(needs: tuple[Need, ...], client: Client, answer: str) -> None:
    assert judge(Rule("r", "/a", needs=needs), client).answer == answer


def test_deny_is_for_nobody() -> None:
    for client in (STRANGER, KNOWN, OPS, READER):
        assert judge(Rule("r", "/a", deny=True), client).answer == "denied"


RULES = (
    Rule("access.rules[0]", "/admin/public"),
    Rule("access.rules[1]", "/admin/**", ("GET",), needs=(GROUP,)),
    Rule("access.rules[2]", "/admin/**", deny=True),
    Rule("access.rules[3]", "/orders/*", ("POST",), needs=(SCOPE,)),
    Rule("access.rules[4]", "/token/**", needs=(TOKEN,)),
)
ACCESS = Access(RULES, DEFAULT["authenticated"], CHALLENGE)


@pytest.mark.parametrize(
    ("client", "method", "path", "problem", "rule", "authenticate"),
    [
        (STRANGER, "GET", "/admin/public", None, "", None),
        (STRANGER, "GET", "/admin", "client-certificate-required", "access.rules[1]", None),
        (KNOWN, "GET", "/admin/x/y", "access-denied", "access.rules[1]", None),
        (OPS, "GET", "/admin/x", None, "", None),
        (OPS, "HEAD", "/admin/x", None, "", None),
        (OPS, "POST", "/admin/x", "access-denied", "access.rules[2]", None),
        (OPS, "get", "/admin/x", "access-denied", "access.rules[2]", None),
        (STRANGER, "GET", "/other", "authentication-required", "access.default", CHALLENGE),
        (KNOWN, "GET", "/other", None, "", None),
        (KNOWN, "POST", "/orders/1", "authentication-required", "access.rules[3]", CHALLENGE + BOTH_SCOPES),
        (READER, "POST", "/orders/1", "scope-insufficient", "access.rules[3]", CHALLENGE + LACKING),
        (OPS, "GET", "/token", "authentication-required", "access.rules[4]", CHALLENGE),
        # What an app may read in two ways is judged in both.
        (STRANGER, "GET", "/admin/public;x", "client-certificate-required", "access.rules[1]", None),
        (KNOWN, "GET", "/x;/../admin", None, "", None),
        (KNOWN, "GET", "/admin;x/y", "access-denied", "access.rules[1]", None),
    ],
)
def test_what_a_caller_hears(
    client: Client, method: str, path: str, problem: str | None, rule: str, authenticate: str | None
) -> None:
    for _ in range(2):  # afresh, and remembered
        deny = ACCESS(client, method, path)
        if problem is None:
            assert deny is None
            continue
        assert deny is not None
        assert (deny.problem.slug, deny.reason) == (problem, rule)
        assert dict(deny.headers).get("www-authenticate") == authenticate
        assert (deny.problem.status == 401) == (authenticate is not None and "error" not in authenticate)


def test_without_tokens_nobody_is_told_to_get_one() -> None:
    access = Access(RULES, DEFAULT["authenticated"])
    deny = access(STRANGER, "GET", "/other")
    assert deny is not None
    assert (deny.problem.slug, deny.headers) == ("client-certificate-required", ())


def test_what_is_remembered_has_an_end() -> None:
    access = Access(RULES, DEFAULT["none"])
    for number in range(10_000):
        access(STRANGER, "GET", f"/p{number}")
    access(STRANGER, "GET", "/" + "x" * 100_000)
    assert len(access._known) <= 4096
    assert sum(map(len, (path for _, path in access._known))) < 4096 * 512


def test_the_policys_rules_come_through_the_published_file() -> None:
    policy = Policy.model_validate(
        {
            "clients": {"mode": "optional"},
            "access": {
                "rules": [
                    {"path": "/a/**", "require": [{"group": ["ops"]}, {"scope": ["x"], "address": ["::1"]}]},
                    {"path": "/b", "methods": ["PUT"], "require": "authenticated"},
                    {"path": "/c", "require": {"token": True}},
                    {"path": "/d", "deny": True},
                ]
            },
        }
    )
    default, rules = access_of(policy)
    assert default == "authenticated"
    assert read(json.loads(json.dumps(written(rules)))) == rules
    assert rules[0].needs[1].admitted == admitted(("::1/128",), ())


GOOD = json.loads(json.dumps(written(RULES)))


@pytest.mark.parametrize(
    "spoil",
    [
        {"path": "a"},
        {"path": 7},
        {"path": None},
        {"methods": []},
        {"methods": "GET"},
        {"deny": "no"},
        {"deny": None},
        {"name": None},
        {"needs": None},
        {"needs": [None]},
        {"needs": [{}]},
        {"further": 1},
    ],
)
def test_half_a_rule_is_no_open_door(spoil: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"rule|pattern"):
        read([GOOD[0], GOOD[1] | spoil])
    with pytest.raises(ValueError, match="rules"):
        read({})


@given(
    st.sampled_from(sorted(GOOD[1]["needs"][0])),
    st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers(), min_size=1)),
)
def test_nor_is_half_a_need(key: str, value: object) -> None:
    need = GOOD[1]["needs"][0] | {key: value}
    with pytest.raises(ValueError, match=r"need"):
        read([GOOD[1] | {"needs": [need]}])
