"""Where a request's body ends: found at every cut, and never before Gunicorn's parser would find it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.runtime.inside.gunicorn.framing import Chunks

WHOLE = b"4;a=b\r\nWiki\r\n6\r\npedia \r\nB\r\nin chunks.\n\r\n0\r\nX-Trailer: y\r\n\r\n"


def followed(pieces: list[bytes], trailer_most: int = 100) -> Chunks:
    chunks = Chunks(trailer_most)
    for piece in pieces:
        assert not chunks.ended
        chunks.feed(piece)
    return chunks


@pytest.mark.parametrize("at", range(1, len(WHOLE)))
def test_a_chunked_body_cut_anywhere(at: int) -> None:
    chunks = followed([WHOLE[:at], WHOLE[at:]])
    assert chunks.ended
    assert chunks.size == 4 + 6 + 11


def test_a_chunked_body_byte_by_byte() -> None:
    assert followed([WHOLE[at : at + 1] for at in range(len(WHOLE))]).ended


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(1, 64))
def test_any_chunks_in_any_pieces(parts: list[bytes], step: int) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    chunks = followed([body[at : at + step] for at in range(0, len(body), step)])
    assert chunks.ended
    assert chunks.size == sum(map(len, parts))


@pytest.mark.parametrize(
    "wrong",
    [b"zz\r\n", b"\r\n", b"+4\r\n", b"0x4\r\n", b"4_0\r\n", b"-1\r\n", b"f" * 17 + b"\r\n", b"1" * 9000],
)
def test_what_is_no_chunk_is_not_waited_for(wrong: bytes) -> None:
    assert followed([wrong]).ended


def test_a_trailer_without_end() -> None:
    assert followed([b"0\r\n", b"X: " + b"a" * 200 + b"\r\n"]).ended
