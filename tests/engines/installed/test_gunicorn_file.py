"""Our file for a Gunicorn of somebody's own: it says the whole policy, and nothing in it is code."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from sealgate.engines.contract import Capability, Refusal
from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.gunicorn.included import INCLUDED, policy_text
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {
        "site": {"names": ["localhost", "*.a.test", "xn--bcher-kva.test", "::1"], "app": "a:b", "workers": 3},
        "listen": {"https": ["127.0.0.1:8443", "[::1]:8443"], "http": []},
        "limits": {"body": "5MiB", "headers": "1500B"},
        "timeouts": {"idle": "1500ms", "drain": "2h"},
        "http": {"mode": "refuse", "hsts": {"max_age": 5, "include_subdomains": True}},
        "tls": {"profile": "modern@6.0"},
    },
    {
        "clients": {
            "mode": "required",
            "authorities": [{"name": "p", "file": 'a "b" \\ ü\'; import os #.pem', "crl": "c.pem"}],
        },
        "certificate": {"source": "files", "files": {"chain": "c\"hain'.pem", "key": "k\\ey.pem"}},
    },
)


@pytest.mark.parametrize("tables", POLICIES)
def test_the_policy_comes_back_as_it_was(tables: dict[str, Any]) -> None:
    policy = Policy.model_validate(tables)
    assert loads(policy_text(policy), path=Path("/sealgate.toml"), environ={}).policy == policy


@pytest.mark.parametrize("tables", POLICIES)
def test_the_file_is_one_import_and_one_call_with_texts(tables: dict[str, Any]) -> None:
    policy = Policy.model_validate(tables)
    facts = RenderFacts(
        policy=policy,
        profile=load_profile(policy.tls.profile),
        backend="wsgi",
        chain='/st"a\\te/chain.pem',
        key="/state/key.pem",
        certificate_folder="/state",
    )
    tree = ast.parse(INCLUDED.render(facts, ()))
    bound, update = tree.body
    assert isinstance(bound, ast.ImportFrom)
    assert isinstance(update, ast.Expr)
    assert isinstance(update.value, ast.Call)
    (called,) = update.value.args
    assert isinstance(called, ast.Call)
    given = {word.arg: ast.literal_eval(word.value) for word in called.keywords}
    assert given["chain"] == '/st"a\\te/chain.pem'
    assert given["policy"] == policy_text(policy)


def test_nothing_is_promised_that_only_a_keeper_does() -> None:
    rows = INCLUDED.capabilities(Policy.model_validate(POLICIES[1]))
    said = {row.key: row.promise for row in rows if isinstance(row, Capability)}
    assert "not separated" in said["site.app"]
    assert "apply" in said["certificate.source"]
    assert "opened by one process alone" not in str(rows)
    assert said["monitor.listen"].startswith("once you start `sealgate watch`")
    assert not any(isinstance(row, Refusal) for row in rows)
    upstream = INCLUDED.capabilities(Policy.model_validate({"site": {"upstream": "http://127.0.0.1:9"}}))
    assert [row.key for row in upstream if isinstance(row, Refusal)] == ["site.upstream"]


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"certificate": {"second_key_type": "rsa-3072"}}, "certificate.second_key_type"),
        ({"clients": {"mode": "optional"}}, "clients.authorities"),
        ({"clients": {"mode": "required"}}, "clients.authorities"),
        ({"clients": POLICIES[2]["clients"]}, ""),
    ],
)
def test_what_nobody_would_keep_there_is_refused(tables: dict[str, Any], key: str) -> None:
    """One certificate is served; and only a keeper makes the private authority's list of the revoked anew."""
    refused = [
        row for row in INCLUDED.capabilities(Policy.model_validate(tables)) if isinstance(row, Refusal)
    ]
    assert [row.key for row in refused] == ([key] if key else [])
