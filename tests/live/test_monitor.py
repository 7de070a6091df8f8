"""The watcher beside a real server: what it shows, what it may not, and that it is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live.conftest import Serve
from tests.live.served import Served, alive, free_port, loopback, serve

MARK = "sealgate.runtime.watcher"


class Monitored:
    """A server with a watcher, and how to ask it."""

    def __init__(self, served: Served, page: str, probes: str) -> None:
        self.served, self.page, self.probes = served, page, probes

    def get(self, path: str, **settings: Any) -> httpx.Response:
        return httpx.get(f"http://{self.page}{path}", timeout=20, **settings)

    def probe(self, path: str) -> int:
        return httpx.get(f"http://{self.probes}{path}", timeout=20).status_code

    def metrics(self) -> dict[tuple[str, str], float]:
        """By name and the value of the label that tells most."""
        found = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                found[sample.name, sample.labels.get("listener", "")] = sample.value
        return found

    def pid(self) -> int:
        """Of the watcher."""
        self.served.wait_for(lambda: self.served.children(MARK))
        return self.served.children(MARK)[0]

    def status(self, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sealgate", "status", "-c", str(self.served.policy), *more]
        command += ["--state", str(self.served.state)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def addresses() -> tuple[str, str]:
    host = loopback()
    return f"{host}:{free_port(host)}", f"{host}:{free_port(host)}"


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    page, probes = addresses()
    folder = tmp_path_factory.mktemp("monitored")
    settings = {"listen": page, "probes": probes}
    with serve(folder, app="echo:app", env={"MY_SECRET": "s3cret"}, monitor=settings) as served:
        found = Monitored(served, page, probes)
        served.wait_for(lambda: found.get("/status.json").json()["snapshot"])
        yield found


def test_the_page_shows_what_is_served(monitored: Monitored) -> None:
    answer = monitored.get("/")
    assert answer.status_code == 200
    assert "All is well" in answer.text
    assert f"https://{monitored.served.host}:{monitored.served.https}" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/view", "/status.json", "/metrics", "/static/style.css", "/static/page.js"]
)
def test_every_part_of_it_is_its_own_file(monitored: Monitored, path: str) -> None:
    assert monitored.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/static/../page.py", "/static/page.py", "/static/%2e%2e/page.py", "/x"])
def test_nothing_else_is(monitored: Monitored, path: str) -> None:
    assert monitored.get(path).status_code == 404


def test_metrics_tell_when_the_served_certificate_ends(monitored: Monitored) -> None:
    metrics = monitored.metrics()
    where = f"{monitored.served.host}:{monitored.served.https}"
    ends = metrics["sealgate_certificate_expiry_timestamp_seconds", where]
    assert ends == metrics["sealgate_certificate_expiry_timestamp_seconds", "stored"]
    assert 46 * 86400 < ends - time.time() < 47 * 86400
    assert metrics["sealgate_up", ""] == 1
    assert metrics["sealgate_workers", ""] == 1


@pytest.mark.parametrize(
    "host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "", "[::2]", "a@b"]
)
def test_a_stranger_s_name_that_points_here_learns_nothing(monitored: Monitored, host: str) -> None:
    answer = monitored.get("/status.json", headers={"Host": host})
    assert answer.status_code in {400, 421}
    assert "snapshot" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "[::1]:9443", "127.0.0.1", "a.localhost"])
def test_a_tunnel_s_name_is_known(monitored: Monitored, host: str) -> None:
    assert monitored.get("/status.json", headers={"Host": host}).status_code == 200


def test_probes_tell_two_words(monitored: Monitored) -> None:
    assert monitored.probe("/healthz") == 200
    assert monitored.probe("/readyz") == 200
    assert {monitored.probe(path) for path in ("/", "/metrics", "/status.json")} == {404}


def test_who_only_connects_keeps_no_probe_out(monitored: Monitored) -> None:
    """Or any stranger could have a cluster restart the service."""
    host, _, port = monitored.probes.rpartition(":")
    folder = Path(f"/proc/{monitored.pid()}/fd")
    idle = []
    try:
        for _ in range(7):
            idle += [socket.create_connection((host, int(port)), 20) for _ in range(100)]
            assert [monitored.probe(path) for path in ("/healthz", "/readyz")] == [200, 200]
        assert len(list(folder.iterdir())) < 500  # 256, those of one more turn, and its own
        assert monitored.get("/status.json").status_code == 200
        for sock in idle:
            assert not _answer(sock), "who says nothing is told nothing"
    finally:
        for sock in idle:
            sock.close()


def _answer(sock: socket.socket) -> bytes:
    """What comes until the connection ends, which it does."""
    sock.settimeout(30)
    try:
        return sock.recv(1)
    except ConnectionResetError:
        return b""


def test_status_is_one_screen(monitored: Monitored) -> None:
    done = monitored.status()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All is well" in done.stdout
    shown = json.loads(monitored.status("--json").stdout)
    assert shown["alerts"] == []
    assert shown["snapshot"]["listeners"][0]["fingerprint"] == shown["snapshot"]["certificate"]["fingerprint"]


def test_the_watcher_reads_no_key_and_writes_nowhere(monitored: Monitored) -> None:
    """Seen by what Landlock leaves a process that is started in the same way."""
    probe = """
