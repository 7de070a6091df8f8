"""Counting without a lock, read by somebody else, by a process that may be anybody's by now."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.engines.counts import BOUNDS, Row, Table, bound_names, counters_of, shared
from sealgate.policy.problems import PROBLEMS


@pytest.fixture
def memory() -> Iterator[int]:
    fd = shared(3)
    yield fd
    os.close(fd)


def counted(table: Table) -> dict[tuple[str, str], int]:
    return {(name, label): value for name, label, value in counters_of(table.read(), "worker_seconds")}


def test_what_is_counted_is_read(memory: int) -> None:
    table, one, other = Table(memory), Row(memory, 0), Row(memory, 2)
    one.answered(200, 900_000)
    one.answered(204, 1_000_000)
    other.answered(421, 1_100_000)
    other.answered(503, 31 * 10**9)
    other.upgraded(101)
    other.denied("unknown-host")
    other.denied("no-such-problem")
    found = counted(table)
    assert {label: value for (name, label), value in found.items() if name == "requests"} == {
        "1xx": 1,
        "2xx": 2,
        "3xx": 0,
        "4xx": 1,
        "5xx": 1,
    }
    assert [found["worker_seconds", name] for name in bound_names()] == [2, 1, *[0] * (len(BOUNDS) - 2), 1]
    assert found["worker_seconds", "nanoseconds"] == 31_003_000_000
    assert {label for (name, label), value in found.items() if name == "denials" and value} == {
        "unknown-host"
    }
    assert {label for name, label in found if name == "denials"} == set(PROBLEMS)


def test_numbers_that_somebody_else_has_filled_stop_nobody(memory: int) -> None:
    with mmap.mmap(memory, 0) as numbers:
        numbers[:] = b"\xff" * len(numbers)
    table, row = Table(memory), Row(memory, 1)
    row.answered(200, 900_000)
    row.upgraded(101)
    row.denied("unknown-host")
    assert max(table.read()) < 1 << 63
    row.answered(200, 5)


@given(st.integers(0, 10**11))
def test_each_time_falls_into_the_class_that_says_so(nanoseconds: int) -> None:
    fd = shared()
    try:
        Row(fd).answered(200, nanoseconds)
        found = counted(Table(fd))
    finally:
        os.close(fd)
    name = next(name for name in bound_names() if found["worker_seconds", name])
    at = bound_names().index(name)
    assert name == "+Inf" or nanoseconds <= float(name) * 1e9
    assert at == 0 or nanoseconds > BOUNDS[at - 1] * 1e9


@pytest.mark.parametrize("status", [0, 7, 99, 600, 999, 10**9])
def test_a_status_that_is_none_is_in_no_class_and_harms_nobody(memory: int, status: int) -> None:
    Row(memory).answered(status, 5)
    assert not any(
        value for (name, _), value in counted(Table(memory)).items() if name in {"requests", "denials"}
    )


def test_threads_lose_nothing(memory: int) -> None:
    row, before = Row(memory), sys.getswitchinterval()

    def count() -> None:
        for _ in range(5000):
            row.answered(200, 2_000)
            row.denied("bad-request")

    threads = [threading.Thread(target=count) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    found = counted(Table(memory))
    assert found["requests", "2xx"] == found["denials", "bad-request"] == 20_000
    assert found["worker_seconds", "nanoseconds"] == 20_000 * 2000


def test_a_later_process_of_the_same_place_goes_on(memory: int) -> None:
    table = Table(memory)
    for _ in range(3):
        Row(memory, 1).answered(200, 5)
    assert counted(table)["requests", "2xx"] == 3


def test_who_lies_can_make_nothing_shrink_and_no_number_too_large(memory: int) -> None:
    table = Table(memory)
    Row(memory).answered(200, 5)
    before = table.read()
    with mmap.mmap(memory, os.fstat(memory).st_size) as everything:
        everything[:] = b"\xff" * len(everything)
        most = table.read()
        assert all(old <= value < 2**63 for value, old in zip(most, before, strict=True))
        everything[:] = bytes(len(everything))
    assert table.read() == most


@pytest.mark.parametrize("size", [0, 8, 1 << 20])
def test_nobody_takes_the_memory_away_from_under_a_reader(memory: int, size: int) -> None:
    table = Table(memory)
    with pytest.raises(PermissionError) as refused:
        os.ftruncate(memory, size)
    assert refused.value.errno == errno.EPERM
    assert not any(table.read())


def test_without_memory_counting_goes_nowhere() -> None:
    row = Row()
    row.answered(200, 5)
    row.denied("bad-request")


_HOLDS_ONE = """
import subprocess
import sys
from sealgate.engines.counts import Row
row = Row(int(sys.argv[1]), 1)
row.open(are=True)
print("open", flush=True)
for line in sys.stdin:
    row.obeyed(int(line)) if line.strip() != "over" else row.open(are=False)
    print("done", flush=True)
