"""Renewing: by order, by itself, without a keeper; and back where the new certificate is not served."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sealgate._system.clock import system_clock
from sealgate.engines.observe import handshake
from sealgate.errors import ControlError
from sealgate.pki.inspect import pem_of
from sealgate.pki.issue import issue_server
from sealgate.pki.keys import generate, to_pem
from sealgate.pki.live import LiveDirectory
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import ensure_authorities
from sealgate.policy.load import load
from sealgate.policy.model import Endpoint
from tests.live.conftest import Serve
from tests.live.served import APPS, Served, alive, serve, write_policy


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that each test leaves serving."""
    with serve(tmp_path_factory.mktemp("steady"), app="ops:app") as served:
        yield served


def fingerprint(served: Served) -> str:
    return handshake(Endpoint(served.host, served.https), served.host).fingerprint


def live_files(served: Served) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (served.state / "live/server").glob("*/*.pem")}


def run(served: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "sealgate",
        *arguments,
        "-c",
        str(served.policy),
        "--state",
        str(served.state),
    ]
    environ = {**os.environ, "PYTHONPATH": str(APPS)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)


def test_the_command_asks_the_keeper_and_the_new_one_is_served_when_it_returns(steady: Served) -> None:
    before = fingerprint(steady)
    done = run(steady, "cert", "renew", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["fingerprint"] == fingerprint(steady) != before
    assert answer["seen_after"] < 1
    assert "certificate renewed, served until" in steady.err


def test_nothing_is_renewed_that_is_not_due(steady: Served) -> None:
    before = fingerprint(steady)
    assert json.loads(run(steady, "cert", "renew", "--if-due", "--json").stdout)["renewed"] is False
    assert fingerprint(steady) == before


def test_an_open_connection_outlives_a_renewal(steady: Served) -> None:
    request = f"GET / HTTP/1.1\r\nHost: {steady.host}\r\n\r\n".encode()
    with steady.connect() as tls:
        for _ in range(3):
            tls.sendall(request)
            assert tls.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert steady.order(order="renew")["renewed"]


def test_a_new_root_is_served_too(steady: Served) -> None:
    done = run(steady, "cert", "renew", "--new-root", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    with steady.client() as client:  # trusts the new root alone
        assert client.get("/").status_code == 200


@pytest.mark.long
def test_one_that_envoy_does_not_take_up_is_taken_back_and_nothing_hangs(sealgate: Serve) -> None:
    served = sealgate(app="ops:app")
    before, files = fingerprint(served), live_files(served)
    (envoy,) = served.children("envoy")
    os.kill(envoy, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(ControlError) as caught:
            served.order(order="renew")
        assert caught.value.code == "renewed-not-served"
        assert time.monotonic() - began < 20
        assert live_files(served) == files
        served.process.send_signal(signal.SIGHUP)
        served.wait_for(lambda: "not reloaded" in served.err, 40)
    finally:
        os.kill(envoy, signal.SIGCONT)
    served.wait_for(lambda: fingerprint(served) == before)
    assert served.order(order="renew")["renewed"]
    assert fingerprint(served) != before
    served.reload()
    assert served.err.rstrip().endswith("sealgate: reloaded")


@pytest.mark.long
def test_a_stopped_envoy_does_not_keep_the_keeper_from_ending(sealgate: Serve) -> None:
    served = sealgate(app="ops:app", timeouts={"drain": "2s"})
    (envoy,) = served.children("envoy")
    os.kill(envoy, signal.SIGSTOP)
    assert served.stop(seconds=25) == 0
    assert not alive(envoy)


LONG_AGO = timedelta(days=60)


def aged(folder: Path) -> tuple[State, LiveDirectory, bytes, bytes]:
    """A state with authorities 60 days old, and a pair that was issued 40 of its 47 days ago: long due."""
    state = State.open(folder / "state")
    now = system_clock()
    with state.lock(), Store.open(state.store) as store:
        servers = ensure_authorities(state, store, ("localhost",), now=now - LONG_AGO).servers
    key = generate("ecdsa-p256")
    leaf = issue_server(servers, key.public_key(), ("localhost",), now=now - timedelta(days=40))
    chain = pem_of(leaf) + pem_of(servers.certificate)
    return state, LiveDirectory(state.live_server("localhost")), chain, to_pem(key)


def at_localhost(served: Served) -> str:
    return handshake(Endpoint(served.host, served.https), "localhost").fingerprint


@pytest.mark.long
def test_what_falls_due_while_serving_is_renewed_by_itself(tmp_path: Path) -> None:
    _, directory, chain, key = aged(tmp_path)
    with serve(tmp_path, app="ops:app", site={"names": ["localhost"]}) as served:
        due = directory.publish(chain, key).fingerprint
        served.wait_for(lambda: at_localhost(served) == due)
        served.wait_for(lambda: at_localhost(served) != due, 30)
        served.wait_for(lambda: "certificate renewed, served until" in served.err)


@pytest.mark.long
def test_what_fell_due_while_stopped_is_renewed_by_the_command_and_at_the_start(tmp_path: Path) -> None:
    _, directory, chain, key = aged(tmp_path)
    due = directory.publish(chain, key).fingerprint
    names = {"names": ["localhost"], "app": "ops:app"}
    write_policy(tmp_path / "sealgate.toml", {"site": names})
    command = [sys.executable, "-m", "sealgate", "cert", "renew", "--if-due", "--json"]
    where = ["-c", str(tmp_path / "sealgate.toml"), "--state", str(tmp_path / "state")]
    done = subprocess.run([*command, *where], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["renewed"] is True
    assert directory.fingerprint() != due
    directory.publish(chain, key)
    with serve(tmp_path, app="ops:app", site={"names": ["localhost"]}) as served:
        assert at_localhost(served) != due


def test_imported_files_are_taken_over_when_they_change(tmp_path: Path) -> None:
    """`certificate.source = "files"`: a pair that does not fit never replaces a good one."""
    maker = State.open(tmp_path / "maker")
    write_policy(tmp_path / "maker.toml", {"site": {"names": ["localhost"], "app": "ops:app"}})
    policy = load(tmp_path / "maker.toml", environ={}, euid=os.geteuid()).policy

    def write() -> str:
        made = ensure_server_certificate(maker, policy, system_clock, force=True)
        (tmp_path / "key.pem").touch(mode=0o600)
        for name in ("chain", "key"):
            (tmp_path / f"{name}.pem").write_bytes(getattr(made, f"{name}_path").read_bytes())
        return made.fingerprint

    first = write()
    (tmp_path / "site").mkdir()
    files = {"files": {"chain": str(tmp_path / "chain.pem"), "key": str(tmp_path / "key.pem")}}
    names = {"names": ["localhost"]}
    with serve(
        tmp_path / "site", app="ops:app", site=names, certificate={"source": "files", **files}
    ) as served:

        def seen() -> str:
            return handshake(Endpoint(served.host, served.https), "localhost").fingerprint

        assert seen() == first
        second = write()
        assert served.order(order="renew", force=False)["fingerprint"] == second == seen()
        key = generate("ecdsa-p256").private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (tmp_path / "key.pem").write_bytes(key)
        with pytest.raises(ControlError) as caught:
            served.order(order="renew", force=False)
        assert caught.value.code == "key-mismatch"
        assert seen() == second
