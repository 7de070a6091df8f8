"""What an authority's problems mean to the people here."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.acme.problems import _MEANINGS, _SAME, Problem, error_of, host_of, quoted
from sealgate.errors import Fault

PAGES = Path(__file__).parents[2] / "docs" / "errors"


@pytest.mark.parametrize(
    ("problem", "code", "fault"),
    (
        (Problem("rateLimited"), "acme-rate-limited", Fault.PEER),
        (Problem("userActionRequired"), "acme-action-required", Fault.CONFIGURATION),
        (Problem("externalAccountRequired"), "acme-external-account-required", Fault.CONFIGURATION),
        (Problem("accountDoesNotExist"), "acme-account-missing", Fault.PEER),
        (Problem("caa"), "acme-caa", Fault.CONFIGURATION),
        (Problem("dns"), "acme-dns", Fault.CONFIGURATION),
        (Problem("connection"), "acme-connection", Fault.CONFIGURATION),
        (Problem("tls"), "acme-tls", Fault.CONFIGURATION),
        (Problem("unauthorized"), "acme-unauthorized", Fault.CONFIGURATION),
        (Problem("incorrectResponse"), "acme-unauthorized", Fault.CONFIGURATION),
        (Problem("rejectedIdentifier"), "acme-name-refused", Fault.CONFIGURATION),
        (Problem("unsupportedIdentifier"), "acme-name-refused", Fault.CONFIGURATION),
        (Problem("invalidProfile"), "acme-profile-unknown", Fault.CONFIGURATION),
        (Problem("badCSR"), "acme-request-refused", Fault.CONFIGURATION),
        (Problem("badPublicKey"), "acme-request-refused", Fault.CONFIGURATION),
        (Problem("invalidContact"), "acme-contact-refused", Fault.CONFIGURATION),
        (Problem("unsupportedContact"), "acme-contact-refused", Fault.CONFIGURATION),
        (Problem("alreadyReplaced"), "acme-already-replaced", Fault.PEER),
        (Problem("badNonce"), "acme-nonces-refused", Fault.PEER),
        (Problem("serverInternal"), "acme-authority-failed", Fault.PEER),
        (Problem("", status=503), "acme-authority-failed", Fault.PEER),
        (Problem("", status=404), "acme-refused", Fault.PEER),
        (Problem("", status=429), "acme-rate-limited", Fault.PEER),
        (Problem("malformed"), "acme-refused", Fault.PEER),
        (Problem("neverHeardOf", status=500), "acme-refused", Fault.PEER),
        # Of several, the one that says something (RFC 8555 §6.7.1).
        (
            Problem("compound", parts=(Problem("odd"), Problem("caa", name="a.example"))),
            "acme-caa",
            Fault.CONFIGURATION,
        ),
        (
            Problem("malformed", parts=(Problem("rejectedIdentifier"),)),
            "acme-name-refused",
            Fault.CONFIGURATION,
        ),
    ),
)
def test_each_kind_has_a_code_and_a_fault(problem: Problem, code: str, fault: Fault) -> None:
    error = error_of(problem, "ca.example", names=("a.example",))
    assert (error.code, error.fault) == (code, fault)
    assert error.details["names"] == ("a.example",)
    assert (PAGES / f"{code}.md").is_file()


def test_every_meaning_has_a_page() -> None:
    assert all((PAGES / f"{meaning.code}.md").is_file() for meaning in _MEANINGS.values())
    assert set(_SAME.values()) <= set(_MEANINGS)


def test_what_is_said_when_and_of_whom() -> None:
    problem = Problem("compound", "Some failed", parts=(Problem("caa", "CAA says no", name="b.example"),))
    when = datetime(2026, 3, 1, 12, tzinfo=UTC)
    error = error_of(problem, "ca.example", names=("a.example",), retry_at=when)
    assert error.details["names"] == ("b.example",)
    assert error.details["retry_at"] == "2026-03-01T12:00:00+00:00"
    assert '"Some failed"; "CAA says no"' in error.fact
    assert "until 2026-03-01 12:00:00 UTC" in error.fact


TEXT = st.text(max_size=500)
KINDS = st.sampled_from([*_MEANINGS, *_SAME, "compound", ""]) | TEXT
PARTS = st.lists(st.builds(Problem, KINDS, TEXT, name=TEXT), max_size=20).map(tuple)


@given(
    st.builds(Problem, KINDS, TEXT, st.integers(), TEXT, TEXT, PARTS), st.lists(TEXT, max_size=3).map(tuple)
)
def test_hostile_texts_become_a_short_printable_sentence(problem: Problem, names: tuple[str, ...]) -> None:
    error = error_of(problem, "ca.example", names=names)
    assert str(error).isprintable()
    assert len(str(error)) < 8000


@given(TEXT)
def test_quoted_is_one_printable_piece(text: str) -> None:
    piece = quoted(text)
    assert piece.isprintable()
    assert piece.count('"') == 2


@pytest.mark.parametrize(
    ("url", "host"),
    (
        ("https://ca.example:14000/dir", "ca.example"),
        ("https://[2001:db8::1]/dir", "2001:db8::1"),
        ("https://[/", "https://[/"),
    ),
)
def test_the_host_of_a_directory(url: str, host: str) -> None:
    assert host_of(url) == host