import os, sys
from pathlib import Path
from sealgate.runtime.confinement import confine_watcher
from sealgate.runtime.separation import plan
state, folder = Path(sys.argv[1]), Path(sys.argv[2])
keys = [path for path in state.rglob("*") if path.is_file()]
assert any(path.name == "key.pem" for path in keys)
confine_watcher(plan(state))
kernels = [Path("/proc") / name for name in ("net/unix", "net/tcp", "self/status", "self/root/etc/shadow")]
for path in (*keys, folder / "sealgate.toml", *kernels, Path(f"/proc/{os.getppid()}/cmdline")):
    try:
        path.read_bytes()
    except PermissionError:
        continue
    sys.exit(f"{path} can be read")
for place in (folder, Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path.home(), state):
    try:
        (place / "written").write_text("x")
    except PermissionError:
        continue
    sys.exit(f"{place} can be written to")
"""
    command = [sys.executable, "-P", "-c", probe, str(monitored.served.state), str(monitored.served.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    status = Path(f"/proc/{monitored.pid()}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    for name in ("Eff", "Prm", "Inh", "Amb"):
        assert f"Cap{name}:\t0000000000000000" in status


def test_its_environment_has_no_secret(monitored: Monitored) -> None:
    assert b"s3cret" not in Path(f"/proc/{monitored.pid()}/environ").read_bytes()


def test_envoy_s_counters_are_shown(monitored: Monitored) -> None:
    monitored.served.client().get("/")
    monitored.served.wait_for(
        lambda: 'sealgate_requests_total{class="2xx"}' in monitored.get("/metrics").text
    )
    text = monitored.get("/metrics").text
    assert 'sealgate_handshakes_total{version="TLSv1.3"}' in text
    assert 'sealgate_key_exchanges_total{group="X25519' in text


def test_only_requests_to_the_site_are_counted(sealgate: Serve) -> None:
    """Not what Sealgate asks Envoy's own admin interface, again and again."""
    served = sealgate(app="echo:app")
    found = Monitored(served, "", "")

    def counted() -> int:
        shown = json.loads(found.status("--json").stdout)["snapshot"]["counters"]
        return sum(value for name, label, value in shown if (name, label) == ("requests", "2xx"))

    before = [counted() for _ in range(3)]
    assert before == [0, 0, 0]
    assert served.client().get("/").status_code == 200
    served.wait_for(lambda: counted() == 1)
    assert counted() == 1


def test_killed_it_comes_back_and_nobody_was_refused(monitored: Monitored) -> None:
    before = monitored.pid()
    os.kill(before, signal.SIGKILL)
    assert monitored.probe("/healthz") == 200  # waits in the keeper's socket
    monitored.served.wait_for(lambda: monitored.served.children(MARK) not in ([], [before]))
    monitored.served.wait_for(lambda: monitored.probe("/readyz") == 200)


def test_one_that_hangs_is_in_nobody_s_way(sealgate: Serve) -> None:
    page, _ = addresses()
    served = sealgate(app="echo:app", monitor={"listen": page})
    served.wait_for(lambda: served.children(MARK))
    pid = served.children(MARK)[0]
    os.kill(pid, signal.SIGSTOP)
    served.reload()
    assert served.order(order="renew")["renewed"]
    assert served.client().get("/").status_code == 200
    assert served.stop() == 0
    assert not alive(pid)


def test_a_reload_moves_it_and_closes_it(sealgate: Serve) -> None:
    first, probes = addresses()
    second, _ = addresses()
    served = sealgate(app="echo:app", monitor={"listen": first, "probes": probes})
    there = Monitored(served, second, probes)
    served.rewrite(monitor={"listen": second})
    served.reload()
    served.wait_for(lambda: _answers(second))
    assert not _answers(first)
    assert there.get("/healthz").status_code == 404
    served.rewrite(monitor={"listen": "", "probes": ""})
    served.reload()
    served.wait_for(lambda: not _answers(second) and not served.children(MARK))
    assert not _answers(probes)
    served.rewrite(monitor={"listen": first})
    served.reload()
    served.wait_for(lambda: served.children(MARK))
    pid = served.children(MARK)[0]
    served.process.kill()  # it ends with its keeper, however that ends
    served.process.wait()
    served.wait_for(lambda: not alive(pid))


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_taken_port_is_refused_at_the_start_and_named(tmp_path: Path) -> None:
    host = loopback()
    with socket.create_server((host, 0)) as taken:
        address = f"{host}:{taken.getsockname()[1]}"
        said = rf"port-taken.*{address}.*pid {os.getpid()}.*\[monitor\]"
        with (
            pytest.raises(AssertionError, match=said),
            serve(tmp_path, app="echo:app", monitor={"listen": address}),
        ):
            raise AssertionError("it serves")


