"""tools/check_repository.py: each rule finds what it is for, and the repository keeps them."""

from __future__ import annotations

import ast

import pytest

from tools import check_repository as check


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
    (finding,) = check.address("docs/x.md", f"fine\n{line}\n")
    assert (finding.rule, finding.line, finding.warning) == ("address", 2, False)


@pytest.mark.parametrize(
    "line", ["https://localhost:8443", "the work/ folder", "/var/lib/sealgate", "~/.pki"]
)
def test_addresses_that_are_fine(line: str) -> None:
    assert list(check.address("docs/x.md", line)) == []


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
