"""SIGHUP: the policy and the app change under a running server, or everything stays as it was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sealgate.engines.observe import handshake
from sealgate.policy.model import Endpoint
from tests.live.conftest import Serve
from tests.live.served import APPS, Served, free_port, serve

APP = """
import os
def app(environ, start_response):
    body = b"{answer}"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def own(sealgate: Serve, tmp_path: Path) -> Served:
    """An app of the test's own, in a folder of its own."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "mine.py").write_text(APP.format(answer="first"))
    return sealgate(app="mine:app", app_folder=folder)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that each test leaves as it was."""
    with serve(tmp_path_factory.mktemp("steady"), app="ops:app") as served:
        yield served


def code(served: Served) -> Path:
    return served.folder.parent / "code" / "mine.py"


def fingerprint(served: Served, port: int = 0) -> str:
    return handshake(Endpoint(served.host, port or served.https), served.host).fingerprint


def guard(served: Served) -> dict[str, object]:
    return json.loads((served.state / "live/guard/policy.json").read_text())


def get(served: Served, path: str = "/") -> httpx.Response:
    with httpx.Client(base_url=served.url, verify=served.context(), timeout=20) as client:
        return client.get(path)


def test_changed_code_is_served(own: Served) -> None:
    before = own.children("sealgate.runtime.worker")
    assert get(own).text == "first"
    code(own).write_text(APP.format(answer="the second one"))
    own.reload()
    assert get(own).text == "the second one"
    own.wait_for(lambda: len(own.children("sealgate.runtime.worker")) == 1)
    assert own.children("sealgate.runtime.worker") != before


def test_new_names_get_a_new_certificate(own: Served) -> None:
    before = fingerprint(own)
    own.rewrite(site={"names": ["localhost", own.host, "orders.test"]})
    own.reload()
    assert fingerprint(own) != before
    context = own.context()
    with (
        socket.create_connection((own.host, own.https)) as raw,
        context.wrap_socket(raw, server_hostname="orders.test") as tls,
    ):
        shown: Any = tls.getpeercert()
    names = {name for _, name in shown["subjectAltName"]}
    assert {"localhost", "orders.test"} <= names
    assert httpx.get(own.url, headers={"Host": "orders.test"}, verify=context).status_code == 200


def test_limits_timeouts_modes_and_profile_take_effect(own: Served) -> None:
    body = b"x" * 2048
    with httpx.Client(base_url=own.url, verify=own.context()) as client:
        assert client.post("/", content=body).status_code == 200
    own.rewrite(
        limits={"body": "1KiB"},
        timeouts={"headers": "1s"},
        http={"mode": "refuse"},
        tls={"profile": "modern@6.0"},
    )
    own.reload()
    with httpx.Client(base_url=own.url, verify=own.context()) as client:
        assert client.post("/", content=body).status_code == 413
    assert httpx.get(own.plain).status_code == 403
    old = own.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises(ssl.SSLError), own.connect(old):
        pass
    with own.connect() as tls:
        began = time.monotonic()
        tls.sendall(b"GET / HTTP/1.1\r\nHost: " + own.host.encode() + b"\r\n")
        assert b" 408 " in tls.recv(4096)
        assert time.monotonic() - began < 5


def test_listeners_come_and_go(own: Served) -> None:
    other = free_port(own.host)
    own.rewrite(listen={"https": [f"{own.host}:{own.https}", f"{own.host}:{other}"], "http": []})
    own.reload()
    assert fingerprint(own, other) == fingerprint(own)
    with pytest.raises(httpx.ConnectError):
        httpx.get(own.plain)
    own.rewrite(listen={"https": [f"{own.host}:{other}"]})
    own.reload()
    assert fingerprint(own, other)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((own.host, own.https), timeout=2)


def test_from_app_to_upstream_and_back(own: Served, sealgate: Serve) -> None:
    backend = sealgate(app="ops:app")
    own.tables["site"].pop("app")
    own.rewrite(site={"upstream": f"http://{backend.host}:{backend.http}"})
    own.reload()
    assert get(own).status_code == 421  # the other one's plain listener: it does not know this Host
    own.wait_for(lambda: own.children("sealgate.runtime.worker") == [])
    own.tables["site"].pop("upstream")
    own.rewrite(site={"app": "mine:app"})
    own.reload()
    assert get(own).text == "first"


def test_from_wsgi_to_asgi(own: Served) -> None:
    code(own).write_text((APPS / "ops.py").read_text())
    own.rewrite(site={"app": "mine:asgi"})
    own.reload()
    assert get(own).json()["size"] == 0


def test_workers_are_added_and_taken_away(steady: Served) -> None:
    for count in (3, 1):
        steady.rewrite(site={"workers": count})
        steady.reload()
        steady.wait_for(lambda: len(steady.children("sealgate.runtime.worker")) == count)  # noqa: B023 - waits
        assert get(steady).status_code == 200