"""


def test_who_has_not_obeyed_is_named_as_long_as_he_lives(memory: int) -> None:
    table = Table(memory)
    words = [sys.executable, "-c", _HOLDS_ONE, str(memory)]
    process = subprocess.Popen(
        words, pass_fds=(memory,), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def told(line: str) -> tuple[int, ...]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        return table.behind(7)

    try:
        assert process.stdout.readline() == "open\n"
        assert table.behind(7) == (process.pid,)
        assert told("6") == (process.pid,)
        assert told("7") == ()
        assert table.behind(8) == (process.pid,)
        assert told("over") == ()
        assert table.behind(8) == ()
    finally:
        process.kill()
        process.wait(20)
        process.stdin.close()
        process.stdout.close()


def test_who_was_killed_is_not_waited_for(memory: int) -> None:
    table = Table(memory)
    words = [sys.executable, "-c", _HOLDS_ONE, str(memory)]
    with subprocess.Popen(
        words, pass_fds=(memory,), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert table.behind(1) == (process.pid,)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert table.behind(1) == (), "a zombie ends nothing any more"
    assert table.behind(1) == ()
    Row(memory, 1)._numbers[-2] = (1 << 64) - 1
    assert table.behind(1) == (), "nor a lie"


# Questions


def test_what_is_asked_is_heard_once() -> None:
    fd = shared(3)
    table, rows = Table(fd), [Row(fd, place) for place in range(3)]
    assert table.questions() == ()
    rows[0].asks(b"a" * 1000)
    rows[2].asks(b"b")
    assert table.questions() == (b"a" * 1000, b"b")
    assert table.questions() == ()
    rows[1].asks(b"c")
    rows[1].asks(b"c")
    assert table.questions() == (b"c",), "the same twice is one"
    for row in rows:
        row.asks(b"x" * 8185)  # longer than a place
    assert table.questions() == ()
    assert sum(table.read()) == 0, "no number is touched"
    os.close(fd)


def test_of_too_many_questions_the_last_are_heard() -> None:
    fd = shared(1)
    table, row = Table(fd), Row(fd)
    for number in range(100):
        row.asks(b"%d" % number)
    assert set(table.questions()) == {b"96", b"97", b"98", b"99"}
    os.close(fd)


def test_a_length_that_lies_is_no_question() -> None:
    fd = shared(2)
    table, row = Table(fd), Row(fd, 1)
    row.asks(b"mine")
    size = os.fstat(fd).st_size
    for slot in range(4):
        os.pwrite(fd, b"\xff" * 8, size - 8192 * (4 - slot))
    assert table.questions() == ()
    os.close(fd)


def test_many_threads_ask_at_once() -> None:
    fd = shared(1)
    table, row = Table(fd), Row(fd)
    asked = {bytes([65 + number]) * (500 + number) for number in range(8)}

    def ask(one: bytes) -> None:
        for _ in range(200):
            row.asks(one)

    threads = [threading.Thread(target=ask, args=(one,)) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(table.questions()) <= asked
    os.close(fd)
