"""Patterns of `[clients.groups]`: what they may say, and whom they let in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.errors import PolicyError
from sealgate.policy.load import loads
from sealgate.policy.membership import Kind, matches
from sealgate.policy.model import Member

HEAD = '[site]\napp = "a:b"\n[clients]\nmode = "required"\n[clients.groups]\n'


@dataclass(frozen=True)
class Names:
    """What a certificate says."""

    common_name: str = ""
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    fingerprint: str = ""


def members(text: str) -> tuple[Member, ...]:
    policy = loads(HEAD + f"ops = {text}\n", path=Path("sealgate.toml"), environ={}).policy
    return policy.clients.groups["ops"]


@pytest.mark.parametrize(
    ("given_", "kind", "pattern"),
    (
        ('cn = "Älice"', "cn", "Älice"),
        ('uri = "spiffe://example.org/ops/*"', "uri", "spiffe://example.org/ops/*"),
        ('uri = "urn:example:a"', "uri", "urn:example:a"),
        ('dns = "*.Workers.Example.org"', "dns", "*.workers.example.org"),
        ('dns = "bücher.example"', "dns", "xn--bcher-kva.example"),
        ('email = "*@Example.ORG"', "email", "*@example.org"),
        ('email = "Alice@Example.ORG"', "email", "Alice@example.org"),
        (f'fingerprint = "{":".join(["AB"] * 32)}"', "fingerprint", "ab" * 32),
    ),
)
def test_patterns_are_normalised(given_: str, kind: str, pattern: str) -> None:
    (member,) = members(f'[{{ authority = "private", {given_} }}]')
    assert (member.kind, member.pattern) == (kind, pattern)


@pytest.mark.parametrize(
    ("text", "said"),
    (
        ('[{ authority = "private", cn = "a*" }]', "a star, which stands for nothing in a common name"),
        ('[{ authority = "private", cn = " a" }]', "no common name"),
        ('[{ authority = "private", cn = "a\\u0000" }]', "no common name"),
        ('[{ authority = "private", uri = "spiffe://*/a" }]', "a star that is not a whole segment"),
        ('[{ authority = "private", uri = "sp*://a/a" }]', "no URI in ASCII"),
        ('[{ authority = "private", uri = "spiffe://a/b*" }]', "a star that is not a whole segment"),
        ('[{ authority = "private", uri = "urn:example:*" }]', "a star that is not a whole segment"),
        ('[{ authority = "private", uri = "no-scheme" }]', "no URI in ASCII"),
        ('[{ authority = "private", uri = "https://e.org/a?x=/*" }]', "a star that is not a whole segment"),
        ('[{ authority = "private", uri = "https://e.org#/*/x" }]', "a star that is not a whole segment"),
        ('[{ authority = "private", dns = "127.0.0.1" }]', "no host name"),
        ('[{ authority = "private", email = "*@-" }]', "no mail address"),
        ('[{ authority = "private", email = "*@127.0.0.1" }]', "no mail address"),
        ('[{ authority = "private", dns = "a.*.example" }]', "no host name"),
        ('[{ authority = "private", dns = "*" }]', "no host name"),
        ('[{ authority = "private", email = "a*@example.org" }]', "no mail address"),
        ('[{ authority = "private", email = "a@*.org" }]', "no mail address"),
        ('[{ authority = "private", fingerprint = "abcd" }]', "not 64 hexadecimal digits"),
        ('[{ authority = "private" }]', "not exactly one of"),
        ('[{ authority = "private", cn = "a", dns = "a.example" }]', "not exactly one of"),
        ('[{ cn = "a" }]', "is missing"),
        ('[{ authority = "privat", cn = "a" }]', 'there is no authority "privat"'),
        ('[{ authority = "private", name = "a" }]', "unknown key"),
        ('"alice"', "put it in brackets"),
    ),
)
def test_what_would_mean_nothing_or_too_much_is_refused(text: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        members(text)
    (problem,) = caught.value.problems
    assert said in str(problem)
    assert problem.line == 6


@pytest.mark.parametrize("name", ("Ops", "a b", "", "ä", "-a", "a" * 64))
def test_names_of_groups_are_plain(name: str) -> None:
    with pytest.raises(PolicyError) as caught:
        loads(HEAD + f'"{name}" = []\n', path=Path("sealgate.toml"), environ={})
    (problem,) = caught.value.problems
    assert f'found the name "{name[:40]}' in str(problem)


def test_a_variable_gives_them_as_json() -> None:
    given_ = '{"ops": [{"authority": "private", "cn": "alice"}], "night": []}'
    text = HEAD.replace("[clients.groups]\n", "")
    policy = loads(text, path=Path("x"), environ={"SEALGATE_CLIENTS__GROUPS": given_}).policy
    assert list(policy.clients.groups) == ["ops", "night"]
    assert policy.clients.groups["ops"][0].pattern == "alice"
    with pytest.raises(PolicyError, match="lists of members"):
        loads(text, path=Path("x"), environ={"SEALGATE_CLIENTS__GROUPS": "ops"})


@pytest.mark.parametrize(
    ("kind", "pattern", "fits", "fits_not"),
    (
        (
            "cn",
            "alice",
            ("alice",),
            ("Alice", "alice ", "alice\0", "alice,O=x", "", "\N{CYRILLIC SMALL LETTER A}lice"),
        ),
        (
            "uri",
            "spiffe://example.org/ops/*",
            ("spiffe://example.org/ops/a", "spiffe://example.org/ops/a.b_c~d-e"),
            (
                *("spiffe://example.org/ops/", "spiffe://example.org/ops", "spiffe://example.org/ops/a/b"),
                *("spiffe://example.org/ops/..", "spiffe://example.org/ops/.", "spiffe://example.org/ops/*"),
                *("spiffe://example.org/ops/a%2Fb", "spiffe://example.org/ops/a\0", "spiffe://x/ops/a"),
                *(
                    "spiffe://example.org/ops/a\n",
                    "spiffe://example.org//ops/a",
                    "x:spiffe://example.org/ops/a",
                ),
            ),
        ),
        ("uri", "spiffe://example.org/*/x", ("spiffe://example.org/a/x",), ("spiffe://example.org/../x",)),
        (
            "dns",
            "*.example.org",
            ("a.example.org", "A.Example.Org", "xn--a.example.org"),
            (
                "example.org",
                ".example.org",
                "a.b.example.org",
                "*.example.org",
                "a.example.org.",
                "a_.example.org",
            ),
        ),
        (
            "dns",
            "example.org",
            ("example.org", "EXAMPLE.org"),
            ("a.example.org", "example.org.", "example.org\0"),
        ),
        (
            "email",
            "*@example.org",
            ("a@example.org", "a@Example.ORG"),
            (
                "@example.org",
                "a@b@example.org",
                "a@example.org.evil.example",
                "a@sub.example.org",
                "example.org",
            ),
        ),
        ("email", "Alice@example.org", ("Alice@EXAMPLE.org",), ("alice@example.org", "Alice@example.org\0")),
    ),
)
def test_who_fits(kind: Kind, pattern: str, fits: tuple[str, ...], fits_not: tuple[str, ...]) -> None:
    for text in fits:
        assert matches(kind, pattern, saying(kind, text)), text
    for text in fits_not:
        assert not matches(kind, pattern, saying(kind, text)), text


def saying(kind: Kind, text: str) -> Names:
    return {
        "cn": Names(common_name=text),
        "uri": Names(uris=("urn:other", text)),
        "dns": Names(dns_names=("other.example", text)),
        "email": Names(emails=("other@other.example", text)),
        "fingerprint": Names(fingerprint=text),
    }[kind]


@given(st.sampled_from(["cn", "uri", "dns", "email", "fingerprint"]), st.text(max_size=80))
def test_only_the_kind_that_is_named_counts(kind: Kind, text: str) -> None:
    """The same text under another kind of name is another name."""
    for other in ("cn", "uri", "dns", "email", "fingerprint"):
        if other != kind and text:
            assert not matches(kind, text, saying(other, text))


@given(st.text(max_size=40))
def test_a_star_is_one_part_and_no_more(text: str) -> None:
    assert matches("uri", "s://h/*/e", Names(uris=(f"s://h/{text}/e",))) == plain(text, "._~-")
    label = text.strip("-") == text
    assert matches("dns", "*.h", Names(dns_names=(f"{text}.h",))) == (plain(text.lower(), "-") and label)


def plain(text: str, more: str) -> bool:
    letters = text.isascii() and text.replace("-", "a").translate({ord(c): "a" for c in more}).isalnum()
    return bool(text) and letters and text not in {".", ".."}
