"""The end of a header, however it was cut, with each byte looked at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.runtime.inside.head import Head

SHARP = st.binary(max_size=3) | st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1"])


def seen(data: bytes, step: int) -> Head:
    head = Head()
    for at in range(step, len(data), step):
        head.look(data[:at])
    head.look(data)
    return head


@pytest.mark.parametrize(
    ("data", "end", "bare"),
    [
        (b"", -1, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", -1, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r", -1, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 23, False),
        (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nbody\n", 25, False),
        (b"GET / HTTP/1.1\nHost", -1, True),
        (b"\nGET / HTTP/1.1", -1, True),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_where_it_ends(data: bytes, end: int, step: int, *, bare: bool) -> None:
    head = seen(data, step)
    assert (head.end, head.bare) == (end, bare)


@given(st.lists(SHARP, max_size=12).map(b"".join), st.integers(1, 5))
def test_cuts_change_nothing(data: bytes, step: int) -> None:
    start = 2 if data.startswith(b"\r\n") else 0
    end = data.find(b"\r\n\r\n", start)
    inside = data if end < 0 else data[:end]
    head = seen(data, step)
    assert (head.start, head.line, head.end) == (start, data.find(b"\r\n", start), end)
    assert head.bare == (inside.count(b"\n") != inside.count(b"\r\n"))
    assert head.size(data) == len(inside) - start


class Counted(bytearray):
    """Counts what is searched."""

    searched = 0

    def find(self, what: object, start: object = 0, end: object = None) -> int:
        type(self).searched += len(self) - int(start)  # type: ignore[call-overload]  # as bytearray's
        return super().find(what, start, end)  # type: ignore[arg-type]

    def count(self, what: object, start: object = 0, end: object = None) -> int:
        type(self).searched += len(self) - int(start)  # type: ignore[call-overload]
        return super().count(what, start, end)  # type: ignore[arg-type]


def test_the_work_grows_as_the_header_does() -> None:
    data, head = Counted(b"GET / HTTP/1.1\r\nX: "), Head()
    for _ in range(10_000):
        data += b"a"
        head.look(data)
    assert Counted.searched < 20 * len(data)
