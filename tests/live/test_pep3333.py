"""WSGI apps of every shape that PEP 3333 allows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.live.served import Served, serve


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("pep3333")
    with serve(folder, app="pep3333:app", env={"DATABASE_PASSWORD": "s3cret"}) as served:
        yield served


@pytest.mark.parametrize(
    ("path", "status", "shape", "body"),
    [
        ("lazy", 203, "lazy", "first second"),
        ("written", 200, "written", "written and returned"),
        ("written_then_streamed", 200, None, "written and streamed"),
        ("replaced", 418, "second", "replaced"),
        ("whole", 200, None, "whole"),
        ("empty", 204, None, ""),
        ("twice", 500, None, ""),
        ("silent", 500, None, ""),
        ("raises_at_first", 500, None, ""),
    ],
)
def test_an_answer_of_each_shape(site: Served, path: str, status: int, shape: str | None, body: str) -> None:
    answer = site.client().get(f"/{path}")
    assert (answer.status_code, answer.headers.get("x-shape"), answer.text) == (status, shape, body)


def test_an_app_that_fails_midway_is_cut_off_where_it_announced_a_length(site: Served) -> None:
    """Where it did not, Granian ends the answer as if it were whole."""
    with pytest.raises(httpx.RemoteProtocolError):
        site.client().get("/raises_later")


def test_the_first_piece_does_not_wait_for_the_second(site: Served) -> None:
    began = time.monotonic()
    with site.client().stream("GET", "/paused") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"at once"
        assert time.monotonic() - began < 2
        assert next(pieces) == b"later"


def test_a_body_can_be_read_line_by_line(site: Served) -> None:
    assert site.client().post("/lines", content=b"one\ntwo\nthree").json() == ["one\n", "two\n", "three"]


def test_answers_are_closed_and_environ_holds_nothing_of_the_environment(site: Served) -> None:
    site.client().get("/whole")
    told = site.client().get("/told").json()
    assert "whole" in told["closed"]
    assert "DATABASE_PASSWORD" not in told["environ"]
    assert {"wsgi.input", "wsgi.errors", "SCRIPT_NAME", "SERVER_NAME"} <= set(told["environ"])
