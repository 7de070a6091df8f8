"""Foreign text on its way to a screen."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.policy.quoting import dotted, printable, shown


@given(st.text())
def test_only_printable_characters_remain(text: str) -> None:
    assert printable(text).isprintable()
    assert shown(text).isprintable()
    assert dotted((text, 0, text)).isprintable()
    printable(text).encode()  # no surrogate either


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\u202eevil", '"\\u202eevil"'),
        ("\U000e0041", '"\\U000e0041"'),
        ("\udcff", '"\\udcff"'),
        ("é日", '"é日"'),
        ("x" * 100, '"' + "x" * 59 + '…"'),
        ("https://u:p@h", '"https://…@h"'),
        ("-----BEGIN PRIVATE KEY-----\nabc", "PEM text"),
        (True, "true"),
        (5, "5"),
        (10**100, "a very large number"),
        (1.5, "1.5"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        ([], "an empty list"),
        ([1], "a list"),
        ({}, "a table"),
        (None, "nothing"),
    ],
)
def test_values(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("listen", "https", 1), "listen.https[1]"),
        (("a b", "c"), '"a b".c'),
        (("\n",), '"\\u000a"'),
        ((), ""),
    ],
)
def test_key_paths(path: tuple[str | int, ...], text: str) -> None:
    assert dotted(path) == text
