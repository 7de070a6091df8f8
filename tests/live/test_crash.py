"""Crashes: of a worker, of Envoy, of the app at its start, of the keeper itself."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.live.conftest import Serve
from tests.live.served import Served, alive, serve, start_process

WORKER = "sealgate.runtime.worker"


@pytest.fixture(scope="module", params=["ops:app", pytest.param("ops:asgi", marks=pytest.mark.long)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers."""
    with serve(tmp_path_factory.mktemp("pair"), app=request.param, site={"workers": 2}) as served:
        yield served


def get(served: Served, path: str = "/") -> httpx.Response:
    with httpx.Client(base_url=served.url, verify=served.context(), timeout=20) as client:
        return client.get(path)


def two_workers(served: Served) -> list[int]:
    """Both of them serve: whoever was started in another's place has said so."""
    served.wait_for(lambda: len(served.children(WORKER)) == 2 and in_place(served))
    return served.children(WORKER)


def in_place(served: Served) -> bool:
    return served.err.count("starting another") == served.err.count("serves in its place")


def test_the_other_worker_serves_while_one_is_started_again(pair: Served) -> None:
    dead, other = two_workers(pair)
    os.kill(dead, signal.SIGKILL)
    statuses = [get(pair).status_code for _ in range(30)]
    # An exchange that was under way with the dead one is lost; what comes after goes to the other.
    assert statuses.count(200) >= 29
    pair.wait_for(lambda: f"worker {dead} ended (SIGKILL); starting another" in pair.err)
    fresh = (set(two_workers(pair)) - {other}).pop()
    assert fresh != dead
    assert pair.err.rstrip().endswith(f"worker {fresh} serves in its place")


def test_a_request_that_kills_its_worker_is_answered_503(pair: Served) -> None:
    before = two_workers(pair)
    answer = get(pair, "/die")
    assert answer.status_code in {502, 503}
    assert answer.headers["content-type"] == "application/problem+json"
    pair.wait_for(lambda: pair.children(WORKER) != before)
    assert len(set(two_workers(pair)) - set(before)) == 1
    assert [get(pair).status_code for _ in range(10)] == [200] * 10


def test_a_killed_envoy_is_started_again(pair: Served) -> None:
    (envoy,) = pair.children("envoy")
    fingerprint = pair.order(order="renew", force=False)["fingerprint"]
    os.kill(envoy, signal.SIGKILL)
    pair.wait_for(lambda: pair.children("envoy") not in ([], [envoy]))
    pair.wait_for(lambda: "Envoy serves again" in pair.err)
    assert get(pair).status_code == 200
    assert pair.order(order="renew", force=False)["fingerprint"] == fingerprint
    assert two_workers(pair)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker, of an app that can be made to die at each start."""
    folder = tmp_path_factory.mktemp("single")
    switch = folder / "switch"
    switch.touch()
    with serve(folder, app="ops:app", env={"OPS_SWITCH": str(switch)}) as served:
        yield served


def waits(served: Served) -> list[float]:
    """Seconds before each further try to start a worker."""
    lines = served.err.splitlines()
    return [float(line.rpartition(" in ")[2].split()[0]) for line in lines if "trying again" in line]


def test_the_app_down_is_503_at_once_and_its_restarts_slow_down(single: Served) -> None:
    (single.folder / "switch").unlink()
    (worker,) = single.children(WORKER)
    os.kill(worker, signal.SIGKILL)
    single.wait_for(lambda: not alive(worker))
    begin = time.monotonic()
    single.wait_for(lambda: get(single).status_code == 503)
    answer = get(single)
    assert time.monotonic() - begin < 3
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["status"] == 503
    single.wait_for(lambda: len(waits(single)) >= 4, 60)
    found = waits(single)
    # 0.1, 0.2, 0.4, 0.8 s and a start of each: never a storm.
    assert found == sorted(found)
    assert found[-1] >= 0.7
    assert time.monotonic() - begin >= sum(found[:-1])
    (single.folder / "switch").touch()
    single.wait_for(lambda: get(single).status_code == 200)
    assert len(single.children(WORKER)) == 1


def bindable(host: str, port: int) -> bool:
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def test_nothing_outlives_a_killed_keeper_and_the_next_one_starts(sealgate: Serve) -> None:
    served = sealgate(app="ops:app", site={"workers": 2})
    children = served.children("")
    assert len(children) == 3
    with served.connect() as tls:
        tls.sendall(f"GET /sleep?30 HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        served.wait_for(lambda: served.process.poll() is None)
        time.sleep(0.2)  # the request is with a worker now, which would be busy for half a minute
        served.process.kill()
        served.process.wait()
        served.wait_for(lambda: not any(alive(pid) for pid in children), 20)
    # The last thread of a killed process closes its listeners a moment after its first is gone.
    served.wait_for(lambda: bindable(served.host, served.https), 20)
    stale = [path.name for path in (served.state / "run").iterdir()]
    assert "control.sock" in stale
    arguments = ("serve", "-c", str(served.policy), "--state", str(served.state))
    again = start_process(served.folder, *arguments, env={"PYTHONPATH": str(Path(__file__).parent / "apps")})
    served.process = again
    served.wait_for(lambda: "sealgate: ready" in served.out)
    assert get(served).status_code == 200
    left = {path.name for path in (served.state / "run").iterdir()}
    assert not {name for name in stale if name.startswith(("app-", "admin-"))} & left
