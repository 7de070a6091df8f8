from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from sealgate.pki.authority import Issuer, build_issuing, build_root
from sealgate.pki.constraints import clients_constraints, covers, outside, servers_constraints
from sealgate.pki.keys import generate
from tests.pki.making import NOW

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
DOMAIN = (
    st.lists(LABEL, min_size=1, max_size=4)
    .map(".".join)
    .filter(lambda name: not name.replace(".", "").isdigit())
)
NAME = st.one_of(
    DOMAIN,
    DOMAIN.map(lambda name: f"*.{name}.example"),
    st.ip_addresses().filter(lambda ip: "%" not in str(ip)).map(str),
)


def authority(*names: str) -> x509.Certificate:
    key = generate("ecdsa-p256")
    root = Issuer(build_root(key, now=NOW), key)
    return build_issuing(root, "servers", key.public_key(), names=names)


@pytest.mark.parametrize(
    ("names", "name", "inside"),
    [
        ((), "localhost", True),
        ((), "a.b.localhost", True),
        ((), "notlocalhost", False),
        ((), "db.internal", True),
        ((), "printer.local", True),
        ((), "x.test", True),
        ((), "test.com", False),
        ((), "example.com", False),
        (("api.example.com",), "api.example.com", True),
        (("api.example.com",), "v2.api.example.com", True),
        (("api.example.com",), "example.com", False),
        (("api.example.com",), "*.api.example.com", True),
        (("*.example.com",), "example.com", True),
        (("*.example.com",), "*.example.org", False),
        ((), "127.0.0.1", True),
        ((), "127.255.1.1", True),
        ((), "10.1.2.3", True),
        ((), "172.31.0.1", True),
        ((), "172.32.0.1", False),
        ((), "192.168.1.1", True),
        ((), "8.8.8.8", False),
        (("8.8.8.8",), "8.8.8.8", True),
        (("8.8.8.8",), "8.8.8.9", False),
        ((), "::1", True),
        ((), "fd00::1", True),
        ((), "2001:db8::1", False),
        (("2001:db8::1",), "2001:db8::1", True),
    ],
)
def test_what_the_servers_authority_may_certify(names: tuple[str, ...], name: str, inside: bool) -> None:
    assert outside([name], authority(*names)) == (() if inside else (name,))


@given(st.lists(NAME, min_size=1, max_size=6, unique=True))
def test_the_sites_own_names_are_always_permitted(names: list[str]) -> None:
    constraints = servers_constraints(names)
    assert constraints.permitted_subtrees
    key = generate("ecdsa-p256")
    made = build_issuing(
        Issuer(build_root(key, now=NOW), key), "servers", key.public_key(), names=tuple(names)
    )
    assert outside(names, made) == ()


def test_local_names_are_not_listed_twice() -> None:
    plain, named = (
        servers_constraints(()),
        servers_constraints(("localhost", "a.test", "127.0.0.1", "*.b.internal")),
    )
    assert plain == named


def test_the_clients_authority_may_certify_no_host() -> None:
    constraints = clients_constraints()
    assert constraints.permitted_subtrees is None
    assert [subtree.value for subtree in constraints.excluded_subtrees or ()] == [
        "",
        ipaddress.ip_network("0.0.0.0/0"),
        ipaddress.ip_network("::/0"),
    ]


@pytest.mark.parametrize(
    ("certified", "name", "covered"),
    [
        (["a.example"], "a.example", True),
        (["A.Example"], "a.example", True),
        (["a.example"], "b.example", False),
        (["*.example.com"], "a.example.com", True),
        (["*.example.com"], "*.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "a.b.example.com", False),
        (["*.example.com"], "*.b.example.com", False),
        (["a.example.com"], "*.example.com", False),
        (["*.com"], "*.com", True),
        (["10.0.0.1"], "10.0.0.1", True),
        (["*.0.0.1"], "10.0.0.1", False),
        (["2001:DB8:0::1"], "2001:db8::1", True),
        (["::1"], "::2", False),
        ([], "a", False),
        (["*."], "a.", False),
    ],
)
def test_which_names_a_certificate_covers(certified: list[str], name: str, covered: bool) -> None:
    assert covers(certified, name) is covered


@given(st.lists(NAME, max_size=4), NAME)
def test_coverage_never_grows_out_of_nothing(certified: list[str], name: str) -> None:
    assert covers([*certified, name], name)
    if covers(certified, name) and name not in certified and not name.startswith("*."):
        assert any(one.startswith("*.") or ":" in one for one in certified)
