"""What is nginx's alone: no load for renewals and rolls, what clients hear before one, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from h2.connection import ConnectionInputs, ConnectionState, H2ConnectionStateMachine

from tests.live.backend import Backend, backend
from tests.live.load import Tally, closed, h1_client, h2_client
from tests.live.programs import mainline_nginx
from tests.live.served import Background, Served, alive, serve
from tests.live.wire import Answer, get, h2_connection, parse, read_until_closed

NGINX = {"engine": "nginx", "workers": 2}


@pytest.fixture(
    scope="module", autouse=True, params=["debian", pytest.param("mainline", marks=pytest.mark.long)]
)
def program(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it on today's nginx too, where there is time."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "mainline":
            patch.setenv("SEALGATE_NGINX", str(mainline_nginx()))
        yield


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("nginx"), app="ops:app", site=NGINX) as found:
        yield found


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Backend]]:
    folder = tmp_path_factory.mktemp("upstream")
    site = {"engine": "nginx", "names": ["api.internal", "*.api.internal", "localhost"]}
    with backend() as other, serve(folder, site={**site, "upstream": other.url}) as found:
        yield found, other


def say(served: Served, data: bytes) -> list[Answer]:
    """Send these bytes over TLS; the site is not called what its address is."""
    with served.connect(served.context(check_hostname=False)) as tls:
        tls.sendall(data)
        return parse(read_until_closed(tls))


def master(served: Served) -> int:
    (pid,) = served.children("nginx: master")
    return pid


def processes(served: Served) -> set[int]:
    """What the master has started."""
    pid = master(served)
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_renewals_and_rolls_under_load_leave_processes_and_connections_alone(served: Served) -> None:
    before, tally = processes(served), Tally(served)

    async def changes() -> None:
        clients: list[asyncio.Future[None]] = [asyncio.ensure_future(h1_client(tally)) for _ in range(3)]
        clients += [h2_client(tally) for _ in range(2)]
        for _ in range(10):
            await asyncio.to_thread(served.order, order="renew")
        for _ in range(2):
            await asyncio.to_thread(served.reload)
        tally.until = 0
        await asyncio.gather(*clients)

    asyncio.run(changes())
    assert tally.failures == []
    assert tally.connections == 5
    assert len(tally.answers) > 50
    assert processes(served) == before


def test_every_handshake_during_renewals_has_a_pair_that_fits(served: Served) -> None:
    seen: set[bytes] = set()

    async def connect(context: ssl.SSLContext, done: asyncio.Event) -> None:
        while not done.is_set():
            _, writer = await asyncio.open_connection(
                served.host, served.https, ssl=context, server_hostname=served.host
            )
            seen.add(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            await closed(writer)

    async def both() -> None:
        done = asyncio.Event()
        clients = [asyncio.ensure_future(connect(served.context(), done)) for _ in range(4)]
        for _ in range(10):
            await asyncio.to_thread(served.order, order="renew")
        done.set()
        await asyncio.gather(*clients)

    asyncio.run(both())
    assert len(seen) > 3


@pytest.mark.long
def test_busy_clients_are_told_before_a_load(tmp_path: Path) -> None:
    with serve(tmp_path, app="ops:app", site=NGINX) as served:
        before, tally = processes(served), Tally(served)

        async def loads() -> None:
            clients = [asyncio.ensure_future(h1_client(tally)) for _ in range(4)]
            for number in range(3):
                served.rewrite(timeouts={"idle": f"{61 + number}s"})
                await asyncio.to_thread(served.reload)
            tally.until = 0
            await asyncio.gather(*clients)

        asyncio.run(loads())
        assert "not reloaded" not in served.err
        assert tally.failures == []
        assert tally.connections > 4
        assert not processes(served) & before
        assert "closing-3;" in (served.state / "engines/nginx/generation.conf").read_text()


@pytest.mark.long
def test_http2_requests_under_way_end_well_across_a_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes after GOAWAY (RFC 9113 §6.8), which this client's library would not take in."""
    for name in ("RECV_HEADERS", "RECV_DATA", "RECV_WINDOW_UPDATE", "SEND_WINDOW_UPDATE"):
        key = (ConnectionState.CLOSED, ConnectionInputs[name])
        monkeypatch.setitem(H2ConnectionStateMachine._transitions, key, (None, ConnectionState.CLOSED))
    with serve(tmp_path, app="ops:app", site=NGINX) as served:
        connection = h2_connection(served)
        with connection.sock:
            pseudo = [(":method", "GET"), (":scheme", "https"), (":authority", served.host)]
            stream = connection.headers([*pseudo, (":path", "/sleep?2")])
            served.rewrite(timeouts={"idle": "61s"})
            loading = Background(lambda _: served.reload())
            while not (stream in connection.answers and connection.answers[stream].complete):
                assert connection.step(20)
            loading.end()
            assert connection.answers[stream].status == 200
            assert not connection.resets


