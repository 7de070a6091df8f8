"""The history of attempts: bounded, whole or empty, and never the reason of a crash."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealgate.acme.ari import Window
from sealgate.acme.history import (
    KEPT,
    Attempt,
    History,
    Outcome,
    failed,
    history_path,
    load,
    noted,
    origin,
    save,
    subject_of,
)
from sealgate.acme.order import Wanted
from sealgate.errors import AcmeError, StateError
from sealgate.pki.state import State

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIRST = "https://first.test/dir"
TRY = Attempt(NOW, FIRST, "wish", Outcome.FAILED, "acme-caa", "no")


@pytest.fixture
def path(tmp_path) -> Path:
    return history_path(State.open(tmp_path / "state"), "*.Example.test")


def test_where_it_is(path):
    assert path.parts[-3:] == ("acme", "_.example.test", "history.json")


def test_what_is_saved_is_loaded(path):
    attempt = Attempt(
        NOW, FIRST, "wish", Outcome.FAILED, "acme-rate-limited", "too many", NOW + HOUR, True, "ab", "short"
    )
    window = Window("a.b", NOW + HOUR, NOW, NOW + 2 * HOUR, "https://first.test/why", "")
    history = History((attempt, replace(TRY, at=NOW + HOUR)), window)
    save(path, history)
    assert load(path) == history
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_not_there_is_empty_without_a_note(path):
    assert load(path) == History()


GOOD = {"at": NOW.isoformat(), "authority": FIRST, "subject": "x", "outcome": "failed"}


def text(*attempts, **more) -> bytes:
    return json.dumps({"version": 1, "attempts": attempts, "window": None, **more}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        text(GOOD)[:-20],
        b"[" * 200_000,
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        text(version=2),
        text(attempts={}),
        text(None),
        text("x"),
        text({}),
        text({**GOOD, "at": "yesterday"}),
        text({**GOOD, "at": "2026-11-22T12:00:00"}),
        text({**GOOD, "at": "0001-01-01T00:00:00+14:00"}),
        text({**GOOD, "at": "9999-12-31T23:59:59-14:00"}),
        text({**GOOD, "at": 5}),
        text({**GOOD, "outcome": "maybe"}),
        text({**GOOD, "authority": ["x"]}),
        text({**GOOD, "sentence": "x" * 10_000}),
        text({**GOOD, "retry_at": None}),
        text(window=[]),
        text(window={"certificate": "a.b"}),
        text(window={"certificate": "a.b", "again": NOW.isoformat(), "start": NOW.isoformat()}),
        b" " * 600_000,
    ],
)
def test_what_makes_no_sense_is_empty_with_a_note(path, content):
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.chmod(0o600)
    found = load(path)
    assert found.attempts == ()
    assert found.window is None
    assert "counts as empty" in found.note
    assert found.note.isprintable()


def test_hostile_texts_are_escaped(path):
    path.parent.mkdir(parents=True)
    path.write_bytes(text({**GOOD, "sentence": "\x1b[2J"}))
    path.chmod(0o600)
    assert load(path).attempts[0].sentence == "\\u001b[2J"


def test_what_others_may_have_written_is_empty(path):
    save(path, History((TRY,)))
    path.chmod(0o620)
    assert (load(path).attempts, "others" in load(path).note) == ((), True)


def test_a_link_and_a_pipe_are_empty(path, tmp_path):
    save(path, History((TRY,)))
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert load(path).note
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in load(path).note


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.integers(0, 2000))
def test_a_file_cut_anywhere_is_whole_or_empty(path, cut):
    save(path, History((TRY, replace(TRY, at=NOW + HOUR)), Window("a.b", NOW)))
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    found = load(path)
    assert bool(found.note) == (cut < len(whole) - 1)  # the last line end is no loss


def test_it_cannot_be_written(path):
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o777)
    with pytest.raises(StateError):
        save(path, History())


# Adding


def test_an_attempt_takes_the_place_of_its_own_beginning():
    begun = Attempt(NOW, FIRST, "wish", Outcome.BEGUN)
    history = noted(History(), begun)
    history = noted(history, replace(TRY, at=NOW + HOUR))
    assert [a.outcome for a in history.attempts] == [Outcome.FAILED]


def test_a_beginning_without_an_end_stays():
    """Who was killed in it, twice."""
    begun = Attempt(NOW, FIRST, "wish", Outcome.BEGUN)
    history = noted(noted(History(), begun), replace(begun, at=NOW + HOUR))
    history = noted(history, replace(TRY, at=NOW + 2 * HOUR, authority="https://second.test/dir"))
    assert [a.outcome for a in history.attempts] == [Outcome.BEGUN, Outcome.BEGUN, Outcome.FAILED]


def test_it_is_bounded_and_the_last_certificate_is_not_forgotten():
    old = Attempt(NOW - HOUR, FIRST, "wish", Outcome.OBTAINED, certificate="older")
    history = noted(noted(History(), old), replace(old, at=NOW, certificate="held"))
    for n in range(1000):
        history = noted(history, replace(TRY, at=NOW + n * HOUR))
    assert len(history.attempts) == KEPT
    assert origin(history, "held") is not None
    assert origin(history, "older") is not None
    assert origin(history, "") is None


def test_the_largest_history_can_be_loaded(path):
    history = History()
    for n in range(2 * KEPT):
        history = noted(history, replace(TRY, at=NOW + n * HOUR, sentence="\x1b" * 5000, code="c" * 5000))
    save(path, history)
    assert load(path).attempts == history.attempts


def test_instants_of_a_clock_that_was_ahead_are_moved_to_the_present():
    year = timedelta(days=365)
    ahead = replace(TRY, at=NOW + year, retry_at=NOW + year + HOUR)
    history = noted(History((ahead,)), TRY)
    assert [a.at for a in history.attempts] == [NOW, NOW]
    assert history.attempts[0].retry_at == NOW + HOUR


def test_texts_are_bounded_and_escaped():
    history = noted(History(), replace(TRY, sentence="a\nb\x1b" + "x" * 5000))
    assert history.attempts[0].sentence.startswith("a\\u000ab\\u001b")
    assert len(history.attempts[0].sentence) < 400


# From errors and wishes


@pytest.mark.parametrize(
    ("details", "retry_at"),
    [
        ({"retry_at": "2026-11-22T13:00:00+00:00"}, NOW + HOUR),
        ({"retry_at": "tomorrow"}, None),
        ({"retry_at": 5}, None),
        ({}, None),
    ],
)
def test_an_error_becomes_an_attempt(details, retry_at):
    error = AcmeError("acme-rate-limited", "too many", "wait", **details)
    found = failed(error, at=NOW, authority=FIRST, subject="wish")
    assert (found.code, found.sentence, found.retry_at, found.action) == (
        "acme-rate-limited",
        "too many",
        retry_at,
        False,
    )


def test_what_waits_for_a_person_is_known():
    error = AcmeError("acme-action-required", "terms", "agree")
    assert failed(error, at=NOW, authority=FIRST, subject="wish").action


def test_a_wish_is_known_again_by_what_counts():
    wish = Wanted(("a.test", "B.test"), "ecdsa-p256", "http-01")
    assert subject_of(wish) == subject_of(replace(wish, names=("b.test", "a.test"), profile="short"))
    assert subject_of(wish) != subject_of(replace(wish, names=("a.test",)))
    assert subject_of(wish) != subject_of(replace(wish, challenge="dns-01"))
