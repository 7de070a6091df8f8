"""Where a key stands, in every way TOML lets it be written."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from sealgate.policy.positions import find_positions
from tests.policy.trees import TREES, written

EVERYTHING = '''\
version = 1 # "[site]"
"quoted \\u0061" = 'x' # line 2

[site]   # a table
names = [
    "one", # [listen]
    'two', "three",
    """
    four = 4
    """, '''
EVERYTHING += """'''
five''',
    [ 1, 2 ],
]
app . name = { a = 1, b = { c = "}" }, list = [ {x = 1}, {y = 2} ] }
[ http . hsts ]
max_age = 5 # seconds
when = 1979-05-27 07:32:00
[[authorities]]
name = "first"
[authorities.inner]
deep = true
[[authorities]]
name = "second"
[[authorities.sub]]
x = 1
[[authorities.sub]]
x = 2
"""

LINES = {
    ("version",): 1,
    ("quoted a",): 2,
    ("site",): 4,
    ("site", "names"): 5,
    ("site", "names", 0): 6,
    ("site", "names", 1): 7,
    ("site", "names", 2): 7,
    ("site", "names", 3): 8,
    ("site", "names", 4): 10,
    ("site", "names", 5): 12,
    ("site", "names", 5, 1): 12,
    ("site", "app"): 14,
    ("site", "app", "name"): 14,
    ("site", "app", "name", "a"): 14,
    ("site", "app", "name", "b", "c"): 14,
    ("site", "app", "name", "list", 1, "y"): 14,
    ("http",): 15,
    ("http", "hsts"): 15,
    ("http", "hsts", "max_age"): 16,
    ("http", "hsts", "when"): 17,
    ("authorities",): 18,
    ("authorities", 0): 18,
    ("authorities", 0, "name"): 19,
    ("authorities", 0, "inner"): 20,
    ("authorities", 0, "inner", "deep"): 21,
    ("authorities", 1): 22,
    ("authorities", 1, "name"): 23,
    ("authorities", 1, "sub"): 24,
    ("authorities", 1, "sub", 0): 24,
    ("authorities", 1, "sub", 0, "x"): 25,
    ("authorities", 1, "sub", 1, "x"): 27,
}


def test_every_way_to_write_a_key() -> None:
    tomllib.loads(EVERYTHING)  # or the table above means nothing
    positions = find_positions(EVERYTHING)
    assert {path: positions.line(path) for path in LINES} == LINES
    assert positions.twice == ()


@given(TREES)
def test_any_tree(data: dict[str, object]) -> None:
    text, where = written(data)
    assert tomllib.loads(text) == data
    lines = find_positions(text).lines
    assert {path: lines.get(path) for path in where} == where


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_not_toml_ends_the_walk_quietly(text: str) -> None:
    assert all(line >= 1 for line in find_positions(text).lines.values())


def test_cut_at_every_character() -> None:
    for end in range(len(EVERYTHING)):
        cut = find_positions(EVERYTHING[:end]).lines
        assert all(LINES.get(path, line) == line for path, line in cut.items())


def test_a_key_written_twice_is_noted_with_its_later_line() -> None:
    assert find_positions("[a]\nb = 1\nc = 2\nb = 3\n").twice == ((("a", "b"), 4),)


def test_the_nearest_line_of_a_missing_key_is_its_tables() -> None:
    positions = find_positions("\n[http.hsts]\nmax_age = 1\n")
    assert positions.nearest(("http", "hsts", "preload")) == 2
    assert positions.nearest(("site", "app")) is None


def test_deep_nesting_does_not_fly_past() -> None:
    assert find_positions("a = " + "[" * 100_000).line(("a",)) == 1
