"""Whom a trusted proxy forwards for: never what the client wrote himself, and never a guess."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.forwarded import MOST_HOPS, Garbled, client_of
from sealgate.policy.network import admitted

OURS = admitted(("10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1/32"), ())
PROXY = "10.0.0.1"


def xff(*fields: str, peer: str = PROXY) -> str:
    return client_of(peer, OURS, [], fields)


def forwarded(*fields: str, peer: str = PROXY) -> str:
    return client_of(peer, OURS, fields, [])


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        ((), PROXY),
        (("192.0.2.7",), "192.0.2.7"),
        (("192.0.2.7:1234",), "192.0.2.7"),
        (("2001:db8::1",), "2001:db8::1"),
        (("[2001:db8::1]",), "2001:db8::1"),
        (("[2001:DB8::1]:443",), "2001:db8::1"),
        (("::ffff:192.0.2.7",), "192.0.2.7"),
        (("198.51.100.1, 192.0.2.7",), "192.0.2.7"),
        (("198.51.100.1, 192.0.2.7, 10.9.9.9",), "192.0.2.7"),
        (("198.51.100.1", "192.0.2.7", "10.9.9.9, 2001:db8:1::5"), "192.0.2.7"),
        (("garbage, <script>, 192.0.2.7",), "192.0.2.7"),
        ((", ,192.0.2.7",), "192.0.2.7"),
        (("10.2.2.2, 10.3.3.3",), "10.2.2.2"),
    ],
)
def test_x_forwarded_for(fields: tuple[str, ...], client: str) -> None:
    assert xff(*fields) == client


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        (("for=192.0.2.7",), "192.0.2.7"),
        (("For=192.0.2.7;proto=http;by=203.0.113.43",), "192.0.2.7"),
        (('for="[2001:db8:cafe::17]:4711"',), "2001:db8:cafe::17"),
        (('for="192.0.2.7:80"',), "192.0.2.7"),
        (("for=198.51.100.1, for=192.0.2.7;by=10.0.0.2",), "192.0.2.7"),
        (("for=198.51.100.1,for=192.0.2.7", "for=10.1.1.1"), "192.0.2.7"),
        (('for=_hidden, host="a,b;for=1.2.3.4", for=192.0.2.7',), "192.0.2.7"),
        ((r'for="192.0.2.\7"',), "192.0.2.7"),
    ],
)
def test_forwarded(fields: tuple[str, ...], client: str) -> None:
    assert forwarded(*fields) == client


@pytest.mark.parametrize(
    "field",
    [
        "",
        " ",
        ",",
        "192.0.2.7,",
        "unknown",
        "_x",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.7:",
        "192.0.2.7:x",
        "[::1",
        "::1]",
        "fe80::1%eth0",
        "192.0.2.7 10.0.0.1",
        "localhost",
        "192.0.2.07",
        "\u0661.2.3.4",
        "0x7f.1",
        "198.51.100.1, nonsense",
        "nonsense, 10.1.1.1",
    ],
)
def test_garbage_where_it_must_be_read(field: str) -> None:
    with pytest.raises(Garbled):
        xff(field)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "for=",
        "for=unknown",
        "for=_x",
        'for="',
        "for=192.0.2.7;for=192.0.2.8",
        "by=10.0.0.1",
        "192.0.2.7",
        "for=2001:db8::1",
        'for="192.0.2.7',
        'for=9.9.9.9;x=", for=192.0.2.7',
        'for=9.9.9.9;x=", for="[2001:db8::1]:80"',
        "for=192.0.2.7 x",
        "for=é",
    ],
)
def test_garbage_in_the_other(field: str) -> None:
    with pytest.raises(Garbled):
        forwarded(field)


def test_who_is_not_ours_says_what_he_likes() -> None:
    for peer in ("192.0.2.1", "::1", "2001:db8::5"):
        assert xff("9.9.9.9", peer=peer) == peer
        assert forwarded("garbage", peer=peer) == peer


def test_both_must_say_the_same() -> None:
    assert client_of(PROXY, OURS, ["for=192.0.2.7"], ["192.0.2.7"]) == "192.0.2.7"
    with pytest.raises(Garbled, match="twice"):
        client_of(PROXY, OURS, ["for=192.0.2.7"], ["192.0.2.8"])


def test_it_has_an_end() -> None:
    assert xff(", ".join(["10.0.0.2"] * MOST_HOPS)) == "10.0.0.2"
    for long in (", ".join(["10.0.0.2"] * (MOST_HOPS + 1)), "10.0.0.2," * 100_000 + "10.0.0.2"):
        with pytest.raises(Garbled):
            xff(long)
    with pytest.raises(Garbled):
        forwarded("for=10.0.0.2," * 100_000)
    with pytest.raises(Garbled):
        forwarded("a=b;" * 4000 + "\x00")


ADDRESSES = st.one_of(
    st.sampled_from(["10.1.2.3", "10.9.9.9", "2001:db8:1::7"]),
    st.ip_addresses().map(str),
    st.just("127.0.0.1"),
)


@given(st.lists(ADDRESSES, max_size=12), st.lists(st.text(max_size=20), max_size=3))
def test_against_the_words_of_the_rule(hops: list[str], written: list[str]) -> None:
    """The rightmost that is not ours; what he wrote himself makes no difference."""
    strangers = [one for one in hops if not OURS.admits(_plain(one))]
    expected = _plain(strangers[-1]) if strangers else _plain(hops[0]) if hops else PROXY
    assert xff(*([", ".join(hops)] if hops else [])) == expected
    if strangers:
        own = ",".join(one.replace(",", "") for one in written)
        assert xff(own, *hops) == expected
    quoted = [f'for="[{one}]"' if ":" in one else f"for={one}" for one in hops]
    assert forwarded(*([", ".join(quoted)] if hops else [])) == expected


def _plain(text: str) -> str:
    address = ipaddress.ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address)


@given(st.text(max_size=100), st.text(max_size=100))
def test_any_text(one: str, other: str) -> None:
    try:
        found = client_of(PROXY, OURS, [one], [other])
    except Garbled:
        return
    ipaddress.ip_address(found)
