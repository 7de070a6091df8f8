"""Which fields never reach an app."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.headers import is_spoofable, is_spoofable_variable

SPOOFABLE = [
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Forwarded-Client-Cert",
    "X-Real-IP",
    "X-Client-IP",
    "X-Client-Cert",
    "X-SSL-Client-Verify",
    "SSL-Client-S-DN",
    "Client-Cert",
    "Client-Cert-Chain",
    "Sealgate-Address",
    "Sealgate-Path",
    "Sealgate-Anything",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Envoy-External-Address",
    "X-Remote-User",
    "Remote-User",
    "Front-End-Https",
    "Proxy",
    "WL-Proxy-Client-IP",
    "Proxy-Client-IP",
    "X-Azure-ClientIP",
    "X-Script-Name",
    "X-Authenticated-User",
    "X-Goog-Authenticated-User-Email",
    "X-MS-Client-Principal-Name",
    "X-WEBAUTH-USER",
    "X-Consumer-Username",
    "X-ARR-ClientCert",
    "CloudFront-Forwarded-Proto",
]

THE_APPS_OWN = [
    "Host",
    "Accept",
    "Authorization",
    "Cookie",
    "Content-Type",
    "X-Request-Id",
    "X-HTTP-Method-Override",
    "X-Api-Key",
    "X-Requested-With",
    "Traceparent",
    "Proxy-Authorization",
    "X-Forwarder",
    "X-Consumer-Reports",
    "X-Script",
    "Real-Estate",
    "Sslice",
]


def spellings(name: str) -> list[str]:
    chance = random.Random(name)
    jumbled = "".join(chance.choice([letter.lower(), letter.upper()]) for letter in name)
    return [name, name.lower(), name.upper(), name.replace("-", "_"), jumbled, jumbled.replace("-", "_", 1)]


@pytest.mark.parametrize("name", SPOOFABLE)
def test_claims_of_proxies_in_any_spelling(name: str) -> None:
    for spelling in spellings(name):
        assert is_spoofable(spelling)
        assert is_spoofable_variable("HTTP_" + spelling.upper().replace("-", "_"))


@pytest.mark.parametrize("name", [name for name in THE_APPS_OWN if name != "X-Forwarder"])
def test_other_fields_stay(name: str) -> None:
    assert not is_spoofable(name)
    assert not is_spoofable_variable("HTTP_" + name.upper().replace("-", "_"))


@pytest.mark.parametrize(
    ("name", "spoofable"),
    (
        ("REMOTE_USER", True),
        ("AUTH_TYPE", True),
        ("SSL_CLIENT_VERIFY", True),
        ("SSL_CERT_FILE", False),
        ("REMOTE_ADDR", False),
        ("PATH_INFO", False),
        ("wsgi.input", False),
        ("FORWARDED", False),
    ),
)
def test_variables_that_are_no_fields(name: str, spoofable: bool) -> None:
    assert is_spoofable_variable(name) == spoofable


@given(st.text(max_size=30))
def test_spelling_never_matters(name: str) -> None:
    assert is_spoofable(name) == is_spoofable(name.replace("-", "_")) == is_spoofable(name.lower())
