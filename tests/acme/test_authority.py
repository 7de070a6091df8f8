"""Whom a policy names, and the directory names of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.acme.authority import Authority, Binding, authorities
from sealgate.acme.order import Identifier, Obtained, identifiers
from sealgate.errors import PolicyError
from sealgate.policy.acme import Acme
from sealgate.policy.secrets import SecretRef


def test_the_authority_and_its_fallbacks_in_their_order(tmp_path: Path) -> None:
    acme = Acme.model_validate(
        {
            "directory": "https://one.example/dir",
            "contact": ["ops@example.com"],
            "profile": "shortlived",
            "external_account": {"kid": "k1", "hmac": {"env": "HMAC"}},
            "fallback": [
                "https://two.example/dir",
                {"directory": "https://three.example/dir", "ca_file": "root.pem", "profile": "tlsserver"},
            ],
        }
    )
    found = authorities(acme, base=tmp_path, environ={"HMAC": "c2VjcmV0"}, euid=0)
    assert [one.directory for one in found] == [f"https://{n}.example/dir" for n in ("one", "two", "three")]
    assert [one.profile for one in found] == ["shortlived", "", "tlsserver"]
    assert [one.ca_file for one in found] == [None, None, tmp_path / "root.pem"]
    assert all(one.contact == ("ops@example.com",) for one in found)
    binding = found[0].binding
    assert binding is not None
    assert binding.read().reveal() == b"c2VjcmV0"
    assert found[1].binding is None
    assert "c2Vj" not in repr(found)
    # What its directory needs of the secret is read when an account is made, and not before.
    authorities(acme, base=tmp_path, environ={}, euid=0)


def test_a_secret_that_is_missing_is_said_when_it_is_needed(tmp_path: Path) -> None:
    binding = Binding("k", SecretRef(file="missing"), tmp_path, {}, 0)
    with pytest.raises(PolicyError) as caught:
        binding.read()
    assert caught.value.code == "secret-missing"


URLS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=300).map("https://".__add__)


@given(URLS, URLS)
def test_an_id_is_a_file_name_of_its_own(one: str, two: str) -> None:
    names = Authority(one).id, Authority(two).id
    assert (names[0] == names[1]) == (one == two)
    for name in names:
        assert "/" not in name
        assert not name.startswith(".")
        assert 8 < len(name) < 80


@pytest.mark.parametrize(
    ("name", "identifier"),
    (
        ("API.example", Identifier("dns", "api.example")),
        ("*.example", Identifier("dns", "*.example")),
        ("192.0.2.1", Identifier("ip", "192.0.2.1")),
        ("2001:DB8:0::1", Identifier("ip", "2001:db8::1")),
        ("1.2.3", Identifier("dns", "1.2.3")),
    ),
)
def test_identifiers(name: str, identifier: Identifier) -> None:
    assert Identifier.of(name) == identifier
    assert identifiers((name, name)) == (identifier,)


def test_a_key_is_shown_nowhere_by_accident() -> None:
    got = Obtained(b"chain", b"-----BEGIN PRIVATE KEY-----", "https://ca.example/dir", "https://ca.example/1")
    assert "PRIVATE" not in repr(got)
