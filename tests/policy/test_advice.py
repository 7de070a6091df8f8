"""Allowed, and worth a second look."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.policy.advice import advise
from sealgate.policy.load import loads

QUIET = 'site.app = "a:b"\n'
PUBLIC = """
site = {app = "a:b", names = ["a.example"]}
certificate = {source = "files", files = {chain = "c", key = "k"}}
"""

OBTAINED = """
site = {app = "a:b", names = ["a.example"]}
certificate = {source = "acme"}
http.mode = "refuse"
"""

CASES = [
    (OBTAINED + 'listen = {https = ["0.0.0.0:443"], http = ["127.0.0.1:8080"]}', ["listen.http"]),
    (OBTAINED + 'listen = {https = ["0.0.0.0:443"], http = ["0.0.0.0:8080"]}', ["listen.http"]),
    (OBTAINED + 'listen = {https = ["0.0.0.0:443"], http = ["0.0.0.0:80"]}', []),
    (QUIET, []),
    ("", ["site.app"]),
    (PUBLIC, ["listen.https"]),
    (PUBLIC + 'listen = {https = ["0.0.0.0:443"]}', []),
    (PUBLIC + 'listen = {https = ["0.0.0.0:443"], http = ["0.0.0.0:80"]}', ["http.mode"]),
    (PUBLIC + 'listen = {https = ["0.0.0.0:443"], http = ["0.0.0.0:80"]}\nhttp.mode = "refuse"', []),
    (PUBLIC + 'listen = {https = ["0.0.0.0:443"]}\nhttp.hsts.max_age = 0', ["http.hsts.max_age"]),
    (PUBLIC + 'listen = {https = ["0.0.0.0:443"], proxy_protocol = true}', ["listen.proxy_protocol"]),
    (QUIET + 'listen.https = ["0.0.0.0:8443"]', ["site.names"]),
    (
        'site = {app = "a:b", names = ["a.example"]}\nlisten.https = ["0.0.0.0:443"]',
        ["certificate.source"],
    ),
    (
        'site = {app = "a:b", names = ["a.test", "8.8.8.8"]}\nlisten.https = ["[::]:1"]',
        ["certificate.source"],
    ),
    ('site = {app = "a:b", names = ["a.test", "10.0.0.1", "b.home.arpa"]}\nlisten.https = ["[::]:1"]', []),
    (QUIET + "http.hsts.max_age = 0", []),
    (QUIET + 'certificate.key_type = "rsa-4096"', ["certificate.key_type"]),
    (QUIET + 'clients.mode = "optional"', ["clients.authorities", "clients.mode"]),
    (QUIET + 'clients.mode = "required"', ["clients.authorities"]),
    (QUIET + 'clients = {mode = "required", authorities = [{name = "a", file = "a.pem"}]}', []),
    (QUIET + "clients.authorities = [{}]", ["clients.authorities"]),
    ('site.upstream = "http://10.0.0.1:9000"', ["site.upstream"]),
    ('site.upstream = "http://[::1]:9000"', []),
    ('site.upstream = "https://10.0.0.1"', []),
    ('site = {upstream = "http://127.0.0.1", workers = 2, threads = 3}', ["site.workers", "site.threads"]),
    (QUIET + 'timeouts = {handshake = "31s", idle = "2h"}', ["timeouts.handshake", "timeouts.idle"]),
]


@pytest.mark.parametrize(("text", "keys"), CASES)
def test_cases(text: str, keys: list[str]) -> None:
    policy = loads(text, path=Path("/p/sealgate.toml"), environ={}).policy
    assert [advice.key for advice in advise(policy)] == keys
