"""Durations, sizes, addresses and names, each normalised once."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from sealgate.policy.model import Policy
from sealgate.policy.values import (
    Address,
    App,
    Duration,
    Endpoint,
    Size,
    Upstream,
    Url,
    canonical_name,
    is_loopback_host,
    is_loopback_name,
)


def parsed(kind: Any, value: object) -> object:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (Duration, "500ms", 0.5),
        (Duration, "30s", 30),
        (Duration, "1.5m", 90),
        (Duration, "12h", 43200),
        (Duration, "90d", 7776000),
        (Size, "0", 0),
        (Size, "7B", 7),
        (Size, "16KiB", 16384),
        (Size, "1GiB", 1024**3),
        (Address, "127.0.0.1:1", Endpoint("127.0.0.1", 1)),
        (Address, "localhost:65535", Endpoint("127.0.0.1", 65535)),
        (Address, "[0::1]:443", Endpoint("::1", 443)),
        (Address, "[::ffff:192.0.2.1]:443", Endpoint("192.0.2.1", 443)),
        (Upstream, "unix:/run/a.sock", "unix:/run/a.sock"),
        (Upstream, "https://H/", "https://h:443"),
        (Upstream, "http://[0::1]:9", "http://[::1]:9"),
        (Url, "https://API.example:8443", "https://api.example:8443"),
        (Url, "https://[0::1]/", "https://[::1]"),
        (App, "a.b:c.d()", "a.b:c.d()"),
    ],
)
def test_right(kind: object, value: str, result: object) -> None:
    assert parsed(kind, value) == result


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Duration, ["30", "s", "-1s", "1e3s", "1 s", "\uff11s", "0s", "367d", "9" * 13 + "s", 30, 3.0, None]),
        (Size, ["1MB", "1 MiB", "-1", "1.5MiB", "2000GiB", "9" * 16, 1]),
        (
            Address,
            ["127.0.0.1", ":1", "::1:1", "[::1]", "a.example:1", "127.0.0.1:0", "127.0.0.1:99999",
             "127.0.0.1:\uff11", "[fe80::1%eth0]:1", "127.1:1", "[127.0.0.1:1", 8443],
        ),
        (
            Upstream,
            ["h:80", "ftp://h", "http://", "http://h/p", "http://h?q", "http://u@h", "http://*.h.example",
             "http://h:0", "unix:run/a.sock", "unix:/" + "a" * 107, "unix:/a\n", "http://h\r\n"],
        ),
        (Url, ["http://h", "https://", "https://h/p", "https://h:0", "https://a b", "https://u@h"]),
        (App, ["a", "a:", ":b", "a:b:c", "a:b(1)", "a b:c", "a:b\n", "1a:b", "a..b:c", "../a:b"]),
    ],
)  # fmt: skip
def test_wrong(kind: object, values: list[object]) -> None:
    for value in values:
        with pytest.raises(ValidationError):
            parsed(kind, value)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("LOCALHOST", "localhost"),
        ("Example.COM.", "example.com"),
        ("faß.example", "xn--fa-hia.example"),
        ("*.Example.com", "*.example.com"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("::1", "::1"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_names(given: str, name: str) -> None:
    assert canonical_name(given) == name


@pytest.mark.parametrize(
    "given",
    ["", " a", "\ta", "a b", "a\n", "a..b", ".", "_acme.example", "-a", "a-", "*", "*.com", "a.*.b",
     "1.2.3", "256.1.1.1", "a.1", "a.0x1f", "\uff11\uff12\uff17.0.0.1", "\u00b9", "0.0.0.0", "::",
     "224.0.0.1", "fe80::1%eth0", "a" * 64, "a." * 126 + "bc", "x" * 100_000, "a/b", "a:b", "a@b", "\udcff"],
)  # fmt: skip
def test_no_names(given: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\x00-\x1f]+$"):
        canonical_name(given)


@given(st.text())
def test_a_canonical_name_is_canonical(text: str) -> None:
    try:
        name = canonical_name(text)
    except ValueError:
        return
    assert canonical_name(name) == name
    assert name.isascii()
    assert name == name.lower()


@given(st.one_of(st.ip_addresses()), st.integers(1, 65535))
def test_an_endpoint_reads_back(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    endpoint = parsed(Address, f"{host}:{port}")
    assert isinstance(endpoint, Endpoint)
    assert parsed(Address, str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("localhost.example", False),
    ],
)
def test_loopback_names(name: str, *, local: bool) -> None:
    assert is_loopback_name(name) is local


@pytest.mark.parametrize(
    ("data", "url", "port"),
    [
        ({}, "https://localhost:8443", 8443),
        ({"site": {"names": ["*.a.example"]}}, "https://www.a.example:8443", 8443),
        ({"site": {"names": ["::1"]}, "listen": {"https": ["[::1]:443"]}}, "https://[::1]", 443),
        ({"site": {"names": ["a.example"], "url": "https://a.example"}}, "https://a.example", 443),
        ({"site": {"names": ["a.example"], "url": "https://a.example:1"}}, "https://a.example:1", 1),
    ],
)
def test_what_clients_type(data: dict[str, object], url: str, port: int) -> None:
    policy = Policy.model_validate(data)
    assert (policy.public_url, policy.public_port) == (url, port)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST.:8443", True),
        ("foo.localhost:", True),
        ("*.localhost", True),
        ("localhost.localdomain", True),
        ("127.0.0.1", True),
        ("127.1:80", True),
        ("::1", True),
        ("[::1]:8443", True),
        ("[0:0:0:0:0:0:0:1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("[::ffff:7f00:1]", True),
        ("", False),
        ("xlocalhost", False),
        ("localhost.example", False),
        ("127.example", False),
        ("127", False),
        ("1127.0.0.1", False),
        ("[::11]", False),
        ("[2001:db8::1]", False),
        ("localhost\n", False),
        ("localhost:8443x", False),
    ],
)
def test_what_leads_to_the_machine_itself(host: str, local: bool) -> None:
    assert is_loopback_host(host) is local


def test_hsts_is_short_on_loopback_names() -> None:
    policy = Policy.model_validate({"http": {"hsts": {"include_subdomains": True}}})
    assert policy.hsts_value("localhost") == "max-age=300"
    assert policy.hsts_value("a.example") == "max-age=63072000; includeSubDomains"
