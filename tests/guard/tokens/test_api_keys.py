"""API keys: what they look like, and which count."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.tokens.api_keys import api_keys_of, verified
from sealgate.guard.tokens.credentials import Mistaken, bearer_of, key_of
from sealgate.guard.tokens.refused import Refused
from sealgate.guard.tokens.verifier import Verifier
from sealgate.policy.api_keys import PATTERN, hashed, id_of, made_of, parts_of
from tests.guard.tokens.issuing import NOW, Published

KEY = made_of(bytes(range(8)), bytes(range(32)))


def row(key: Any = KEY, **said: Any) -> dict[str, Any]:
    return {
        "id": key.id,
        "hash": hashed(key.whole),
        "name": "billing",
        "scopes": ["a", "b"],
        "expires": None,
    } | said


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_what_one_looks_like(name: bytes, secret: bytes) -> None:
    key = made_of(name, secret)
    assert re.fullmatch(PATTERN, key.whole)
    assert parts_of(key.whole) == key
    assert id_of(key.whole) == key.id
    assert bearer_of([f"Bearer {key.whole}"]) == key_of([key.whole]) == key.whole
    assert key.whole.isascii()
    assert len(key.whole) == 69


def test_two_are_never_the_same() -> None:
    made = {made_of(os.urandom(8), os.urandom(32)).whole for _ in range(1000)}
    assert len(made) == 1000
    assert made_of(b"\xff" * 8, b"\xff" * 32).whole != made_of(b"\xff" * 8, b"\xfe" * 32).whole


@given(st.integers(0, len(KEY.whole) - 1), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_typing_error_is_none(at: int, character: str) -> None:
    typed = KEY.whole[:at] + character + KEY.whole[at + 1 :]
    assert (parts_of(typed) is None) is (typed != KEY.whole)


def refused(text: str, *rows: dict[str, Any], now: float = NOW) -> str:
    with pytest.raises(Refused) as caught:
        verified(text, api_keys_of(list(rows)), now)
    return str(caught.value)


def test_which_count() -> None:
    token = verified(KEY.whole, api_keys_of([row()]), NOW)
    assert (token.kind, token.issuer, token.subject, token.id) == ("api-key", "", "billing", KEY.id)
    assert (token.scopes, token.expires) == (frozenset({"a", "b"}), None)
    verified(KEY.whole, api_keys_of([row(expires=NOW + 1)]), NOW)
    assert refused(KEY.whole, row(expires=NOW)) == "api-key-expired"
    assert refused(KEY.whole) == "api-key-unknown"
    assert refused(KEY.whole[:-1]) == "api-key-malformed"
    same_name = made_of(bytes(range(8)), bytes(32))
    assert refused(same_name.whole, row()) == "api-key-unknown"


@pytest.mark.parametrize(
    "spoilt",
    [
        {"id": 7},
        {"id": ""},
        {"hash": None},
        {"name": ""},
        {"scopes": [7]},
        {"expires": "soon"},
        {"expires": True},
        {"more": 1},
    ],
)
def test_half_a_row_is_no_key(spoilt: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        api_keys_of([row() | spoilt])
    published = Published()
    published.raw(json.dumps({"api_keys": [row(), row() | spoilt]}).encode())
    with pytest.raises(Refused):
        Verifier([], published).api_key(KEY.whole, NOW)


def test_keys_come_and_go() -> None:
    published = Published()
    by = Verifier([], published)
    with pytest.raises(Refused):
        by.api_key(KEY.whole, NOW)
    published.raw(json.dumps({"api_keys": [row(expires=NOW + 9)]}).encode())
    token = by.api_key(KEY.whole, NOW)
    assert by.stands(token, NOW)
    assert not by.stands(token, NOW + 9)
    published.raw(json.dumps({"api_keys": []}).encode())
    assert not by.stands(token, NOW)


@pytest.mark.parametrize("values", [[""], ["a b"], ["a,b"], ["a", "a"], ["é"], ["a\0"], [" "]])
def test_a_field_that_is_no_key(values: list[str]) -> None:
    with pytest.raises(Mistaken):
        key_of(values)
    assert key_of([]) == ""
