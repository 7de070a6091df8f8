"""What every engine promises, and that no key of a policy is left to nobody."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal, enforced
from sealgate.engines.promises import LOSSLESS
from sealgate.engines.registry import engine, engine_ids
from sealgate.errors import PolicyError, UsageError
from sealgate.policy.fields import leaves, shape_at, shape_of
from sealgate.policy.load import loads
from sealgate.policy.model import Policy, Site

ROOT = Path(__file__).parents[2]
POLICIES = {
    "empty": "",
    "app": 'site = {app = "a:b", workers = 4, names = ["a.test", "*.a.test", "192.0.2.1", "localhost"]}',
    "upstream": 'site.upstream = "https://b.test"',
    "files": 'certificate = {source = "files", files = {chain = "c.pem", key = "k.pem"}}',
    "closed": 'listen.http = []\nhttp.mode = "refuse"\nlimits.body = "0"',
    "clients": 'clients.mode = "required"\nlisten.proxy_protocol = true',
    "acme": 'certificate.source = "acme"\nsite.names = ["a.example"]',
    "alpn": 'certificate = {source = "acme", acme.challenge = "tls-alpn-01"}\nsite.names = ["a.example"]',
    "dns": 'certificate = {source = "acme", acme = {challenge = "dns-01", dns.hook = "hook"}}\n'
    'site.names = ["*.a.example"]',
    "network": 'network = {allow = ["10.0.0.0/8", "::1", "192.0.2.1", "127.0.0.1"], deny = ["10.66.0.0/16"]}',
    "http3": 'listen.http3 = true\ntls.profile = "modern@6.0"',
}


def policy(name: str) -> Policy:
    return loads(POLICIES[name], path=Path("/p/sealgate.toml"), environ={}).policy


def rows(name: str, which: str = "envoy") -> tuple[Capability, ...]:
    return enforced(engine(which), policy(name))


def answers(name: str, which: str) -> tuple[Capability | Refusal, ...]:
    """Promises, and what this engine refuses to serve."""
    return engine(which).capabilities(policy(name))


def test_the_policy_names_the_engines_there_are() -> None:
    shape = shape_at(shape_of(Policy), ("site", "engine"))
    assert shape is not None
    assert sorted(shape.choices) == sorted(engine_ids())
    assert Site().engine in engine_ids()


@pytest.mark.parametrize("which", engine_ids())
def test_an_engine_is_whole(which: str) -> None:
    found = engine(which)
    assert found.id == which
    assert found.title
    assert found.versions
    for part in (found.capabilities, found.render, found.program, found.drive):
        assert callable(part)


@pytest.mark.parametrize("which", engine_ids())
@pytest.mark.parametrize("name", POLICIES)
def test_somebody_answers_for_every_key(which: str, name: str) -> None:
    """Nothing in a policy is ever silently dropped."""
    claimed = {row.key for row in answers(name, which)}
    # In front of an upstream there are no workers; without one there is no upstream.
    idle = {"site.app", "site.workers", "site.threads"} if name == "upstream" else {"site.upstream"}
    for path, _ in leaves(shape_of(Policy)):
        key = ".".join(path)
        parents = {".".join(path[:n]) for n in range(2, len(path) + 1)}
        assert claimed & parents or key in claimed or key in idle, key


@pytest.mark.parametrize("which", engine_ids())
@pytest.mark.parametrize("name", POLICIES)
def test_promises_are_about_keys_that_exist(which: str, name: str) -> None:
    for row in answers(name, which):
        assert row.key == ALWAYS or shape_at(shape_of(Policy), tuple(row.key.split("."))) is not None, row.key
        if isinstance(row, Refusal):
            assert row.reason
            assert row.way_out
        else:
            assert row.promise
            assert row.how


def test_one_promise_one_enforcer() -> None:
    for name in POLICIES:
        promises = [row.promise for row in rows(name)]
        assert len(promises) == len(set(promises))


@pytest.mark.parametrize(("name", "judge"), [("app", Enforcer.GUARD), ("upstream", Enforcer.ENGINE)])
def test_who_judges_requests(name: str, judge: Enforcer) -> None:
    found = {row.promise: row.enforcer for row in rows(name)}
    assert found["a path that is not canonical is 400"] is judge
    assert found["no header from outside speaks for a proxy"] is judge
    (names,) = [row for row in rows(name) if row.key == "site.names"]
    assert names.enforcer is judge


@pytest.mark.parametrize(
    ("name", "promise"),
    [
        ("app", "only a.test, *.a.test, 192.0.2.1 and 1 more; any other Host is 421"),
        ("app", "browsers use HTTPS only: max-age=63072000 and, on loopback names, max-age=300"),
        ("closed", "no plain HTTP port is open"),
        ("closed", "plain HTTP: nothing answers"),
        ("app", "plain HTTP: 308 to HTTPS on the same name, port 8443, path and query kept"),
        ("closed", "request body no body at all; any is 413, over HTTP/2 with a reset of the stream"),
        ("clients", "no handshake without a valid client certificate"),
        ("clients", "connections begin with the PROXY protocol"),
        ("http3", "TLS 1.3 only; 3 suites"),
        ("http3", "HTTP/3 on the same ports, without early data"),
        ("files", "the app cannot read the key: k.pem"),
        ("acme", "issued by https://acme-v02.api.letsencrypt.org/directory, proven by http-01"),
        ("alpn", "answers who offers acme-tls/1 and nothing else"),
        ("dns", "TXT records by hook"),
        ("upstream", "requests go to https://b.test:443 and nowhere else"),
    ],
)
def test_a_promise_in_the_policys_own_values(name: str, promise: str) -> None:
    assert promise in {row.promise for row in rows(name)}


@pytest.mark.parametrize(
    ("text", "key", "way_out"),
    [
        ('limits.headers = "1500B"', "limits.headers", '"1KiB" or "2KiB"'),
        ('timeouts.idle = "10.5ms"', "timeouts.idle", "whole milliseconds"),
    ],
)
def test_what_envoy_cannot_enforce_is_refused_with_the_way_out(text: str, key: str, way_out: str) -> None:
    wrong = loads(text, path=Path("/p/sealgate.toml"), environ={}).policy
    with pytest.raises(PolicyError) as caught:
        enforced(engine("envoy"), wrong)
    error = caught.value
    assert error.code == "engine-cannot"
    assert [problem.key for problem in error.problems] == [key]
    assert way_out in str(error)


@pytest.mark.parametrize("which", [each for each in engine_ids() if each != "envoy"])
def test_tls_alpn_is_envoys_alone(which: str) -> None:
    with pytest.raises(PolicyError) as caught:
        enforced(engine(which), policy("alpn"))
    (problem,) = [one for one in caught.value.problems if one.key == "certificate.acme.challenge"]
    assert '"http-01" or "dns-01", or site.engine = "envoy"' in problem.expected


@pytest.mark.parametrize("which", engine_ids())
@pytest.mark.parametrize("name", POLICIES)
def test_what_a_renewal_costs_is_said(which: str, name: str) -> None:
    """Apache's HTTP/2 is the one thing that is not as with the others: in words, and with the figures."""
    said = [row for row in answers(name, which) if "renewal" in getattr(row, "promise", "")]
    if which != "apache":
        assert said[-1] == LOSSLESS
        return
    (row,) = [row for row in said if row.key == "certificate"]
    assert isinstance(row, Capability)
    assert "no request over HTTP/1.1; over HTTP/2 it may cut a connection" in row.promise
    figures = re.findall(r"\d[\d,]* of \d[\d,]*", row.promise)
    measured = (ROOT / "docs/design/apache.md").read_text()
    assert figures
    assert all(
        f"{lost} of {of}" in measured or f"{lost} requests lost of {of}" in measured
        for lost, _, of in (each.partition(" of ") for each in figures)
    )


def test_all_refusals_at_once() -> None:
    refusals = (Refusal("a.b", "no", "c"), Refusal("d.e", "no", "f"))
    useless = dataclasses.replace(engine("envoy"), title="X", capabilities=lambda _: refusals)
    with pytest.raises(PolicyError, match=r"X cannot enforce a\.b: no \(and 1 more\)") as caught:
        enforced(useless, Policy())
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("name", "remedy"), [("envvoy", "use envoy, if that was meant"), ("x", "use one of apache, envoy, ")]
)
def test_an_unknown_engine(name: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        engine(name)
