"""Combinations that contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.errors import PolicyError
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.policy.rules import RULES, name_matches

WRONG = {
    'site = {app = "a:b", upstream = "http://h"}': ["site.upstream: app and upstream are both set"],
    'listen.http3 = true\nclients.mode = "optional"': [
        "listen.http3: HTTP/3 together with client certificates"
    ],
    "listen = {http3 = true, proxy_protocol = true}": [
        "listen.http3: HTTP/3 together with the PROXY protocol"
    ],
    'certificate.source = "files"': [
        "certificate.files.chain: is missing",
        "certificate.files.key: is missing",
    ],
    'certificate = {source = "files", files = {chain = "c.pem"}}': ["certificate.files.key: is missing"],
    'certificate.files.key = "k.pem"': ["certificate.files.key: is set while"],
    'site = {names = ["*.a.example"], url = "https://a.example"}': ['site.url: its host "a.example" is none'],
    'site = {names = ["*.a.example"], url = "https://x.y.a.example"}': ["site.url: its host"],
    'site.names = ["a.example", "b.example", "A.example."]': ['site.names[2]: "a.example" a second time'],
    'site.names = ["::1", "[0:0::1]"]': ['site.names[1]: "::1" a second time'],
    'listen.https = ["127.0.0.1:1", "127.0.0.1:1"]': ["listen.https[1]: 127.0.0.1:1 a second time"],
    'listen = {https = ["127.0.0.1:1"], http = ["127.0.0.1:1"]}': [
        "listen.http[0]: 127.0.0.1:1 a second time"
    ],
    'listen = {https = ["0.0.0.0:1"], http = ["127.0.0.1:1"]}': [
        "listen.http[0]: 127.0.0.1:1 is already covered by 0.0.0.0:1"
    ],
    'listen.https = ["127.0.0.1:1", "0.0.0.0:1"]': ["listen.https[1]: 0.0.0.0:1 is already covered"],
    'listen.https = ["[::]:1", "[::1]:1"]': ["listen.https[1]: [::1]:1 is already covered by [::]:1"],
    'listen.https = ["127.0.0.1:1", "[::ffff:127.0.0.1]:1"]': ["listen.https[1]: 127.0.0.1:1 a second time"],
    "http.hsts.preload = true": ["http.hsts.preload: preload without include_subdomains"],
    "http.hsts = {preload = true, include_subdomains = true, max_age = 31535999}": [
        "http.hsts.preload: preload with max_age = 31535999"
    ],
    'tls.profile = "old@5.7"': ['tls.profile: there is no profile "old@5.7"'],
    'tls.profile = "modern@6.0"\ncertificate.key_type = "rsa-3072"': [
        'certificate.key_type: "rsa-3072" does not fit the profile modern@6.0'
    ],
    'timeouts = {headers = "31s"}': ["timeouts.headers: 31 s is longer than timeouts.request (30 s)"],
    'clients.authorities = [{file = "x.pem"}]': [
        'clients.authorities[0].file: a file for the authority "private"'
    ],
    'clients.authorities = [{name = "partners"}]': ["clients.authorities[0].file: no file for the authority"],
}

RIGHT = (
    "",
    'site.app = "a:b"',
    'site.names = ["192.0.2.1"]',
    'site.names = ["*.a.example"]',
    'site = {names = ["*.a.example"], url = "https://x.a.example:8443"}',
    'site = {names = ["::1"], url = "https://[::1]"}',
    'listen = {http = []}\nhttp.mode = "redirect"',
    'listen.https = ["0.0.0.0:1", "[::]:1"]',
    'listen.https = ["0.0.0.0:1", "127.0.0.1:2"]',
    "listen.http3 = true",
    'certificate = {source = "files", files = {chain = "c", key = "k"}, key_type = "rsa-3072"}',
    'certificate.key_type = "rsa-3072"',
    'tls.profile = "modern@6.0"',
    "http.hsts = {preload = true, include_subdomains = true, max_age = 31536000}",
    "http.hsts = {max_age = 0}",
    'timeouts = {headers = "30s"}',
    'limits.body = "0B"',
    'clients.mode = "required"',
    'clients = {mode = "required", authorities = [{name = "partners", file = "p.pem"}]}',
)


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_wrong(text: str, said: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        loads(text, path=Path("/p/sealgate.toml"), environ={})
    problems = caught.value.problems
    assert [f"{p.key}: {p.fact}"[: len(s)] for p, s in zip(problems, said, strict=True)] == said
    assert all(problem.line for problem in problems)


@pytest.mark.parametrize("text", RIGHT)
def test_right(text: str) -> None:
    loads(text, path=Path("/p/sealgate.toml"), environ={})


def test_every_key_that_a_rule_reads_is_there() -> None:
    """A misspelt key in the table would let a rule run on a policy with its wrong keys taken out."""
    for rule in RULES:
        for key in rule.reads:
            value: object = Policy()
            for part in key.split("."):
                value = getattr(value, part)


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.example", "a.example", True),
        ("a.example", "b.a.example", False),
        ("*.a.example", "b.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "c.b.a.example", False),
        ("*.a.example", "*.a.example", False),
    ],
)
def test_a_wildcard_is_one_label(pattern: str, host: str, *, matches: bool) -> None:
    assert name_matches(pattern, host) is matches
