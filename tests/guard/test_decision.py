"""The order of rules, and what they let through."""

from __future__ import annotations

import pytest

from sealgate.guard.client import Client
from sealgate.guard.decision import (
    BODY_TOO_LARGE,
    PATH_MISMATCH,
    UNJUDGED,
    UNSPOOLED,
    Allow,
    Deny,
    Facts,
    decide,
)
from tests.guard.exchange import SITE, compiled

CLIENT = Client("192.0.2.1")


@pytest.mark.parametrize(
    ("host", "target", "slug", "rule"),
    (
        ("evil.example", "/orders", "unknown-host", "host"),
        ("evil.example", "/..", "unknown-host", "host"),
        ("api.example.com", "/..", "path-not-canonical", "dot-segment"),
        ("api.example.com", "", "path-not-canonical", "no-leading-slash"),
    ),
)
def test_the_first_rule_that_denies_answers(host: str, target: str, slug: str, rule: str) -> None:
    decision = decide(SITE, Facts(CLIENT, "GET", host, target))
    assert isinstance(decision, Deny)
    assert (decision.problem.slug, decision.reason) == (slug, rule)


def test_what_is_allowed_comes_with_the_decoded_path_and_the_raw_query() -> None:
    facts = Facts(CLIENT, "GET", "api.example.com", "/caf%C3%A9?q=%20")
    assert decide(SITE, facts) == Allow(CLIENT, "/café", "q=%20")


def test_the_method_matters_for_an_asterisk() -> None:
    assert isinstance(decide(SITE, Facts(CLIENT, "OPTIONS", "api.example.com", "*")), Allow)
    assert isinstance(decide(SITE, Facts(CLIENT, "GET", "api.example.com", "*")), Deny)


def test_what_is_ours_is_a_500_and_what_is_the_callers_is_not() -> None:
    assert {deny.problem.status for deny in (UNJUDGED, PATH_MISMATCH, UNSPOOLED)} == {500}
    assert BODY_TOO_LARGE.problem.status == 413


@pytest.mark.parametrize("length", ("", "0", "10"))
def test_a_body_within_the_limit(length: str) -> None:
    site = compiled(limits={"body": "10B"})
    assert isinstance(decide(site, Facts(CLIENT, "POST", "localhost", "/", length)), Allow)


@pytest.mark.parametrize("length", ("11", "9" * 30, "-1", "+1", "1,1", " 1", "1_0", "x", "\u0661"))
def test_a_body_over_the_limit_or_of_no_length_at_all(length: str) -> None:
    site = compiled(limits={"body": "10B"})
    assert decide(site, Facts(CLIENT, "POST", "localhost", "/", length)) == BODY_TOO_LARGE


def test_a_limit_of_nothing_lets_nothing_through() -> None:
    site = compiled(limits={"body": "0B"})
    assert decide(site, Facts(CLIENT, "POST", "localhost", "/", "1")) == BODY_TOO_LARGE
    assert isinstance(decide(site, Facts(CLIENT, "POST", "localhost", "/", "0")), Allow)
