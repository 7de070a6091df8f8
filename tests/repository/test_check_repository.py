"""tools/check_repository.py: each rule finds what it is for, and the repository keeps them."""

from __future__ import annotations

import ast

import pytest

from tools import check_repository as check

NOQA, IGNORED = "# no" + "qa", "# type: ig" + "nore"


@pytest.mark.parametrize(
    ("lines", "found"),
    [(400, []), (401, [True]), (600, [True]), (601, [False])],
)
def test_sizes(lines: int, found: list[bool]) -> None:
    assert [each.warning for each in check.size("src/sealgate/x.py", "x\n" * lines)] == found


def test_size_is_for_modules() -> None:
    assert list(check.size("docs/long.md", "x\n" * 5000)) == []


@pytest.mark.parametrize(
    "line",
    [
        "see https://pypi" + ".org/simple",
        "pip install --index" + "-url https://mirror.example",
        "cd /ro" + "ot/build",
        "path = '/ho" + "me/anna/sealgate'",
        "/wo" + "rk/main/src",
    ],
)
def test_addresses(line: str) -> None:
    (finding,) = check.address("docs/x.md", f"fine\nx = 1  {line}\n")
    assert (finding.rule, finding.line, finding.warning) == ("address", 2, False)


@pytest.mark.parametrize(
    "line", ["https://localhost:8443", "the work/ folder", "/var/lib/sealgate", "~/.pki"]
)
def test_addresses_that_are_fine(line: str) -> None:
    assert list(check.address("docs/x.md", line)) == []


@pytest.mark.parametrize(
    ("path", "line", "found"),
    [
        ("src/x.py", NOQA, 1),
        ("src/x.py", f"{NOQA}: E731", 1),
        ("tests/x.py", f"{NOQA}: E731 - ", 1),
        ("tests/x.py", f"{NOQA}: E731 - short", 0),
        ("src/x.py", f"{NOQA}: S101, PT018 - as above", 0),
        ("src/x.py", IGNORED, 1),
        ("src/x.py", f"{IGNORED}[misc]", 1),
        ("src/x.py", f"{IGNORED}[misc, arg-type]  # in no stub", 0),
        ("src/x.py", f"{IGNORED}[misc]  # in no stub  {NOQA}: E731", 1),
        ("tests/x.py", f"{IGNORED}[misc]", 0),
        ("docs/x.md", NOQA, 0),
    ],
)
def test_what_is_overlooked_says_why(path: str, line: str, found: int) -> None:
    assert [each.rule for each in check.reasons(path, f"fine\nx = 1  {line}\n")] == ["reason"] * found


@pytest.mark.parametrize("text", ["a\r\n", "a", "a \n", "\t\n"])
def test_whitespace(text: str) -> None:
    assert list(check.whitespace("x.md", text))


def test_codes_are_read_from_calls_of_error_classes() -> None:
    tree = ast.parse(
        "raise errors.StateError('state-full', 'x', 'y')\nlog('not-a-code')\nStateError(code, 1)"
    )
    assert list(check.error_codes(tree, frozenset({"StateError"}))) == [(1, "state-full")]


def test_a_code_without_a_page_and_a_bad_code_are_found() -> None:
    source = "StateError('no-such-page-exists', 'x', 'y')\nStateError('BadCode', 'x', 'y')"
    findings = [each for each in check.error_pages([("src/sealgate/x.py", source)]) if each.line]
    assert [(each.line, each.rule) for each in findings] == [(1, "error-page"), (2, "error-page")]