class Kept:
    """What must not change when a reload is refused."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._before = self._now()

    def _now(self) -> tuple[object, ...]:
        served = self._served
        live = served.state / "live"
        files = {
            path: path.read_bytes()
            for path in live.rglob("*")
            if path.is_file() and path.name != "policy.json"
        }
        rendered = {
            path: path.read_bytes() for path in (served.state / "engines/envoy").glob("[lcs]ds*.json")
        }
        rules = {key: value for key, value in guard(served).items() if key != "generation"}
        live_files = {path.name: path.read_bytes() for path in (live / "server").glob("*/*.pem")}
        workers = served.children("sealgate.runtime.worker")
        return fingerprint(served), rules, files.keys() & live_files.keys(), live_files, rendered, workers

    def check(self) -> None:
        assert self._now() == self._before
        assert get(self._served).status_code == 200


def refused(served: Served) -> str:
    """SIGHUP; what it said."""
    begin = len(served.err)
    served.reload()
    said = served.err[begin:]
    assert "not reloaded" in said
    assert "Traceback" not in said
    return said


def back(served: Served) -> None:
    """The next good SIGHUP works."""
    served.reload()
    assert served.err.rstrip().endswith("sealgate: reloaded")
    assert get(served).status_code == 200


def test_a_bad_policy_changes_nothing(own: Served) -> None:
    kept = Kept(own)
    good = own.policy.read_text()
    own.policy.write_text(good + "\n[limits]\nbodyy = 3\nconnections = 0\n")
    said = refused(own)
    assert "limits.bodyy" in said
    assert "limits.connections" in said
    own.policy.write_text(good + "\n[limits]\nbodyy = 3\n")
    assert refused(own).count("limits.bodyy") == 1  # a single mistake is said once
    kept.check()
    own.policy.write_text(good)
    back(own)


def test_an_app_that_no_longer_imports_changes_nothing(own: Served) -> None:
    kept = Kept(own)
    code(own).write_text("import json\nraise RuntimeError('half written')\n")
    # New names with it: the certificate must not change either, nor what the guard lets through.
    names = own.tables["site"]["names"]
    own.rewrite(site={"names": [*names, "orders.test"]})
    said = refused(own)
    assert "app-not-importable" in said
    assert "half written" in said
    assert 'mine.py", line 2' in said
    kept.check()
    code(own).write_text(APP.format(answer="mended"))
    own.rewrite(site={"names": names})
    back(own)
    assert get(own).text == "mended"


def test_a_taken_port_changes_nothing(own: Served) -> None:
    kept = Kept(own)
    with socket.create_server((own.host, 0)) as taken:
        port = taken.getsockname()[1]
        own.rewrite(listen={"https": [f"{own.host}:{own.https}", f"{own.host}:{port}"]})
        said = refused(own)
        assert "port-taken" in said
        assert f":{port} is taken by" in said
        assert "(pid " in said
        kept.check()
    back(own)
    assert fingerprint(own, port) == fingerprint(own)


def test_a_listener_that_envoy_cannot_open_changes_nothing(own: Served) -> None:
    """Taken between the look and the bind: by then Envoy itself must say so, and go back."""
    kept = Kept(own)
    own.rewrite(listen={"http": [f"{own.host}:{own.http}", f"{own.host}:{own.https}"]})
    said = refused(own)
    assert "not reloaded" in said
    kept.check()
    own.rewrite(listen={"http": [f"{own.host}:{own.http}"]})
    back(own)


def test_many_signals_are_one_reload(steady: Served) -> None:
    before = steady.err.count("sealgate: reloaded")
    for _ in range(50):
        steady.process.send_signal(signal.SIGHUP)
        time.sleep(0.002)
    steady.wait_for(lambda: steady.err.count("sealgate: reloaded") > before)
    time.sleep(1)  # whatever else was queued would come now
    steady.wait_for(lambda: len(steady.children("sealgate.runtime.worker")) == 1)
    assert 1 <= steady.err.count("sealgate: reloaded") - before <= 3
    assert get(steady).status_code == 200


def test_a_reload_ends_a_crash_loop(own: Served) -> None:
    good = code(own).read_text()
    code(own).write_text("import os\nos._exit(3)\n")
    (worker,) = own.children("sealgate.runtime.worker")
    os.kill(worker, signal.SIGKILL)
    own.wait_for(lambda: own.err.count("no worker could be started") >= 2)
    assert get(own).status_code == 503
    refused(own)
    code(own).write_text(good.replace("first", "after the crashes"))
    back(own)
    assert get(own).text == "after the crashes"
    time.sleep(2)  # the old loop must not add one of its own
    assert len(own.children("sealgate.runtime.worker")) == 1


def accepted(served: Served, tries: int) -> int:
    """How many connections at once get an answer."""
    with contextlib.ExitStack() as stack:
        answered = 0
        for _ in range(tries):
            with contextlib.suppress(OSError):
                tls = stack.enter_context(served.connect())
                tls.sendall(f"GET / HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
                answered += bool(tls.recv(4096))
        return answered


def test_the_limit_of_connections_takes_effect(steady: Served) -> None:
    for limit in (3, 6):
        steady.rewrite(limits={"connections": limit})
        steady.reload()
        steady.wait_for(lambda: accepted(steady, 9) == limit)  # noqa: B023 - waits
    steady.tables.pop("limits")
    steady.rewrite()
    steady.reload()
    steady.wait_for(lambda: accepted(steady, 20) == 20)


def test_a_drain_time_that_envoy_would_not_take_up_is_refused_by_name(sealgate: Serve) -> None:
    served = sealgate(app="echo:app", timeouts={"drain": "5s"})
    served.rewrite(timeouts={"drain": "7s"})
    served.reload()
    assert "reload-needs-restart: timeouts.drain" in served.err
    served.rewrite(timeouts={"drain": "5s"})
    served.reload()
    assert served.err.rstrip().endswith("sealgate: reloaded")
