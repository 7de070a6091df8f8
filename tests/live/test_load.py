"""Nothing drops: requests go on while certificates are renewed, policy and app reloaded."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sealgate.engines.observe import handshake
from sealgate.policy.model import Endpoint
from tests.live.conftest import Serve
from tests.live.load import Tally, h1_client, h2_client
from tests.live.served import Background, Served


def reloads(served: Served) -> int:
    """How many SIGHUPs were answered."""
    assert "not reloaded" not in served.err, served.err[-2000:]
    return served.err.count("sealgate: reloaded")


async def renew(served: Served) -> float:
    """Renew, and look from outside for the new certificate: seconds until it was seen."""
    answer = await asyncio.to_thread(served.order, order="renew")
    came = time.monotonic()
    while True:
        seen = await asyncio.to_thread(handshake, Endpoint(served.host, served.https), served.host)
        if seen.fingerprint == answer["fingerprint"]:
            return float(answer["seen_after"]) + time.monotonic() - came
        assert time.monotonic() - came < 5, "the new certificate is not served"


async def reload(served: Served) -> None:
    """SIGHUP, and wait for its end."""
    before = reloads(served)
    served.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 60
    while reloads(served) == before:
        assert time.monotonic() < end, served.err[-2000:]
        await asyncio.sleep(0.05)


async def disturbed(served: Served, *, quiet: float, busy: float, renewals: int, sighups: int) -> None:
    """Load for `quiet` seconds, then for `busy` seconds with renewals and SIGHUPs spread over them."""
    tally = Tally(served)
    clients = [asyncio.ensure_future(h1_client(tally)) for _ in range(4)] + [
        h2_client(tally) for _ in range(3)
    ]
    await asyncio.sleep(quiet)
    changed = time.monotonic()

    async def at_times(count: int, action: Callable[[Served], object]) -> list[object]:
        results = []
        for number in range(count):
            await asyncio.sleep(max(0.0, changed + (number + 0.5) * busy / count - time.monotonic()))
            results.append(await action(served))  # type: ignore[misc]
        return results

    seen, _ = await asyncio.gather(at_times(renewals, renew), at_times(sighups, reload))
    tally.until = max(changed + busy, time.monotonic())
    await asyncio.gather(*clients)
    before, during = tally.p99(0, changed), tally.p99(changed, tally.until)
    slowest = max(float(str(one)) for one in seen)
    print(
        f"\n{len(tally.answers)} answers, {tally.connections} connections, {len(tally.failures)} failures; "
        f"p99 {before:.1f} ms before, {during:.1f} ms during; new certificate seen within {slowest:.2f} s"
    )
    assert tally.failures == []
    assert len(tally.answers) > 20 * (quiet + busy)
    assert slowest < 1.0


@pytest.mark.long
def test_no_request_is_lost_in_ten_seconds_of_changes(sealgate: Serve) -> None:
    served = sealgate(app="ops:app", site={"workers": 2})
    asyncio.run(disturbed(served, quiet=2, busy=8, renewals=4, sighups=3))


@pytest.mark.long
@pytest.mark.parametrize(("app", "workers"), [("ops:app", 1), ("ops:asgi", 2)])
def test_no_request_is_lost_in_a_minute_of_changes(sealgate: Serve, app: str, workers: int) -> None:
    served = sealgate(app=app, site={"workers": workers})
    asyncio.run(disturbed(served, quiet=15, busy=60, renewals=20, sighups=10))


@pytest.mark.parametrize("app", ["ops:app", pytest.param("ops:asgi", marks=pytest.mark.long)])
def test_slow_long_and_large_exchanges_go_on_across_reloads(sealgate: Serve, app: str) -> None:
    served = sealgate(app=app, site={"workers": 2}, limits={"body": "32MiB"})
    slow: list[int] = []

    def ask_slowly(stop) -> None:
        with served.client() as client:
            while not stop.is_set():
                slow.append(client.get("/sleep?1").status_code)

    def download(stop) -> None:
        with served.client(http2=True).stream("GET", "/drip?50") as answer:
            assert answer.status_code == 200
            assert "".join(answer.iter_text()) == "".join(f"{number}\n" for number in range(50))

    def upload(stop) -> None:
        chunks = [bytes([number]) * 65536 for number in range(50)]

        def drip():
            for chunk in chunks:
                yield chunk
                time.sleep(0.1)

        answer = served.client().post("/upload", content=drip())
        assert answer.status_code == 200
        assert answer.json()["sha256"] == hashlib.sha256(b"".join(chunks)).hexdigest()

    running = [Background(function) for function in (ask_slowly, ask_slowly, download, upload)]
    pids = set()
    with served.client() as client:
        for _ in range(3):
            served.reload()
            pids.add(client.get("/").json()["pid"])
    for one in running:
        one.end()
    assert set(slow) == {200}
    assert len(pids) == 3


def test_the_workers_share_the_load(sealgate: Serve) -> None:
    served = sealgate(app="ops:app", site={"workers": 2})
    with served.client(http2=True) as client:
        pids = {client.get("/").json()["pid"] for _ in range(60)}
    assert pids == set(served.children("sealgate.runtime.worker"))


def test_failures_are_counted(sealgate: Serve, tmp_path: Path) -> None:
    """The counter itself: a server killed under load is seen by every client."""
    served = sealgate(app="ops:app")

    async def killed() -> Tally:
        tally = Tally(served, path="/sleep?0.05", until=time.monotonic() + 1.5)
        clients = [asyncio.ensure_future(h1_client(tally)), h2_client(tally)]
        await asyncio.sleep(0.7)
        served.process.send_signal(signal.SIGKILL)
        await asyncio.gather(*clients)
        return tally

    kinds = {failure.partition(":")[0].partition(" ")[0] for failure in asyncio.run(killed()).failures}
    assert kinds == {"h1", "h2"}