def test_a_missing_secret_is_refused_at_the_start_and_on_reload(tmp_path: Path, sealgate: Serve) -> None:
    hooks = [{"webhook": "https://127.0.0.1:1/", "secret": {"file": "nowhere"}}]
    with (
        pytest.raises(AssertionError, match="secret-missing"),
        serve(tmp_path, app="echo:app", monitor={"alerts": hooks}),
    ):
        raise AssertionError("it serves")
    served = sealgate(app="echo:app")
    served.rewrite(monitor={"alerts": hooks})
    served.reload()
    assert "not reloaded" in served.err
    assert "secret-missing" in served.err


def test_a_policy_file_that_would_not_load_is_seen(monitored: Monitored) -> None:
    served = monitored.served
    before = served.policy.read_text()
    try:
        served.policy.write_text("nonsense =")
        served.wait_for(lambda: "policy-broken" in monitored.get("/status.json").text)
        served.policy.write_text(before + '[limits]\nbody = "3MiB"\n')
        served.wait_for(lambda: "policy-changed" in monitored.get("/status.json").text)
    finally:
        served.policy.write_text(before)
    served.wait_for(lambda: "drift" not in monitored.get("/status.json").json()["alerts"])


@pytest.mark.long
def test_an_engine_that_hangs_is_seen(sealgate: Serve) -> None:
    page, probes = addresses()
    served = sealgate(app="echo:app", monitor={"listen": page, "probes": probes})
    found = Monitored(served, page, probes)
    served.wait_for(lambda: found.probe("/readyz") == 200)
    (engine,) = served.children("envoy")
    os.kill(engine, signal.SIGSTOP)
    try:
        served.wait_for(lambda: found.probe("/readyz") == 503, 60)
        assert found.probe("/healthz") == 200
        done = found.status("--json")
        assert done.returncode == 1
        assert "not-served" in done.stdout
    finally:
        os.kill(engine, signal.SIGCONT)
    served.wait_for(lambda: found.probe("/readyz") == 200, 60)


def a_changed_policy_is_taken_and_a_bad_one_is_not(found: Monitored, watch: subprocess.Popen[str]) -> None:
    served, before = found.served, found.page
    good = served.policy.read_text()

    def told() -> set[str]:
        return {one["key"].partition(":")[0] for one in found.get("/status.json").json()["alerts"]}

    served.policy.write_text(good + "\n[nonsense]\n")
    watch.send_signal(signal.SIGHUP)
    served.wait_for(lambda: any(key.startswith("drift policy-broken") for key in told()), 60)
    found.page, _ = addresses()
    served.policy.write_text(good.replace(before, found.page))
    watch.send_signal(signal.SIGHUP)

    def moved() -> bool:
        try:
            return found.get("/status.json").json()["snapshot"] is not None
        except httpx.TransportError:
            return False

    served.wait_for(moved, 60)
    assert not any(key.startswith("drift policy-broken") for key in told())
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{before}/", timeout=20)


def test_without_a_keeper(sealgate: Serve) -> None:
    """`status` says so and looks by itself; `watch` does it continuously, once."""
    page, _ = addresses()
    served = sealgate(app="echo:app")
    command = [
        sys.executable,
        "-m",
        "sealgate",
        "watch",
        "-c",
        str(served.policy),
        "--state",
        str(served.state),
    ]
    served.rewrite(monitor={"listen": page})
    beside = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert beside.returncode == 3
    assert "state-busy" in beside.stderr  # a keeper that runs has a watcher of its own
    served.stop()
    found = Monitored(served, page, "")
    done = found.status("--json")
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    assert shown["snapshot"]["keeper"] is False
    assert {one["code"] for one in shown["alerts"]} == {"not-served"}
    assert shown["snapshot"]["certificate"]["names"] == ["localhost", served.host]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watch:
        try:
            assert watch.stdout is not None
            assert "watching" in watch.stdout.readline()
            served.wait_for(lambda: found.get("/status.json").json()["snapshot"])
            page_text = found.get("/").text
            assert "a server of your own is to serve" in page_text
            assert "start it with" not in page_text
            assert found.metrics()["sealgate_up", ""] == 0
            again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert again.returncode == 3
            a_changed_policy_is_taken_and_a_bad_one_is_not(found, watch)
        finally:
            watch.terminate()
        assert watch.wait(20) == 0
