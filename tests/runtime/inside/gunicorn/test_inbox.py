"""A queue of bytes: what goes in comes out, in memory or in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.runtime.inside.gunicorn.inbox import Inbox

LARGE = 300 * 1024


@given(st.lists(st.one_of(st.binary(max_size=50), st.integers(0, 60)), max_size=30))
def test_what_goes_in_comes_out(steps: list[bytes | int]) -> None:
    inbox, model = Inbox(), b""
    for step in steps:
        if isinstance(step, bytes):
            inbox.add(step)
            model += step
        else:
            assert inbox.read(step) == model[:step]
            model = model[step:]
        assert len(inbox) == len(model)
    assert b"".join(iter(inbox.read, b"")) == model


def test_a_large_body_is_a_file_that_has_no_name(tmp_path: Path) -> None:
    inbox = Inbox(str(tmp_path))
    whole = bytes(range(256)) * (LARGE // 256)
    for at in range(0, LARGE, 1000):
        inbox.add(whole[at : at + 1000])
    assert len(inbox.head) <= 128 * 1024
    assert list(tmp_path.iterdir()) == []
    assert inbox.read(10) == whole[:10]
    inbox.unread(whole[:10])
    assert inbox.read(len(whole)) == whole
    assert len(inbox) == 0
    assert inbox.read() == b""


def test_after_a_request_the_beginning_of_the_next_is_in_memory() -> None:
    inbox = Inbox()
    inbox.add(b"x" * 100_000)
    inbox.add(b"x" * 100_000)
    inbox.add(b"y" * 100_000 + b"GET / ")
    assert inbox.read(300_000) == b"x" * 200_000 + b"y" * 100_000
    inbox.settle()
    assert inbox.head == b"GET / "
    inbox.settle()
    assert inbox.read() == b"GET / "


def test_no_room_is_an_error(tmp_path: Path) -> None:
    inbox = Inbox(str(tmp_path / "missing"))
    with pytest.raises(OSError, match="missing"):
        inbox.add(b"x" * LARGE)
