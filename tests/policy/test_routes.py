"""Patterns of paths: what they fit, and that the first rule is found whatever the order."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.policy.routes import ANY, Fitting, Pattern, PatternError, readings

FITS = {
    "/": (("/",), ("/a", "")),
    "/admin": (("/admin", "/admin/"), ("/", "/admin/a", "/Admin", "/admins", "/a/admin")),
    "/admin/**": (
        ("/admin", "/admin/", "/admin/a", "/admin/a/b", "/admin/a/"),
        ("/", "/admins", "/xadmin/a"),
    ),
    "/**": (("/", "/a", "/a/b/c", "/a/"), ("", "a")),
    "/a/*/c": (("/a/b/c", "/a/b/c/"), ("/a/c", "/a/b/b/c", "/a/b")),
    "/a/**/c": (("/a/c", "/a/b/c", "/a/b/b/c"), ("/a", "/a/b", "/a/cc", "/c")),
    "/files/*.txt": (("/files/a.txt", "/files/.txt"), ("/files/a.txt/b", "/files/a/b.txt", "/files/aXtxt")),
    "/orders/": (("/orders", "/orders/"), ("/orders/1",)),
    "/ä b/*": (("/ä b/c",), ("/a b/c", "/ä b")),
}


@pytest.mark.parametrize("text", FITS)
def test_what_fits(text: str) -> None:
    pattern, (yes, no) = Pattern.of(text), FITS[text]
    assert [path for path in yes if not pattern.fits(path)] == []
    assert [path for path in no if pattern.fits(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "admin/**",
        "//",
        "///",
        "/a//",
        "/a//b",
        "/a/../b",
        "/./a",
        "/a**",
        "/a/**b",
        "/a%2fb",
        "/a?b",
        "/a;b",
        "/a\nb",
        "/a\\b",
        "/" + "a" * 600,
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(PatternError):
        Pattern.of(text)


WORDS = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b"])
PATTERNS = st.lists(WORDS, max_size=4).map(lambda words: "/" + "/".join(words))
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "abb", "c"]), max_size=5).map(
    lambda words: "/" + "/".join(words)
)


def simply(text: str, path: str) -> bool:
    """The same by a walk over segments."""
    wanted = [part for part in text.split("/") if part]
    found = [part for part in path.split("/") if part]

    def walk(one: int, other: int) -> bool:
        if one == len(wanted):
            return other == len(found)
        if wanted[one] == "**":
            return any(walk(one + 1, at) for at in range(other, len(found) + 1))
        if other == len(found):
            return False
        expression = "".join(".*" if char == "*" else re.escape(char) for char in wanted[one])
        return re.fullmatch(expression, found[other]) is not None and walk(one + 1, other + 1)

    return walk(0, 0)


@given(PATTERNS, PATHS, st.booleans())
def test_as_a_walk_has_it(text: str, path: str, slash: bool) -> None:
    path = path + "/" if slash and path != "/" else path
    assert Pattern.of(text).fits(path) == simply(text, path), (text, path)


@given(
    st.lists(st.tuples(PATTERNS, st.sampled_from([(ANY,), ("GET",), ("POST", "PUT")])), max_size=12), PATHS
)
def test_the_first_that_fits_is_found(rules: list[tuple[str, tuple[str, ...]]], path: str) -> None:
    found = Fitting((Pattern.of(text), methods, at) for at, (text, methods) in enumerate(rules))
    for method in ("GET", "PUT", "get", "DELETE"):
        wanted = next(
            (
                at
                for at, (text, methods) in enumerate(rules)
                if (ANY in methods or method in methods) and simply(text, path)
            ),
            None,
        )
        assert found.of(method, path) == wanted


def test_other_readings() -> None:
    assert readings("/a/b") == ("/a/b",)
    assert readings("/admin;x=1/a;b") == ("/admin;x=1/a;b", "/admin/a")


@pytest.mark.parametrize("text", ["/**/a/**/a/**/a/**/a/**/b", "/" + "a*" * 200 + "b", "/**/" + "*a" * 200])
def test_no_path_takes_long(text: str) -> None:
    pattern, began = Pattern.of(text), time.process_time()
    for path in ("/a" * 4000 + "/c", "/" + "a" * 8000 + "c", "/" + "a" * 8000):
        pattern.fits(path)
    assert time.process_time() - began < 2.0
