"""The table of the revoked, as its readers see it: other processes, while it is written."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate.pki import revocations as module
from sealgate.pki.revocations import MOST, Revocations, Revoked
from sealgate.policy.identity import revocation_key


def keys(numbers: range) -> list[bytes]:
    return [sha256(str(number).encode()).digest()[:16] for number in numbers]


@pytest.fixture
def table() -> Iterator[Revocations]:
    made = Revocations()
    yield made
    made.close()


def test_a_key_is_of_issuer_and_serial() -> None:
    one, other = b"\x01" * 32, b"\x02" * 32
    made = {revocation_key(issuer, serial) for issuer in (one, other) for serial in (0, 1, 256, 1 << 159)}
    assert len(made) == 8
    assert all(len(key) == 16 for key in made)


def test_what_is_written_is_seen_at_once(table: Revocations) -> None:
    asked = Revoked(table.fd)
    many, others = keys(range(5000)), keys(range(5000, 10000))
    assert table.replace(many) == asked.generation == 1
    assert all(key in asked for key in many)
    assert not any(key in asked for key in others)
    assert table.add(others[:1]) == asked.generation == 2
    assert others[0] in asked
    assert table.replace(many[:10]) == asked.generation
    assert [key for key in (*many, *others) if key in asked] == many[:10]
    assert len(table) == 10


def test_nothing_new_is_no_new_generation(table: Revocations) -> None:
    few = keys(range(3))
    assert table.replace(few) == table.replace(few) == table.add(few) == 1
    assert table.replace([]) == 2


def test_who_has_no_key_is_not_on_it(table: Revocations) -> None:
    table.replace(keys(range(400)))
    assert b"" not in Revoked(table.fd)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 1500), max_size=900)), max_size=8))
def test_it_is_the_set_that_was_written(steps: list[tuple[bool, set[int]]]) -> None:
    table = Revocations()
    try:
        asked, wanted = Revoked(table.fd), set[int]()
        of = keys(range(1501))
        for only, numbers in steps:
            wanted = numbers if only else wanted | numbers
            change = table.replace if only else table.add
            change([of[number] for number in numbers])
            assert {number for number, key in enumerate(of) if key in asked} == wanted
            assert len(table) == len(wanted)
    finally:
        table.close()


def test_a_reader_never_misses_who_was_there_all_the_time(table: Revocations) -> None:
    """While it grows through several places, and shrinks, and grows again."""
    always, rest = keys(range(50)), keys(range(50, 9000))
    table.replace(always)
    asked, over = Revoked(table.fd), threading.Event()
    missed: list[bytes] = []

    def read() -> None:
        while not over.is_set():
            missed.extend(key for key in always if key not in asked)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for size in (100, 400, 600, 3000, 200, 8000, 0, 700, 0, 8000):
            table.replace([*always, *rest[:size]])
    finally:
        over.set()
        reader.join(20)
    assert missed == []


def test_another_process_reads_it_and_cannot_write(table: Revocations) -> None:
    table.replace(keys(range(10)))
    program = f"""
import mmap, os
from sealgate.pki.revocations import Revoked
fd = {table.fd}
assert {keys(range(1))[0]!r} in Revoked(fd)
for attempt in (
    lambda: mmap.mmap(fd, 4096),
    lambda: mmap.mmap(os.open(f"/proc/self/fd/{{fd}}", os.O_RDWR), 4096),
    lambda: os.pwrite(fd, b"x", 0),
    lambda: os.ftruncate(fd, 0),
    lambda: os.ftruncate(fd, 1 << 40),
):
    try:
        attempt()
    except OSError:
        continue
    raise SystemExit("it could")
"""
    subprocess.run([sys.executable, "-c", program], pass_fds=(table.fd,), check=True, timeout=60)


def test_it_takes_memory_for_what_it_holds_only(table: Revocations) -> None:
    table.replace(keys(range(1000)))
    assert os.fstat(table.fd).st_blocks * 512 < 200_000
    assert os.fstat(table.fd).st_size == module._BYTES
    assert MOST >= 4_000_000


def test_a_million_take_forty_megabytes_for_all_and_two_microseconds_for_each_question(
    table: Revocations,
) -> None:
    """Memory of all who look, together: the table's pages are shared. CPU time, the best of several."""
    million = keys(range(1_000_000))
    table.replace(million)
    asked, strangers = Revoked(table.fd), keys(range(1_000_000, 1_020_000))
    assert all(key in asked for key in million[::50])
    assert os.fstat(table.fd).st_blocks * 512 <= 40_000_000
    for these in (million[::50], strangers):
        best = min(_seconds(asked, these) for _ in range(7))
        assert best / len(these) <= 2e-6, best / len(these)


def _seconds(asked: Revoked, these: list[bytes]) -> float:
    began = time.thread_time()
    for key in these:
        key in asked  # noqa: B015 - what is timed is the question
    return time.thread_time() - began


def test_one_more_beside_a_million_is_one_write(table: Revocations) -> None:
    table.replace(keys(range(1_000_000)))
    asked, more = Revoked(table.fd), keys(range(1_000_000, 1_000_100))
    began = time.thread_time()
    for key in more:
        table.add([key])
        assert key in asked
    assert (time.thread_time() - began) / len(more) <= 1e-3


def test_more_than_there_is_room_for_is_refused(table: Revocations, monkeypatch: pytest.MonkeyPatch) -> None:
    table.replace(keys(range(5)))
    monkeypatch.setattr(module, "MOST", 1000)
    with pytest.raises(ValueError, match="1001 revocations"):
        table.replace(keys(range(1001)))
    assert len(table) == 5
    assert keys(range(1))[0] in Revoked(table.fd)


def test_the_memory_is_mapped_for_reading_only(table: Revocations) -> None:
    asked = Revoked(table.fd)
    with pytest.raises(TypeError):
        asked._memory[0] = 1
    assert isinstance(asked._memory, mmap.mmap)
