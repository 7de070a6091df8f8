"""The process that asks a stranger's address: what it brings, and what becomes of it when it does not."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from sealgate._system.fetch import Failed, Fetched, Tag, Unchanged, Why
from sealgate.runtime.fetcher import Errand, answer_of
from sealgate.runtime.fetching import fetched_apart
from tests._system.publishing import Publisher, publishing

OURS = ("127.0.0.0/8",)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as found:
        yield found


def ask(url: str, tag: Tag | None = None, **settings: Any) -> Fetched | Unchanged | Failed:
    settings = {"allowed": OURS, "confine": lambda: None, **settings}
    return asyncio.run(fetched_apart(url, tag or Tag(), **settings))


def failed(url: str, **settings: Any) -> Failed:
    answer = ask(url, **settings)
    assert isinstance(answer, Failed)
    return answer


def test_it_brings_what_there_is(publisher: Publisher) -> None:
    body = os.urandom(3_000_000)
    publisher.answers["/"] = lambda call: call.answer(200, body, ETag='"1"')
    assert ask(publisher.url()) == Fetched(body, Tag('"1"', ""))
    same = "if-none-match"
    publisher.answers["/"] = lambda call: call.answer(304 if call.fields.get(same) == '"1"' else 500)
    assert ask(publisher.url(), Tag('"1"', "")) == Unchanged()
    publisher.answers["/"] = lambda call: call.answer(503, Retry_After="120")
    assert ask(publisher.url()) == Failed(Why.STATUS, "it answered 503", timedelta(seconds=120))


def test_it_goes_nowhere_else(publisher: Publisher) -> None:
    assert failed(publisher.url(), allowed=()).why is Why.PLACE
    assert not publisher.calls


def test_it_has_its_time_and_its_size(publisher: Publisher) -> None:
    publisher.answers["/"] = lambda call: call.gone.wait(60)
    assert failed(publisher.url(), seconds=1.0).why is Why.TIME
    publisher.answers["/"] = lambda call: call.answer(200, b"x" * 2000)
    assert failed(publisher.url(), size=1999).why is Why.LARGE


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"half a li",
        b"[]",
        b"7",
        b"{}",
        b'{"size": 6}',
        b'{"size": -1, "etag": "", "modified": ""}',
        b'{"size": 4, "etag": "", "modified": ""}',
        b'{"size": "5", "etag": "", "modified": ""}',
        b'{"unchanged": true}',
        b'{"why": "no such word", "said": "", "again": null}',
        b'{"why": "name", "said": "", "again": "x"}',
        b'{"why": "name", "said": "", "again": NaN}',
    ],
)
def test_what_is_no_sound_word_is_a_failure(line: bytes) -> None:
    memory = os.memfd_create("test")
    os.pwrite(memory, b"12345", 0)
    errand = Errand(os.getpid(), "http://a.example/", memory)
    try:
        answer = answer_of(line, memory, errand)
        assert isinstance(answer, Failed)
        assert answer.why is Why.ANSWER
        good = {"size": 5, "etag": "", "modified": ""}
        assert answer_of(json.dumps(good).encode(), memory, errand) == Fetched(b"12345", Tag())
    finally:
        os.close(memory)
