"""Budgets in Redis: the same whoever asks, from whatever machine; and what its loss comes to."""

from __future__ import annotations

import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate._system.rate_table import RateTable
from sealgate.guard.rates import Budget, Limiter, Rate, Unavailable
from sealgate.runtime.means import means_of
from sealgate.runtime.redis_store import RedisStore

SECOND = 1_000_000_000


class Server:
    """A redis-server of this test's own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        self._folder, self.password = folder, secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}/3"

    def start(self) -> None:
        config = self._folder / "redis.conf"
        config.write_text(
            f'bind 127.0.0.1\nport {self.port}\nsave ""\nappendonly no\ndir {self._folder}\n'
            f"requirepass {self.password}\n"
        )
        config.chmod(0o600)
        self._process = subprocess.Popen(["redis-server", str(config)], stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.02)

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def store(server: Server, said: list[str] | None = None, *, local: bool = False) -> RedisStore:
    table = means_of(-1, RateTable().fd).store if local else None
    return RedisStore(
        server.address, server.password, local=table, say=(said if said is not None else []).append
    )


def test_two_machines_count_together(server: Server) -> None:
    """In threads, at once: never more than the budget, nor two fewer."""
    machines = [store(server), store(server)]
    let_in = [0] * 8
    began = time.monotonic()

    def ask(number: int) -> None:
        limiter = Limiter([Rate("address", 100, 60, 100)], machines[number % 2])
        for _ in range(50):
            let_in[number] += limiter.address("192.0.2.7").deny is None

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    most = 100 + int((time.monotonic() - began) * 100 / 60)
    assert most - 2 < sum(let_in) <= most


def test_as_in_memory(server: Server) -> None:
    one, two = Budget(b"one", 60 * SECOND, 180 * SECOND), Budget(b"two", 60 * SECOND, 60 * SECOND)
    asked = store(server)
    first = asked.take(b"a", b"", [one, two])
    assert [round(level / SECOND) for level in first] == [60, 60]
    denied = asked.take(b"a", b"", [one, two])
    assert [round(level / SECOND) for level in denied] == [60, -60], "all or none"
    assert round(asked.take(b"a", b"", [one])[0] / SECOND) == 120
    assert round(asked.take(b"b", b"", [two])[0] / SECOND) == 60


def test_nothing_is_kept_longer_than_it_counts_and_nobody_is_named(server: Server) -> None:
    from redis import Redis

    Limiter([Rate("address", 10, 1, 10)], store(server)).address("192.0.2.7")
    client = Redis.from_url(server.address, password=server.password)
    (key,) = map(bytes, client.scan_iter())
    assert b"192.0.2.7" not in key
    assert key.startswith(b"sealgate:rate:")
    assert 0 < client.pttl(key) <= 1001
    end = time.monotonic() + 20
    while client.keys():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_server_that_forgot_the_script_is_told_it_again(server: Server) -> None:
    from redis import Redis

    limiter = Limiter([Rate("address", 10, 1, 10)], store(server))
    limiter.address("::1")
    Redis.from_url(server.address, password=server.password).script_flush()
    assert limiter.address("::1").deny is None


@pytest.mark.parametrize("local", [True, False])
def test_its_loss(server: Server, *, local: bool) -> None:
    said: list[str] = []
    asked = store(server, said, local=local)
    limiter = Limiter([Rate("address", 1, 3600, 2)], asked)
    assert limiter.address("::1").deny is None
    server.stop()
    began = time.monotonic()
    answers = [limiter.address("::1").deny for _ in range(200)]
    assert time.monotonic() - began < 2, "nobody waits for it again and again"
    if local:
        assert [deny is None for deny in answers] == [True, True, *[False] * 198], "this machine's own budget"
    else:
        assert {deny.problem.slug for deny in answers if deny} == {"rates-unavailable"}
        with pytest.raises(Unavailable):
            asked.take(b"a", b"", [Budget(b"m", 1, 1)])
    assert len(said) == 1
    assert "cannot be asked" in said[0]
    server.start()
    end = time.monotonic() + 30
    while len(said) < 2:
        limiter.address("::2")
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "answers again" in said[1]
    assert server.password not in "".join(said)


def test_a_wrong_password_is_a_loss(server: Server) -> None:
    said: list[str] = []
    asked = RedisStore(server.address, "wrong", local=None, say=said.append)
    with pytest.raises(Unavailable):
        asked.take(b"a", b"", [Budget(b"m", 1, 1)])
    assert "wrong" not in said[0]


def test_a_peer_that_says_nothing_costs_a_tenth_of_a_second_once() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        asked = RedisStore(address, "", local=None, say=lambda _: None)
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(Unavailable):
                asked.take(b"a", b"", [Budget(b"m", 1, 1)])
        assert time.monotonic() - began < 2
