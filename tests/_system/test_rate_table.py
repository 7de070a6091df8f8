"""Budgets that processes share: exact whoever asks at once, bounded whoever asks, and nobody hangs."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from ipaddress import IPv6Address
from subprocess import DEVNULL, PIPE

import pytest

from sealgate._system import rate_table as module
from sealgate._system.rate_table import Rates, RateTable, TooBusy
from sealgate.guard.rates import Budget, Limiter, Rate

MINUTE = 60 * 1_000_000_000
ASKS = """
import sys, threading, time
sys.path[:0] = []
from sealgate._system.rate_table import Rates
from sealgate.guard.rates import Limiter, Rate
fd, most, threads = (int(one) for one in sys.argv[1:4])
limiter = Limiter([Rate("address", 100, 60, 100)], Rates(fd))
let_in = [0] * threads
def ask(number):
    for _ in range(most // threads):
        let_in[number] += limiter.address("192.0.2.7").deny is None
sys.stdin.readline()
began = time.monotonic()
running = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
[one.start() for one in running]
[one.join() for one in running]
print(sum(let_in), began, time.monotonic())
"""


class Clock:
    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now


def budget(burst: int = 2, mark: bytes = b"m", interval: int = MINUTE) -> Budget:
    return Budget(mark, interval, burst * interval)


def take(rates: Rates, who: bytes, *budgets: Budget) -> list[int]:
    return rates.take(who, b"", budgets or (budget(),))


def test_four_workers_at_once_let_in_exactly_what_they_may() -> None:
    """10,000 requests in all, by 4 processes of 4 threads."""
    table = RateTable()
    words = [sys.executable, "-c", ASKS, str(table.fd), "2500", "4"]
    workers = [
        subprocess.Popen(words, pass_fds=(table.fd,), stdin=PIPE, stdout=PIPE, text=True) for _ in range(4)
    ]
    try:
        for one in workers:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        said = [one.communicate(timeout=120)[0].split() for one in workers]
    finally:
        for one in workers:
            one.kill()
            one.wait()
    let_in = sum(int(words[0]) for words in said)
    elapsed = max(float(words[2]) for words in said) - min(float(words[1]) for words in said)
    most = 100 + int(elapsed * 100 / 60)
    assert most - 2 < let_in <= most, (let_in, elapsed)


def test_a_worker_that_is_killed_holds_nothing_up() -> None:
    """With -9, at any moment, again and again."""
    table = RateTable()
    words = [sys.executable, "-c", ASKS, str(table.fd), "100000000", "2"]
    rates = Rates(table.fd)
    for pause in (0.0, 0.01, 0.03):
        with subprocess.Popen(words, pass_fds=(table.fd,), stdin=PIPE, stdout=DEVNULL) as one:
            try:
                assert one.stdin is not None
                one.stdin.write(b"\n")
                one.stdin.flush()
                end = time.monotonic() + 30
                while not _held(table.fd) and time.monotonic() < end:
                    pass
                time.sleep(pause)
            finally:
                one.send_signal(signal.SIGKILL)
        for number in range(1000):
            take(rates, b"%d %f" % (number, pause))


def _held(fd: int) -> bool:
    """Does somebody hold some lock of the table?"""
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 256, 0)
    except OSError:
        return True
    fcntl.lockf(fd, fcntl.LOCK_UN, 256, 0)
    return False


def test_nobody_waits_for_long_for_one_who_was_stopped() -> None:
    table = RateTable()
    lines = (
        "import fcntl,sys,time",
        "fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX, 256, 0)",
        "print(flush=True)",
        "time.sleep(60)",
    )
    code = "\n".join(lines)
    words = [sys.executable, "-c", code, str(table.fd)]
    with subprocess.Popen(words, pass_fds=(table.fd,), stdout=PIPE) as one:
        try:
            assert one.stdout is not None
            one.stdout.readline()
            rates, began = Rates(table.fd), time.monotonic()
            with pytest.raises(TooBusy):
                take(rates, b"a", budget(), budget(mark=b"n"))
            assert time.monotonic() - began < 5
        finally:
            one.kill()
    assert len(take(rates, b"a", budget(), budget(mark=b"n"))) == 2, "and it holds nothing itself"


def test_a_budget_comes_back() -> None:
    clock, table = Clock(), RateTable()
    rates = Rates(table.fd, clock)
    assert take(rates, b"a") == [MINUTE]
    assert take(rates, b"a") == [2 * MINUTE]
    assert take(rates, b"a") == [-MINUTE]
    clock.now += MINUTE // 2
    assert take(rates, b"a") == [-MINUTE // 2]
    clock.now += MINUTE // 2
    assert take(rates, b"a") == [2 * MINUTE]
    assert take(Rates(table.fd, clock), b"a") == [-MINUTE], "the same for whoever looks"


def test_all_or_none() -> None:
    clock, table = Clock(), RateTable()
    rates = Rates(table.fd, clock)
    one, two = budget(3, b"one"), budget(1, b"two")
    assert take(rates, b"a", one, two) == [MINUTE, MINUTE]
    for _ in range(3):
        assert take(rates, b"a", one, two) == [MINUTE, -MINUTE]
    assert take(rates, b"a", one) == [2 * MINUTE]
    assert take(rates, b"b", one, two) == [MINUTE, MINUTE]


def test_a_flood_takes_nothing_from_those_who_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """More callers than there is room for, each of whom is counted still; those before keep their budgets."""
    monkeypatch.setattr(module, "_OWN", 64)
    monkeypatch.setattr(module, "_SHARED", 8)
    clock, table = Clock(), RateTable()
    limiter = Limiter([Rate("address", 1, 60, 3)], Rates(table.fd, clock))
    for _ in range(2):
        assert limiter.address("192.0.2.7").deny is None
    let_in = 0
    for number in range(20_000):
        address = str(IPv6Address((0x20010DB8 << 96) | (number << 64)))
        let_in += limiter.address(address).deny is None
    assert let_in <= 64 * 8 + 3 * 8 * 8 + 3, "those with room, then networks, then all together"
    assert limiter.address("192.0.2.7").deny is None
    assert limiter.address("192.0.2.7").deny is not None
    clock.now += 3 * MINUTE
    assert limiter.address("2001:db8:ffff::1").deny is None, "what is whole again makes room"


@pytest.mark.long
def test_a_million_addresses_cost_a_bounded_memory() -> None:
    table = RateTable()
    limiter = Limiter([Rate("address", 100, 60, 100)], Rates(table.fd))
    for _ in range(50):
        limiter.address("192.0.2.7")
    for number in range(1_000_000):
        limiter.address(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    assert os.fstat(table.fd).st_blocks * 512 <= 16 * 1024 * 1024
    left = dict(limiter.address("192.0.2.7").headers)["ratelimit"]
    assert int(left.partition("r=")[2].partition(";")[0]) < 100


def test_a_time_that_nobody_wrote_shuts_nobody_out_for_years() -> None:
    clock, table = Clock(), RateTable()
    rates = Rates(table.fd, clock)
    take(rates, b"a")
    memory = rates._words
    (at,) = (index for index in range(512, len(memory)) if memory[index] == clock.now + MINUTE)
    memory[at] = 1 << 63
    assert take(rates, b"a") == [-MINUTE]
    clock.now += 1
    assert min(take(rates, b"a")) < 0
    clock.now += 2 * MINUTE
    assert take(rates, b"a") == [MINUTE]


def test_no_caller_chooses_his_place() -> None:
    """The key of the hash is each table's own."""
    one, two = Rates(RateTable().fd), Rates(RateTable().fd)
    assert one._hash(b"a") != two._hash(b"a")
