"""Stopping: what is under way ends well, nothing new begins, nothing is left behind."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client

from tests.live.conftest import Serve
from tests.live.served import (
    APPS,
    Background,
    Served,
    alive,
    free_port,
    loopback,
    start_process,
    write_policy,
)


def nothing_left(served: Served, children: list[int]) -> None:
    assert not [pid for pid in children if alive(pid)]
    run = [path.name for path in (served.state / "run").rglob("*") if path.name != "tmp"]
    assert run == []
    with (served.state / "keeper.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for port in (served.https, served.http):
        with socket.create_server((served.host, port)):
            pass


def refuses(served: Served) -> bool:
    try:
        with socket.create_connection((served.host, served.https), timeout=1):
            return False
    except ConnectionRefusedError:
        return True


class UnderWay:
    """Exchanges that have begun, each in a thread."""

    def __init__(self) -> None:
        self._begun: list[threading.Event] = []
        self._threads: list[Background] = []

    def add(self, function: Callable[[Callable[[], None]], None]) -> None:
        event = threading.Event()
        self._begun.append(event)
        self._threads.append(Background(lambda _stop: function(event.set)))

    def begun(self) -> None:
        for event, thread in zip(self._begun, self._threads, strict=True):
            if not event.wait(10):
                thread.end()
                pytest.fail("not begun")

    def ended(self) -> None:
        for thread in self._threads:
            thread.end()


def slow(served: Served) -> Callable[[Callable[[], None]], None]:
    def exchange(begun: Callable[[], None]) -> None:
        with served.connect() as tls:
            tls.sendall(f"GET /sleep?2 HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
            begun()
            answer = tls.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" in answer.lower()

    return exchange


def stream(served: Served, path: str, lines: int) -> Callable[[Callable[[], None]], None]:
    def exchange(begun: Callable[[], None]) -> None:
        with served.client(http2=True) as client, client.stream("GET", f"{path}?{lines}") as answer:
            assert answer.status_code == 200
            got = []
            for line in answer.iter_lines():
                begun()
                got.append(line.removeprefix("data: "))
        assert [line for line in got if line] == [str(number) for number in range(lines)]

    return exchange


def upload(served: Served) -> Callable[[Callable[[], None]], None]:
    def exchange(begun: Callable[[], None]) -> None:
        chunks = [bytes([number]) * 10_000 for number in range(20)]

        def body() -> Iterator[bytes]:
            for chunk in chunks:
                yield chunk
                begun()
                time.sleep(0.1)

        with served.client() as client:
            answer = client.post("/upload", content=body())
        assert answer.status_code == 200
        assert answer.json()["sha256"] == hashlib.sha256(b"".join(chunks)).hexdigest()

    return exchange


def chat(served: Served) -> Callable[[Callable[[], None]], None]:
    def exchange(begun: Callable[[], None]) -> None:
        uri = f"wss://{served.host}:{served.https}/"
        with websockets.sync.client.connect(uri, ssl=served.context()) as socket_:
            for number in range(20):
                socket_.send(str(number))
                assert socket_.recv(5) == str(number)
                begun()
                time.sleep(0.1)

    return exchange


@pytest.mark.parametrize("app", [pytest.param("ops:app", marks=pytest.mark.long), "ops:asgi"])
def test_what_is_under_way_ends_well_and_nothing_is_left(sealgate: Serve, app: str, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()  # directly beside the state directory an app can make nothing
    goodbye = tmp_path / "place" / "goodbye"
    served = sealgate(app=app, site={"workers": 2}, env={"OPS_GOODBYE": str(goodbye)})
    children = served.children("")
    under_way = UnderWay()
    under_way.add(slow(served))
    under_way.add(stream(served, "/drip", 20))
    under_way.add(upload(served))
    if app == "ops:asgi":
        under_way.add(stream(served, "/events", 20))
        under_way.add(chat(served))
    under_way.begun()
    served.process.send_signal(signal.SIGTERM)
    served.wait_for(lambda: refuses(served), 20)
    under_way.ended()
    assert served.process.wait(10) == 0
    nothing_left(served, children)
    assert "cut off" not in served.err
    assert goodbye.exists() == (app == "ops:asgi")  # its lifespan shutdown ran


def test_draining_has_an_end(sealgate: Serve) -> None:
    served = sealgate(app="ops:app", timeouts={"drain": "1s"})
    children = served.children("")
    with served.connect() as tls:
        tls.sendall(f"GET /drip?600 HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        assert tls.recv(1000)
        began = time.monotonic()
        assert served.stop() == 0
        assert 1 <= time.monotonic() - began < 9
    assert "still under way after 1 s and are cut off" in served.err
    nothing_left(served, children)


@pytest.mark.parametrize("second", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_second_signal_ends_it_at_once(sealgate: Serve, second: signal.Signals) -> None:
    served = sealgate(app="ops:app")
    children = served.children("")
    with served.connect() as tls:
        tls.sendall(f"GET /sleep?60 HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        served.wait_for(lambda: refuses(served), 20)
        served.wait_for(lambda: "a second Ctrl-C or SIGTERM ends it" in served.err, 20)
        assert served.process.poll() is None
        began = time.monotonic()
        served.process.send_signal(second)
        assert served.process.wait(20) == 0
        assert time.monotonic() - began < 10
    assert "starting another" not in served.err
    assert "envoy-admin" not in served.err
    nothing_left(served, children)


def test_ctrl_c_reaches_the_whole_group_and_is_graceful(tmp_path: Path) -> None:
    host = loopback()
    https = free_port(host)
    policy = tmp_path / "sealgate.toml"
    tables: dict[str, dict[str, Any]] = {
        "site": {"app": "ops:app", "names": [host]},
        "listen": {"https": [f"{host}:{https}"], "http": []},
    }
    write_policy(policy, tables)
    with (tmp_path / "out.log").open("wb") as out, (tmp_path / "err.log").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "sealgate", "serve", "-c", str(policy)],
            stdout=out,
            stderr=err,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(APPS), "SEALGATE_STATE": str(tmp_path / "state")},
            start_new_session=True,
        )
    served = Served(process, host, https, https, tmp_path, tmp_path / "state", policy, tables)
    try:
        served.wait_for(lambda: "sealgate: ready" in served.out)
        under_way = UnderWay()
        under_way.add(slow(served))
        under_way.begun()
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the group
        under_way.ended()
        assert process.wait(10) == 0
        assert "Traceback" not in served.err
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.long
def test_stopped_at_any_moment_of_its_start_nothing_is_left(tmp_path: Path) -> None:
    host = loopback()
    https = free_port(host)
    policy = tmp_path / "sealgate.toml"
    tables: dict[str, dict[str, Any]] = {
        "site": {"app": "ops:app", "names": [host]},
        "listen": {"https": [f"{host}:{https}"], "http": []},
    }
    write_policy(policy, tables)
    arguments = ("serve", "-c", str(policy), "--state", str(tmp_path / "state"))
    for number in range(20):
        process = start_process(tmp_path, *arguments, env={"PYTHONPATH": str(APPS)})
        served = Served(process, host, https, https, tmp_path, tmp_path / "state", policy, tables)
        time.sleep(random.uniform(0, 2))
        children = served.children("")
        process.send_signal(signal.SIGTERM)
        status = process.wait(15)
        # Before Python has set up its handler, the signal itself ends it.
        assert status in {0, -signal.SIGTERM, 130}, (number, served.err)
        assert "Traceback" not in served.err, (number, served.err)
        if status == 0:
            nothing_left(served, children)
        assert not [pid for pid in children if alive(pid)]
