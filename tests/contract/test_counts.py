"""What was asked, refused and how long it took: told by every engine, over the lives of its workers."""

from __future__ import annotations

import os
import signal
import socket

from sealgate.engines.counts import bound_names
from tests.contract.sites import Site, on
from tests.live.served import alive
from tests.live.wire import get, tell

Counts = dict[tuple[str, str], int]


def counts(site: Site) -> Counts:
    shown = site.served.order(order="status")["snapshot"]["counters"]
    found = {(name, label): value for name, label, value in shown}
    assert len(found) == len(shown)
    return found


def more(site: Site, before: Counts, name: str, *labels: str) -> int:
    """So much more than before, of all these labels."""
    now = counts(site)
    assert all(now[key] >= value for key, value in before.items()), "nothing shrinks"
    return sum(now.get((name, label), 0) - before.get((name, label), 0) for label in labels)


def refused(site: Site) -> str:
    """Have a process of the app's refuse a request; the problem."""
    if site.inside:
        assert tell(site.served, get("other.example", "/x"))[0].slug == "unknown-host"
        return "unknown-host"
    # What the server refuses never reaches the guard; so somebody who is not the server asks.
    (path,) = list((site.served.state / "run").glob("app-*.sock"))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        here = os.open(path.parent, os.O_PATH)
        try:
            sock.connect(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)
        sock.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 500 " in sock.recv(100)
    return "internal-error"


@on("usual", "asgi")
def test_requests_refusals_and_times_are_counted(site: Site) -> None:
    seconds = "server_seconds" if site.inside else "worker_seconds"
    before = counts(site)
    for _ in range(3):
        assert tell(site.served, get("localhost", "/x"))[0].status == 200
    code = refused(site)
    site.served.wait_for(lambda: more(site, before, "requests", "2xx") >= 3)
    site.served.wait_for(lambda: more(site, before, "denials", code) == 1)
    site.served.wait_for(lambda: more(site, before, seconds, *bound_names()) == 4)
    assert more(site, before, "requests", "2xx") == 3
    least = 0 if site.engine == "uvicorn" else 1  # the clock of its loop counts milliseconds
    site.served.wait_for(lambda: more(site, before, seconds, "nanoseconds") >= least)
    if site.engine == "envoy":
        site.served.wait_for(lambda: more(site, before, "server_seconds", *bound_names()) >= 3)
        assert more(site, before, "server_seconds", "nanoseconds") >= 0


@on("usual")
def test_a_worker_that_is_killed_takes_nothing_with_it(site: Site) -> None:
    assert tell(site.served, get("localhost", "/x"))[0].status == 200
    dead = site.witness.lines()[-1]["pid"]
    before = counts(site)
    os.kill(dead, signal.SIGKILL)
    site.served.wait_for(lambda: not alive(dead))

    def answered() -> bool:
        try:
            return tell(site.served, get("localhost", "/x"))[0].status == 200
        except (OSError, AssertionError, IndexError):
            return False

    site.served.wait_for(answered)
    site.served.wait_for(lambda: more(site, before, "requests", "2xx") >= 1)
