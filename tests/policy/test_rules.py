"""Combinations that contradict each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.errors import PolicyError
from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.policy.rules import RULES, name_matches

UPSTREAM = (
    'site.upstream = "http://127.0.0.1:9000"\nsite.engine = "nginx"\n'
    'clients.mode = "required"\nclients.authorities = '
)
ACME = 'certificate.source = "acme"\nsite.names = ["a.example"]\n'

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
    'certificate.second_key_type = "ecdsa-p384"': [
        'certificate.second_key_type: "ecdsa-p384" beside "ecdsa-p256": servers hold one of each family'
    ],
    'certificate = {key_type = "rsa-3072", second_key_type = "rsa-4096"}': [
        'certificate.second_key_type: "rsa-4096" beside "rsa-3072"'
    ],
    'tls.profile = "modern@6.0"\ncertificate.second_key_type = "rsa-3072"': [
        'certificate.second_key_type: "rsa-3072" does not fit the profile modern@6.0'
    ],
    'certificate = {source = "files", files = {chain = "c", key = "k"}, second_key_type = "rsa-3072"}': [
        'certificate.second_key_type: is set while certificate.source is "files"'
    ],
    'timeouts = {headers = "31s"}': ["timeouts.headers: 31 s is longer than timeouts.request (30 s)"],
    'clients.authorities = [{file = "x.pem"}]': [
        'clients.authorities[0].file: a file for the authority "private"'
    ],
    "certificate.acme.challenge = 'dns-01'": ["certificate.acme.challenge: is set while certificate.source"],
    ACME + "certificate.acme.challenge = 'http-01'\nlisten.http = []": [
        "certificate.acme.challenge: http-01 while listen.http is closed"
    ],
    'certificate.source = "acme"\nsite.names = ["*.a.example"]': [
        'site.names[0]: "*.a.example" cannot be proven by http-01'
    ],
    'certificate.source = "acme"\nsite.names = ["a.example", "*.a.example"]\n'
    'certificate.acme.challenge = "tls-alpn-01"': [
        'site.names[1]: "*.a.example" cannot be proven by tls-alpn-01'
    ],
    'certificate.source = "acme"\nsite.names = ["9.9.9.9"]\n'
    'certificate.acme = {challenge = "dns-01", dns.hook = "h"}': [
        'site.names[0]: "9.9.9.9" cannot be proven'
    ],
    ACME + 'certificate.acme.challenge = "dns-01"': ["certificate.acme.dns: nothing says how records come"],
    ACME + 'certificate.acme = {challenge = "dns-01", dns = {hook = "h", rfc2136 = {server = "192.0.2.53", '
    'key_name = "k", key = {env = "K"}}}}': ["certificate.acme.dns: rfc2136 and hook are both set"],
    ACME + 'certificate.acme.dns.hook = "h"': [
        "certificate.acme.dns: is set while certificate.acme.challenge is"
    ],
    'certificate.source = "acme"': [
        'certificate.source: no public authority signs "localhost", and acme-v02.api'
    ],
    'certificate.source = "acme"\nsite.names = ["a.example", "b.test", "c.internal", "10.0.0.1"]': [
        'site.names[1]: no public authority signs "b.test"',
        'site.names[2]: no public authority signs "c.internal"',
        'site.names[3]: no public authority signs "10.0.0.1"',
    ],
    'certificate = {source = "acme", acme = {directory = "https://127.0.0.1/d", '
    'fallback = ["https://b.example/d"]}}\nsite.names = ["localhost"]': [
        'site.names[0]: no public authority signs "localhost", and b.example would refuse'
    ],
    ACME + 'tls.profile = "modern@6.0"\ncertificate.key_type = "rsa-3072"': [
        'certificate.key_type: "rsa-3072" does not fit the profile modern@6.0'
    ],
    'clients.authorities = [{name = "partners"}]': ["clients.authorities[0].file: no file for the authority"],
    'clients.authorities = [{}, {name = "a", file = "a.pem"}, {name = "a", file = "b.pem"}]': [
        'clients.authorities[2].name: there is an authority "a" already'
    ],
    'clients.authorities = [{name = "a", file = "a.pem", crl = "off", grace = "1h"}]': [
        'clients.authorities[0].grace: how long lists of "a" still count'
    ],
    UPSTREAM + '[{name = "a", file = "a.pem"}]': [
        'clients.authorities[0].crl: lists of "a" that would be fetched, before an upstream'
    ],
    'clients.authorities = [{crl = "off"}]': [
        "clients.authorities[0].crl: another list for the private authority"
    ],
    'clients.authorities = [{ocsp = "fallback"}]': ["clients.authorities[0].ocsp: OCSP where no certificate"],
    'clients.authorities = [{name = "a", file = "a.pem", crl = "a.crl", ocsp = "fallback"}]': [
        "clients.authorities[0].ocsp: OCSP where no certificate"
    ],
    UPSTREAM + '[{}, {name = "a", file = "a.pem", crl = "off"}]': [
        'clients.authorities[1].crl: no lists of "a" beside an authority with lists, before an upstream'
    ],
    UPSTREAM + '[{name = "a", file = "a.pem", crl = "a.crl", grace = "1h"}]': [
        "clients.authorities[0].grace: grace before an upstream"
    ],
}

RIGHT = (
    "",
    UPSTREAM + '[{name = "a", file = "a.pem", crl = "off"}, {name = "b", file = "b.pem", crl = "off"}]',
    'clients.authorities = [{name = "a", file = "a.pem", grace = "1h", ocsp = "fallback"}]',
    'clients.authorities = [{name = "a", file = "a.pem", crl = "http://[2001:db8::1]:8080/a.crl"}]',
    UPSTREAM + '[{}, {name = "a", file = "a.pem", crl = "a.crl"}]',
    'clients.authorities = [{name = "a", file = "a.pem", crl = "a.crl", grace = "1h"}, {}]',
    ACME,
    ACME + 'listen.http = []\ncertificate.acme.challenge = "tls-alpn-01"',
    ACME + 'listen.http = []\ncertificate.acme = {challenge = "dns-01", dns.hook = "h"}',
    'certificate.source = "acme"\nsite.names = ["9.9.9.9", "2620:fe::fe"]',
    'certificate = {source = "acme", acme.directory = "https://localhost:14000/dir"}',
    'certificate = {source = "acme", acme.directory = "https://[::1]:14000/dir"}',
    'certificate = {source = "acme", acme = {directory = "https://ca.example/d", ca_file = "root.pem"}}',
    "certificate.acme.dns = {}",
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
    'certificate.second_key_type = "rsa-3072"',
    'certificate = {key_type = "rsa-4096", second_key_type = "ecdsa-p384"}',
    ACME + 'certificate.second_key_type = "rsa-4096"',
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
