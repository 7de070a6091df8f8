"""TLS is the profile's: versions, suites, and what is spoken above it."""

from __future__ import annotations

import contextlib
import ssl

import pytest

from sealgate.policy.profiles import load_profile
from tests.contract.sites import Site, on
from tests.live import hello
from tests.live.wire import get, h2_connection, read_until_closed, tell

ECDSA = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-ECDSA-CHACHA20-POLY1305": 0xCCA9,
}
CBC = (0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC024, 0xC027, 0xC028, 0x002F, 0x0035, 0x003C, 0x003D)
OLD = (0x009C, 0x009D, 0x009E, 0x000A, 0x0005, 0xC007, 0xC0AC, 0x0001, 0xC012)
EC = (hello.GROUPS["X25519"], hello.GROUPS["P-256"])
REFUSED = {
    40,
    70,
    71,
    86,
}  # handshake_failure, protocol_version, insufficient_security, inappropriate_fallback


def alert(site: Site, version: int, suites: tuple[int, ...]) -> int:
    """Of the server to this ClientHello; -1: it goes on with it, 0: it just closes."""
    served = site.served
    try:
        return hello.ask((served.host, served.https), hello.client_hello((version,), suites, EC)).alert
    except (ConnectionResetError, AssertionError):
        return 0


@on("usual")
@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302], ids=["SSL 3.0", "TLS 1.0", "TLS 1.1"])
def test_old_versions_are_refused(site: Site, version: int) -> None:
    assert alert(site, version, (*ECDSA.values(), *CBC, *OLD)) in {0, *REFUSED}


@on("usual")
@pytest.mark.parametrize("suites", [CBC, OLD], ids=["CBC", "others"])
def test_weak_suites_are_refused(site: Site, suites: tuple[int, ...]) -> None:
    assert alert(site, 0x0303, suites) in REFUSED


@on("usual")
def test_the_profiles_suites_are_served_one_by_one(site: Site) -> None:
    profile = load_profile("intermediate@6.0")
    served = {name for name, number in ECDSA.items() if alert(site, 0x0303, (number,)) == -1}
    assert served == {name for name in profile.tls12_suites if "ECDSA" in name}
    for suite in hello.TLS13:
        assert alert(site, 0x0304, (suite,)) == -1


@on("usual")
@pytest.mark.parametrize(
    ("version", "said"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_both_versions_answer(site: Site, version: ssl.TLSVersion, said: str) -> None:
    context = site.served.context(maximum_version=version)
    context.minimum_version = version
    with site.served.connect(context) as tls:
        assert tls.version() == said
        tls.sendall(get("localhost", "/x"))
        assert read_until_closed(tls).startswith(b"HTTP/1.1 200 ")


@on("tight")
def test_the_modern_profile_has_nothing_but_tls_13(site: Site) -> None:
    assert alert(site, 0x0303, tuple(ECDSA.values())) in REFUSED
    assert alert(site, 0x0304, hello.TLS13) == -1
    (answer,) = tell(site.served, get("localhost", "/x"))
    assert answer.status == 200


@on("usual")
def test_groups_are_from_the_profile(site: Site) -> None:
    """Those the server's library does not know are named in the capability; no other is ever served."""
    profile = load_profile("intermediate@6.0")
    taken = set()
    for name, number in hello.GROUPS.items():
        with contextlib.suppress(AssertionError, ConnectionResetError):  # closed without a word
            address = (site.served.host, site.served.https)
            answer = hello.ask(address, hello.client_hello((0x0304,), hello.TLS13, (number,)))
            if answer.retry and answer.group == number:
                taken.add(name)
    assert taken <= set(profile.groups)
    assert {"X25519", "P-256"} <= taken


@on("usual")
def test_what_is_spoken_above_tls(site: Site) -> None:
    with site.served.connect(alpn="h2") as tls:
        assert (tls.selected_alpn_protocol() == "h2") is ("h2" in site.alpns)
    if "h2" in site.alpns:
        connection = h2_connection(site.served)
        with connection.sock:
            answer = connection.ask("/x", "localhost")
        assert answer is not None
        assert answer.status == 200
