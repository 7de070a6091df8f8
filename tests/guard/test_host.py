"""Which Host values are the site's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.compiled import Compiled
from sealgate.guard.host import is_site_host
from tests.guard.exchange import compiled

SITE = compiled(
    site={"names": ["api.example.com", "*.example.org", "192.0.2.1", "2001:db8::1", "münchen.example"]},
    listen={"https": ["127.0.0.1:8443", "127.0.0.1:9443"]},
)
MAPPED = compiled(site={"names": ["api.example.com"], "url": "https://api.example.com"})


@pytest.mark.parametrize(
    "host",
    (
        "api.example.com",
        "api.example.com:8443",
        "api.example.com:9443",
        "API.Example.COM:8443",
        "www.example.org",
        "www.example.org:8443",
        "WWW.EXAMPLE.ORG",
        "192.0.2.1",
        "192.0.2.1:8443",
        "[2001:db8::1]",
        "[2001:db8::1]:9443",
        "[2001:DB8:0:0::1]:8443",
        "xn--mnchen-3ya.example",
    ),
)
def test_hosts_of_the_site(host: str) -> None:
    assert is_site_host(SITE, host)


@pytest.mark.parametrize(
    "host",
    (
        "",
        "evil.example",
        "example.com",
        "api.example.com.",
        "api.example.com:",
        "api.example.com:443",
        "api.example.com:08443",
        "api.example.com:8443:8443",
        "api.example.com:8443@evil.example",
        "user@api.example.com",
        "api.example.com,api.example.com",
        "api.example.com evil.example",
        " api.example.com",
        "api.example.com\n",
        "api.example.com/",
        "api.example.com%00",
        "xapi.example.com",
        "api.example.comx",
        "example.org",
        ".example.org",
        "a.b.example.org",
        "*.example.org",
        "-.example.org.",
        "192.0.2.01",
        "192.0.2.2",
        "2001:db8::1",
        "[2001:db8::2]",
        "[2001:db8::1",
        "[::ffff:192.0.2.1]",
        "[2001:db8::1%eth0]",
        "münchen.example",
        "api.example.com:٨٤٤٣",
        "a" * 300 + ".example.org",
    ),
)
def test_others(host: str) -> None:
    assert not is_site_host(SITE, host)


def test_where_ports_are_mapped_clients_name_the_public_one() -> None:
    assert is_site_host(MAPPED, "api.example.com:443")
    assert is_site_host(MAPPED, "api.example.com:8443")
    assert not is_site_host(MAPPED, "api.example.com:9443")


def test_a_site_of_very_many_names_still_knows_all_of_them() -> None:
    names = [f"n{number}.example.com" for number in range(1000)]
    ports = [f"127.0.0.1:{8000 + number}" for number in range(20)]
    site = compiled(site={"names": names}, listen={"https": ports})
    assert len(site.usual_hosts) < len(names) * len(ports)
    assert all(is_site_host(site, f"{name}:8019") for name in names)


@given(st.text(max_size=40))
def test_hostile_hosts_never_crash_and_never_pass(host: str) -> None:
    site: Compiled = compiled(site={"names": ["q.test"]})
    assert is_site_host(site, host) == (host.lower() in {"q.test", "q.test:8443"} and host.isascii())
