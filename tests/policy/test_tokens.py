"""``[tokens]`` and ``limits.rates`` of a policy: what they may say, and what they cannot mean."""

from __future__ import annotations

import pytest

from tests.policy.test_access import mistakes, policy, rule

ISSUER = '{ issuer = "https://i.test", jwks_file = "k.json", audience = ["a"] }'


def issuers(*said: str) -> str:
    return f"[tokens]\nissuers = [{', '.join(said)}]\n"


def test_an_issuer() -> None:
    (one,) = policy(issuers(ISSUER)).tokens.issuers
    assert (one.algorithms, one.certificate_bound) == (("ES256", "EdDSA", "RS256"), "optional")
    made = policy(issuers(ISSUER) + rule(path="/a", require={"scope": ["x"]}))
    assert (made.access_default, made.judges_access) == ("authenticated", True)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ('issuer = ""', "tokens.issuers[0].issuer"),
        ('issuer = " https://i.test"', "tokens.issuers[0].issuer"),
        ('issuer = "http://i.test"', "tokens.issuers[0].issuer"),
        ('issuer = "HTTP://i.test"', "tokens.issuers[0].issuer"),
        ("audience = []", "tokens.issuers[0].audience"),
        ('audience = [""]', "tokens.issuers[0].audience[0]"),
        ('algorithms = ["none"]', "tokens.issuers[0].algorithms[0]"),
        ('algorithms = ["HS256"]', "tokens.issuers[0].algorithms[0]"),
        ("algorithms = []", "tokens.issuers[0].algorithms"),
        ('issuer = "urn:who"\njwks_file = ""', "tokens.issuers[0].issuer"),
        ('issuer = "https://a.test/?b"\njwks_file = ""', "tokens.issuers[0].issuer"),
        ('ca_file = "roots.pem"', "tokens.issuers[0].ca_file"),
        ('jwks_file = ""\njwks_uri = "http://i.test/keys"', "tokens.issuers[0].jwks_uri"),
        ('jwks_file = ""\njwks_uri = "https://me@i.test/keys"', "tokens.issuers[0].jwks_uri"),
        ('jwks_uri = "https://i.test/keys"', "tokens.issuers[0].jwks_uri"),
        ('certificate_bound = "required"', "tokens.issuers[0].certificate_bound"),
    ],
)
def test_what_is_a_mistake(said: str, key: str) -> None:
    usual = {"issuer": '"https://i.test"', "jwks_file": '"k.json"', "audience": '["a"]'}
    other = {name: value for name, _, value in (line.partition(" = ") for line in said.split("\n"))}
    text = ", ".join(f"{one} = {what}" for one, what in (usual | other).items())
    assert [where for where, _ in mistakes(issuers(f"{{ {text} }}"))] == [key]


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ('api_keys = "yes"', "tokens.api_keys"),
        ('api_key_header = "x-api-key"', "tokens.api_key_header"),
        ('api_keys = true\napi_key_header = "Authorization"', "tokens.api_key_header"),
        ('api_keys = true\napi_key_header = "Cookie"', "tokens.api_key_header"),
        ('api_keys = true\napi_key_header = "X-Forwarded-Key"', "tokens.api_key_header"),
        ('api_keys = true\napi_key_header = "sealgate-key"', "tokens.api_key_header"),
        ('api_keys = true\napi_key_header = "x key"', "tokens.api_key_header"),
        ('api_keys = true\napi_key_header = "x_api_key"', "tokens.api_key_header"),
        ('api_keys = true\napi_key_header = "x-api-key:"', "tokens.api_key_header"),
    ],
)
def test_what_is_no_field_of_keys(said: str, key: str) -> None:
    assert [where for where, _ in mistakes(f"[tokens]\n{said}\n")] == [key]


def test_where_callers_show_tokens() -> None:
    assert policy("").credential_fields == ()
    assert policy(issuers(ISSUER)).credential_fields == ("authorization",)
    made = policy('[tokens]\napi_keys = true\napi_key_header = "X-Api-Key"\n')
    assert made.credential_fields == ("authorization", "x-api-key")


def test_each_issuer_once() -> None:
    assert mistakes(issuers(ISSUER, ISSUER))[0][0] == "tokens.issuers[1].issuer"


def rates(*said: str) -> str:
    return f"[limits]\nrates = [{', '.join(said)}]\n"


def test_a_rate() -> None:
    one, two = policy(
        rates('{ by = "address", rate = "100/min" }', '{ by = "address", rate = "5/h", burst = 9 }')
    ).limits.rates
    assert (one.count, one.period, one.most) == (100, 60, 100)
    assert (two.count, two.period, two.most) == (5, 3600, 9)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ('by = "ip", rate = "1/s"', "by"),
        ('by = "address", rate = "0/s"', "rate"),
        ('by = "address", rate = "1/m"', "rate"),
        ('by = "address", rate = "1 / s"', "rate"),
        ('by = "address", rate = "9999999/s"', "rate"),
        ('by = "address", rate = 5', "rate"),
        ('by = "address"', "rate"),
        ('by = "address", rate = "1/s", burst = -1', "burst"),
        ('by = "address", rate = "1/s", burst = "5"', "burst"),
        ('by = "client", rate = "1/s"', "by"),
        ('by = "token", rate = "1/s"', "by"),
    ],
)
def test_what_is_no_rate(said: str, key: str) -> None:
    assert [where for where, _ in mistakes(rates(f"{{ {said} }}"))] == [f"limits.rates[0].{key}"]


def test_each_rate_once() -> None:
    one = '{ by = "address", rate = "1/s" }'
    assert mistakes(rates(one, one))[0][0] == "limits.rates[1]"
