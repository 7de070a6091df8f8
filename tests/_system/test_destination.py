"""Where a stranger's address may lead."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate._system.destination import Destination, NotAllowed, destination_of, led_to, may_go

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
NOT = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
    "127.1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_the_whole_internet(text: str) -> None:
    assert may_go(text) is not None


@pytest.mark.parametrize("text", NOT)
def test_nowhere_else(text: str) -> None:
    assert may_go(text) is None


def test_one_of_ipv4_is_asked_as_such() -> None:
    assert str(may_go("::ffff:8.8.8.8")) == "8.8.8.8"


@pytest.mark.parametrize(
    "text", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::7", "8.8.8.8", "127.0.0.1"]
)
def test_listed_networks_are_exempt(text: str) -> None:
    allowed = [ipaddress.ip_network(one) for one in ("10.0.0.0/8", "fd00::/16", "127.0.0.1/32")]
    assert may_go(text, allowed) is not None
    assert may_go("192.168.0.1", allowed) is None
    assert may_go("127.0.0.2", allowed) is None
    assert may_go("fd01::7", allowed) is None


@given(st.ip_addresses())
def test_whatever_the_standard_library_calls_private_is(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_loopback or address.is_link_local or address.is_unspecified:
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        assert may_go(str(address)) is None or mapped is not None


SOUND = {
    "http://crl.test": Destination(secure=False, host="crl.test", port=80, target="/"),
    "HTTPS://CRL.Test:8443/a%20b?c=d#e": Destination(
        secure=True, host="crl.test", port=8443, target="/a%20b?c=d"
    ),
    "http://[2606:4700:0::1]/": Destination(secure=False, host="2606:4700::1", port=80, target="/"),
    "http://crl.test?x": Destination(secure=False, host="crl.test", port=80, target="/?x"),
}


@pytest.mark.parametrize("url", SOUND)
def test_an_address(url: str) -> None:
    assert destination_of(url) == SOUND[url]


def test_the_host_field() -> None:
    assert destination_of("http://[2606:4700::1]:80/").authority == "[2606:4700::1]"
    assert destination_of("http://crl.test:443/").authority == "crl.test:443"
    assert destination_of("https://crl.test:443/").authority == "crl.test"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "crl.test",
        "//crl.test/",
        "ldap://crl.test/",
        "file:///etc/passwd",
        "ftp://crl.test/",
        "http:///a",
        "http://a@crl.test/",
        "http://a:b@crl.test/",
        "http://@crl.test/",
        "http://crl.test:0/",
        "http://crl.test:65536/",
        "http://crl.test:x/",
        "http://crl.test\\@127.0.0.1/",
        "http://crl.test/\r\nHost: a",
        "http://crl.test/ a",
        "http://crl.test/\x00",
        "http://crl.t\u00e9st/",
        "http://crl%2etest/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://[v1.a]/",
        "http://a..b/",
        "http://-a.test/",
        "http://" + "a" * 255 + "/",
        "http://crl.test/" + "a" * 2048,
    ],
)
def test_no_address(url: str) -> None:
    with pytest.raises(NotAllowed):
        destination_of(url)


@given(st.text(max_size=60))
def test_any_text_is_answered(text: str) -> None:
    for url in (text, f"http://{text}", f"http://crl.test/{text}"):
        try:
            found = destination_of(url)
        except NotAllowed:
            continue
        assert destination_of(found.url) == found
        assert urlsplit(found.url).hostname == found.host


def test_redirects() -> None:
    here = destination_of("https://crl.test/a/b")
    assert led_to(here, "c").url == "https://crl.test/a/c"
    assert led_to(here, "//other.test/").url == "https://other.test/"
    assert led_to(destination_of("http://crl.test/"), "https://crl.test/").secure
    for location in ("", "http://crl.test/", "file:///a", "//[", "a\nb", "https://a@b/", "ldap://a/"):
        with pytest.raises(NotAllowed, match="a redirect"):
            led_to(here, location)
