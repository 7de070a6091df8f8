"""Envoy's bootstraps are read with their lines, and what is made to harm ends soon and is said."""

from __future__ import annotations

import pytest

from sealgate.engines.configurations.directive import Configuration
from sealgate.engines.configurations.envoy import read_envoy
from sealgate.engines.configurations.library import Texts


def read(text: str, **more: str) -> Configuration:
    return read_envoy("/b/c/m", Texts({"/b/c/m": text} | more))


def seen(configuration: Configuration) -> list[tuple[str, str, int]]:
    return [(one.name, one.value, one.line) for one in configuration.root.walk()][1:]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (
            "a: 1\nb:\n- 2\n-\n  c: 3\n",
            [("a", "1", 1), ("b", "", 2), ("-", "2", 3), ("-", "", 5), ("c", "3", 5)],
        ),
        ('{"a":1,\n\t"bCamel":[true]}', [("a", "1", 1), ("b_camel", "", 2), ("-", "true", 2)]),
        ("a: &x {b: 1}\nc: *x\n", [("a", "", 1), ("b", "1", 1), ("c", "", 2), ("b", "1", 1)]),
        ("'@type': x.HttpConnection\nA: 1\n", [("@type", "x.HttpConnection", 1), ("A", "1", 2)]),
        ("? [a]\n: b\n", [("", "b", 1)]),
    ],
)
def test_keys_and_lines(text: str, expected: list[tuple[str, str, int]]) -> None:
    assert seen(read(text)) == expected


LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 300_000, "nested too deep"),
        ("- " * 300_000, "nested too deep"),
        ("{a: " * 100_000, "nested too deep"),
        ("a: &a\n  b: *a\n", "nested too deep; the rest was not read"),
        (LAUGHS, "too many keys; the rest was not read"),
        ("a: *b\n", "it is neither YAML nor JSON"),
        ("a: [\n", "it is neither YAML nor JSON"),
        ("a: \0\n", "it is neither YAML nor JSON"),
        ("a: 1\n---\nb: 1\n", "it is more than one document"),
        ("!!python/object/apply:os.system ['false']", "it is no bootstrap: there are no keys in it"),
        ("x: 1\nlds_config: {path: m}\n", "names /b/c/m, which is being read already"),
        ("rds: {config_source: {ads: {}}}\n", "it comes from another program (xDS)"),
    ],
)
def test_what_is_hostile_or_cannot_be_read_is_said(text: str, why: str) -> None:
    assert [one.why for one in read(text).unread] == [why]


def test_a_relative_file_is_looked_for_beside_the_bootstrap_and_above() -> None:
    text = "sds_config:\n  path_config_source:\n    path: d/s.yaml\n"
    for place in ("/b/c/d/s.yaml", "/b/d/s.yaml", "/d/s.yaml"):
        configuration = read(text, **{place: "found: 1\n"})
        assert configuration.unread == ()
        (one,) = (each for each in configuration.root.walk() if each.name == "found")
        assert (one.file, one.line) == (place, 1)
    (unread,) = read(text).unread
    assert unread.place == "/b/c/m:3"
    assert unread.why == "d/s.yaml cannot be read: No such file or directory"
