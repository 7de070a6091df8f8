"""Bodies of unknown length are taken in, to a limit."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.guard.body import ClosingBody, TooLarge, discard, spool


class Trickle(io.RawIOBase):
    """Gives fewer bytes than asked for, as sockets do."""

    def __init__(self, data: bytes, most: int) -> None:
        self._data = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        return self._data.read(min(size, self._most))


@given(st.binary(max_size=300), st.integers(1, 20), st.integers(0, 300))
def test_it_is_the_same_body_or_too_large(data: bytes, most: int, limit: int) -> None:
    if len(data) > limit:
        with pytest.raises(TooLarge):
            spool(Trickle(data, most), limit=limit)
    else:
        file, size = spool(Trickle(data, most), limit=limit)
        with file:
            assert (file.read(), size) == (data, len(data))


def test_no_more_than_one_byte_over_the_limit_is_read() -> None:
    stream = io.BytesIO(b"x" * 1_000_000)
    with pytest.raises(TooLarge):
        spool(stream, limit=100_000)
    assert stream.tell() == 100_001


def test_a_large_body_goes_to_the_directory_and_leaves_nothing(tmp_path: Path) -> None:
    data = b"0123456789" * 300_000
    file, size = spool(io.BytesIO(data), limit=len(data), directory=str(tmp_path))
    with file:
        assert size == len(data)
        assert file._rolled  # type: ignore[attr-defined]  # is it on disk?
        assert file.read() == data
    assert list(tmp_path.iterdir()) == []


def test_a_small_body_needs_no_directory() -> None:
    file, _ = spool(io.BytesIO(b"x"), limit=10, directory="/nonexistent")
    file.close()


def test_no_place_to_write_is_an_os_error() -> None:
    with pytest.raises(OSError, match="nonexistent"):
        spool(io.BytesIO(b"x" * 2_000_000), limit=10_000_000, directory="/nonexistent")


@pytest.mark.parametrize(
    ("length", "left"),
    [
        ("1100", 0),  # what came behind it is not this body's
        (str(100 + 1024 * 1024), 0),
        (str(101 + 1024 * 1024), 2_000_000),
        ("9" * 400, 2_000_000),
        ("-5", 2_000_000),
        ("²", 2_000_000),
        ("", 2_000_000),
    ],
)
def test_a_little_too_much_is_taken_in_and_no_more(length: str, left: int) -> None:
    stream = io.BytesIO(b"x" * (2_000_000 if left else int(length)))
    discard(stream, length, limit=100)
    assert len(stream.read()) == left


def test_who_announces_more_than_comes_is_not_waited_for() -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if piece := super().read(size):
                return piece
            raise OSError("gone")

    discard(io.BytesIO(b"x" * 50), "200", limit=100)
    discard(Gone(b"x" * 50), "200", limit=100)


def test_both_are_closed_whatever_happens() -> None:
    class Response(list[bytes]):
        def close(self) -> None:
            raise RuntimeError("the app's")

    file, _ = spool(io.BytesIO(b"x"), limit=10)
    body = ClosingBody(Response([b"a", b"b"]), file)
    assert list(body) == [b"a", b"b"]
    assert not file.closed
    with pytest.raises(RuntimeError, match="the app's"):
        body.close()
    assert file.closed


def test_a_response_without_close() -> None:
    file, _ = spool(io.BytesIO(b"x"), limit=10)
    ClosingBody(iter([b"a"]), file).close()
    assert file.closed
