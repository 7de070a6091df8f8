"""Which token a request carries: one, none, or a mistake; never a guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.tokens.credentials import Mistaken, bearer_of


@pytest.mark.parametrize(
    ("values", "token"),
    [
        ([], ""),
        (["Bearer abc"], "abc"),
        (["bearer a.b-c_d~e+f/g=="], "a.b-c_d~e+f/g=="),
        (["BEARER   abc"], "abc"),
        ([" Bearer abc\t"], "abc"),
        (["Basic eDp5"], ""),
        (["Negotiate"], ""),
        (['Digest username="a, b", nonce="x"'], ""),
        (["DPoP abc"], ""),
    ],
)
def test_one_or_none(values: list[str], token: str) -> None:
    assert bearer_of(values) == token


@pytest.mark.parametrize(
    "values",
    [
        [""],
        [" "],
        ["Bearer"],
        ["Bearer "],
        ["Bearer a b"],
        ["Bearer a, Bearer b"],
        ["Bearer a,Basic b"],
        ["Basic b, Bearer a"],
        ["Basic b,bearer a"],
        ["Bearer a;b"],
        ["Bearer é"],
        ["Bearer a\x00"],
        ["Bearer\ta"],
        ["Bearer a", "Bearer a"],
        ["Basic a", "Bearer b"],
        ["Basic a", "Basic a"],
        [": x"],
        ['"Bearer" a'],
        ["Bearer ="],
    ],
)
def test_a_mistake(values: list[str]) -> None:
    with pytest.raises(Mistaken, match=r"credentials-(twice|malformed)"):
        bearer_of(values)


@given(st.lists(st.text(alphabet=st.characters(max_codepoint=255), max_size=40), max_size=3))
def test_no_text_is_read_in_two_ways(values: list[str]) -> None:
    try:
        token = bearer_of(values)
    except Mistaken:
        return
    if token:
        assert values[0].strip(" \t").lower().startswith("bearer ")
        assert values[0].strip(" \t").endswith(token)
