"""Where others find the list of revoked clients, as far as it can be known."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealgate.policy.load import loads
from sealgate.policy.model import Policy
from sealgate.policy.published import PATH, list_url, publishes

USUAL = {
    "site.names": '["api.example.org"]',
    "listen.https": '["0.0.0.0:443"]',
    "listen.http": '["0.0.0.0:80"]',
    "clients.mode": '"optional"',
}
FOREIGN = '[{name = "partners", file = "partners.pem"}]'
BOTH = '[{name = "private"}, {name = "partners", file = "partners.pem"}]'
HTTP_01 = '{source = "acme"}'
SECURE_8443 = {"listen.https": '["0.0.0.0:8443"]'}
PLAIN_8080 = {"listen.http": '["0.0.0.0:8080"]'}
URL, OWN_PORT = {"site.url": '"https://api.example.org"'}, {"site.url": '"https://api.example.org:8443"'}


def policy(changes: dict[str, str]) -> Policy:
    text = "".join(f"{key} = {value}\n" for key, value in {**USUAL, **changes}.items())
    return loads(text, path=Path("/p/sealgate.toml"), environ={}).policy


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, "http://api.example.org"),
        ({"clients.mode": '"required"', "http.mode": '"refuse"'}, "http://api.example.org"),
        ({"clients.authorities": BOTH}, "http://api.example.org"),
        ({"site.names": '["localhost", "*.example.org", "b.example.org"]'}, "http://b.example.org"),
        (URL | {"site.names": '["a.example.org", "api.example.org"]'}, "http://api.example.org"),
        ({"site.names": '["9.9.9.9"]'}, "http://9.9.9.9"),
        ({"site.names": '["2620:fe::9"]'}, "http://[2620:fe::9]"),
        (OWN_PORT | SECURE_8443 | PLAIN_8080, "http://api.example.org:8080"),
        (URL | SECURE_8443, "http://api.example.org"),
    ],
)
def test_it_has_an_address(changes: dict[str, str], wanted: str) -> None:
    assert list_url(policy(changes)) == wanted + PATH


@pytest.mark.parametrize(
    "changes",
    [
        {"clients.mode": '"off"'},
        {"clients.authorities": FOREIGN},
        {"listen.http": "[]"},
        *({"site.names": f'["{name}"]'} for name in ("localhost", "a.localhost", "api.test", "api.internal")),
        *({"site.names": f'["{name}"]'} for name in ("printer.local", "10.1.2.3", "127.0.0.1", "fd00::1")),
        *({"site.names": f'["{name}"]'} for name in ("gateway", "*.example.org", "169.254.1.1", "::1")),
        # A forwarding may stand before it, of which nothing is known.
        PLAIN_8080,
        PLAIN_8080 | SECURE_8443,
        PLAIN_8080 | SECURE_8443 | URL,
        # Only this machine comes in there.
        {"listen.http": '["127.0.0.1:80"]'},
    ],
)
def test_it_is_no_guess(changes: dict[str, str]) -> None:
    assert list_url(policy(changes)) == ""


def test_where_an_authority_asks_by_http_01_port_80_leads_here() -> None:
    assert (
        list_url(policy(PLAIN_8080 | SECURE_8443 | {"certificate": HTTP_01}))
        == f"http://api.example.org{PATH}"
    )


def test_it_is_there_without_an_address_too() -> None:
    assert publishes(policy({"site.names": '["localhost"]', "listen.http": '["127.0.0.1:8080"]'}))
    assert not publishes(policy({"listen.http": "[]"}))
    assert not publishes(policy({"clients.authorities": FOREIGN}))
