"""Refusals: stable, complete, and silent about what an attacker would like to know."""

from __future__ import annotations

import http
import json
import re
from pathlib import Path

import pytest

from sealgate.guard.problems import answer
from sealgate.policy.problems import PROBLEMS, problem
from tests.guard.exchange import REQUEST_ID

PAGES = Path(__file__).parents[2] / "docs" / "problems"

# Scripts compare these; to change one is to break them.
STABLE = {
    "operation-unknown": 404,
    "media-type-unsupported": 415,
    "request-invalid": 400,
    "issuer-unavailable": 503,
    "forwarding-header-invalid": 400,
    "credentials-in-the-clear": 403,
    "rate-limited": 429,
    "rates-unavailable": 503,
    "credentials-malformed": 400,
    "token-refused": 401,
    "access-denied": 403,
    "authentication-required": 401,
    "client-certificate-required": 403,
    "scope-insufficient": 403,
    "app-timeout": 504,
    "app-unavailable": 503,
    "bad-request": 400,
    "body-too-large": 413,
    "client-certificate-refused": 403,
    "client-status-unknown": 503,
    "list-unknown": 404,
    "headers-too-large": 431,
    "http-version-unsupported": 426,
    "internal-error": 500,
    "path-not-canonical": 400,
    "address-refused": 403,
    "plain-http-refused": 403,
    "challenge-unknown": 404,
    "method-not-allowed": 405,
    "request-timeout": 408,
    "unknown-host": 421,
    "upgrade-refused": 403,
}


def test_slugs_and_statuses_are_stable() -> None:
    assert {slug: entry.status for slug, entry in PROBLEMS.items()} == STABLE


@pytest.mark.parametrize("slug", STABLE)
def test_each_is_a_complete_problem(slug: str) -> None:
    entry = problem(slug)
    members = json.loads(entry.as_json())
    assert members == {
        "type": f"urn:problem-type:sealgate:{slug}",
        "title": entry.title,
        "status": entry.status,
        "detail": entry.detail,
    }
    assert http.HTTPStatus(entry.status)
    assert entry.detail.endswith(".")
    assert entry.as_json().isascii()
    assert len(entry.as_json()) < 1000
    assert not re.search(
        r"envoy|granian|python|falcon|\d+\.\d+\.\d+", entry.as_json().decode(), re.IGNORECASE
    )


@pytest.mark.parametrize("slug", STABLE)
def test_each_has_its_page(slug: str) -> None:
    entry = problem(slug)
    text = (PAGES / f"{slug}.md").read_text()
    assert text.startswith(f"# {entry.title}\n")
    assert f"`{slug}`" in text
    assert f"{entry.status} {http.HTTPStatus(entry.status).phrase}" in text


def test_no_page_is_left_over() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} - {"index"} == set(STABLE)


def test_an_answer() -> None:
    said = answer(problem("unknown-host"), method="GET", request_id=REQUEST_ID)
    assert (said.status, said.phrase) == (421, "Misdirected Request")
    assert dict(said.headers) == {
        "content-type": "application/problem+json",
        "content-length": str(len(said.body)),
        "cache-control": "no-store",
    }
    assert json.loads(said.body)["instance"] == f"urn:uuid:{REQUEST_ID}"


def test_head_gets_the_same_fields_and_no_body() -> None:
    got, asked = (answer(problem("bad-request"), method=method) for method in ("GET", "HEAD"))
    assert asked.headers == got.headers
    assert asked.body == b""


@pytest.mark.parametrize("text", ("", "x", '"}', REQUEST_ID + "\n", REQUEST_ID.upper(), "<script>"))
def test_only_a_request_id_is_repeated(text: str) -> None:
    assert "instance" not in json.loads(answer(problem("bad-request"), method="GET", request_id=text).body)