def test_what_nginx_does_not_accept_changes_nothing(tmp_path: Path) -> None:
    """A file of ours that nginx refuses: here, one whose place is taken by a directory."""
    with serve(tmp_path, app="ops:app", site=NGINX) as served:
        files = served.state / "engines/nginx"
        kept = {path.name: path.read_bytes() for path in files.glob("*.conf")}
        (files / "generation.conf").write_text("nonsense;\n")
        served.rewrite(timeouts={"idle": "61s"})
        served.reload()
        assert "not reloaded" in served.err
        assert "nonsense" in served.err
        assert served.client().get("/").status_code == 200
        assert (files / "nginx.conf").read_bytes() == kept["nginx.conf"]
        assert not list(files.glob("draft*"))


def test_a_killed_master_leaves_nobody_behind_and_is_started_again(tmp_path: Path) -> None:
    with serve(tmp_path, app="ops:app", site=NGINX) as served:
        old, orphans = master(served), processes(served)
        os.kill(old, signal.SIGKILL)
        served.wait_for(lambda: "nginx serves again" in served.err)
        assert master(served) != old
        assert not any(alive(pid) for pid in orphans)
        assert served.client().get("/").status_code == 200


def test_a_killed_keeper_takes_all_of_nginx_with_it(tmp_path: Path) -> None:
    with serve(tmp_path, app="ops:app", site=NGINX) as served:
        pids = {master(served), *processes(served)}
        served.process.kill()
        served.process.wait()
        served.wait_for(lambda: not any(alive(pid) for pid in pids))


def test_a_host_that_is_not_the_sites(fronted: tuple[Served, Backend]) -> None:
    served, other = fronted
    before = len(other.seen)
    for host in (
        "evil.test",
        "a.b.api.internal",
        ".api.internal",
        f"api.internal:{served.https + 1}",
        "[::1]",
    ):
        (answer,) = say(served, get(host, "/x"))
        assert (answer.status, answer.slug) == (421, "unknown-host"), host
        assert answer.one("strict-transport-security")
    (answer,) = say(served, get("localhost", "http://evil.test/x"))
    assert answer.status == 421
    assert len(other.seen) == before
    for host in ("api.internal", "A.api.internal", f"api.internal:{served.https}"):
        (answer,) = say(served, get(host, "/x"))
        assert answer.status == 200, host


@pytest.mark.parametrize("path", ["/a/../b", "//a", "/a/./b", "/a%2fb", "/a;x/..;/b", '/"', "/a/%2e%2e/b"])
def test_a_backend_gets_canonical_paths_only(fronted: tuple[Served, Backend], path: str) -> None:
    served, other = fronted
    before = len(other.seen)
    (answer,) = say(served, get("api.internal", path))
    assert (answer.status, answer.slug) == (400, "path-not-canonical")
    assert len(other.seen) == before


def test_a_backend_hears_what_the_engine_says(fronted: tuple[Served, Backend]) -> None:
    served, other = fronted
    lies = [
        f"{name}: 192.0.2.66" for name in ("X-Forwarded-For", "Forwarded", "x_forwarded_for", "X-Real-IP")
    ]
    (answer,) = say(served, get("api.internal", "/a%20b?c=%2F", *lies, "Sealgate-Proof: x"))
    assert answer.status == 200
    seen = other.seen[-1]
    fields = dict(seen["fields"])
    assert seen["path"] == "/a%20b?c=%2F"
    assert "192.0.2.66" not in str(seen)
    assert not [name for name in fields if name.startswith("sealgate-")]
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "https"
    assert len(fields["x-request-id"]) == 32


def test_pages_for_problems_are_the_apps_to_whoever_asks_for_them(fronted: tuple[Served, Backend]) -> None:
    served, other = fronted
    (answer,) = say(served, get("api.internal", "/.sealgate-problem/bad-request"))
    assert answer.status == 200
    assert other.seen[-1]["path"] == "/.sealgate-problem/bad-request"


def test_a_closing_flag_ends_each_connection_after_its_answer(served: Served) -> None:
    flag = served.state / "run/engine" / f"closing-{loads(served)}"
    with served.connect() as tls:
        tls.sendall(get(served.host, "/", close=False))
        (answer,) = parse(read_until_closed(tls))
        assert answer.one("connection") == "keep-alive"
        flag.touch()
        try:
            tls.sendall(get(served.host, "/", close=False))
            (answer,) = parse(read_until_closed(tls))
            assert answer.status == 200
            assert answer.one("connection") == "close"
        finally:
            flag.unlink()


def loads(served: Served) -> int:
    text = (served.state / "engines/nginx/generation.conf").read_text()
    return int(text.rpartition("closing-")[2].partition(";")[0])
