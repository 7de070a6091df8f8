"""The control socket: who may give the keeper orders, and what it says to others; sd_notify beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate._system.sockets import connect_unix
from sealgate.errors import ControlError
from sealgate.runtime.control import ask
from tests.live.conftest import Serve
from tests.live.served import Served, serve, temporary


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("steady"), app="ops:app") as served:
        yield served


def talk(served: Served, line: bytes) -> dict[str, object]:
    with connect_unix(served.state / "run/control.sock", timeout=10) as sock:
        sock.sendall(line)
        answer = sock.makefile("rb").readline()
    return json.loads(answer) if answer else {}


def test_it_answers_its_own_user(steady: Served) -> None:
    assert ask(steady.state, {"order": "ping"})["pid"] == steady.process.pid


def test_it_is_private(steady: Served) -> None:
    run = steady.state / "run"
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    for name in ("control.sock", "control.token"):
        assert stat.S_IMODE((run / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line",
    [
        b'{"order": "ping"}\n',
        b'{"order": "ping", "token": ""}\n',
        b'{"order": "ping", "token": "x"}\n',
        b'{"order": "ping", "token": null}\n',
        b'{"order": "ping", "token": "\\u00e9"}\n',
        b'["order"]\n',
    ],
)
def test_without_the_token_nothing_is_done(steady: Served, line: bytes) -> None:
    assert talk(steady, line)["code"] == "control-forbidden"


@pytest.mark.parametrize(
    "line", [b"\n", b"{\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"x" * 2_000_000 + b"\n"]
)
def test_garbage_gets_no_further(steady: Served, line: bytes) -> None:
    try:
        answer = talk(steady, line)
    except OSError:
        answer = {}
    assert answer.get("code", "control-forbidden") in {"control-forbidden", "order-unknown"}
    assert ask(steady.state, {"order": "ping"})
    assert "Traceback" not in steady.err
    assert "exception" not in steady.err


def test_an_order_it_does_not_know(steady: Served) -> None:
    with pytest.raises(ControlError) as caught:
        ask(steady.state, {"order": "make-coffee"})
    assert caught.value.code == "order-unknown"


def test_an_order_that_goes_wrong_inside_is_answered(steady: Served) -> None:
    with pytest.raises(ControlError) as caught:
        ask(steady.state, {"order": "cert-import", "chain": 7})
    assert caught.value.code in {"internal-error", "certificate-unreadable"}
    assert ask(steady.state, {"order": "ping"})


def test_silent_peers_are_sent_away(steady: Served) -> None:
    with connect_unix(steady.state / "run/control.sock", timeout=10) as silent:
        began = time.monotonic()
        assert ask(steady.state, {"order": "ping"})
        assert silent.recv(10) == b""
        assert 3 < time.monotonic() - began < 8


STRANGER = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.settimeout(10)
    os.chdir(sys.argv[1])
    sock.connect("control.sock")
    sock.sendall(json.dumps({"token": sys.stdin.read(), "order": "ping"}).encode() + b"\\n")
    print(sock.makefile().readline())
"""


def test_another_user_is_sent_away(steady: Served) -> None:
    """Even one who got through to the socket, and has the token."""
    run = steady.state / "run"
    allowed = "+dac_override,+dac_read_search"
    who = ["setpriv", "--reuid=65534", "--clear-groups", f"--inh-caps={allowed}", f"--ambient-caps={allowed}"]
    token = (run / "control.token").read_text()
    command = [*who, "/usr/bin/python3", "-c", STRANGER, str(run)]
    done = subprocess.run(command, input=token, capture_output=True, text=True, timeout=20, check=True)
    answer = json.loads(done.stdout)
    assert answer["code"] == "control-forbidden"
    assert "another user" in answer["fact"]


def test_no_keeper_is_said(tmp_path: Path) -> None:
    with pytest.raises(ControlError) as caught:
        ask(tmp_path, {"order": "ping"})
    assert caught.value.code == "keeper-not-running"


def test_a_keeper_that_ends_before_it_answers_is_said(sealgate: Serve) -> None:
    served = sealgate(app="ops:app")
    (envoy,) = served.children("envoy")
    os.kill(envoy, signal.SIGSTOP)
    killing = threading.Timer(1.0, served.process.kill)
    killing.start()
    with pytest.raises(ControlError) as caught:
        ask(served.state, {"order": "renew"})
    killing.join()
    assert caught.value.code in {"keeper-gone", "keeper-not-running"}


def test_systemd_is_told() -> None:
    folder = temporary()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify.sock"))
        manager.settimeout(10)

        def said() -> dict[str, str]:
            return dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())

        with serve(folder, app="ops:app", env={"NOTIFY_SOCKET": str(folder / "notify.sock")}) as served:
            first = said()
            assert first["READY"] == "1"
            assert first["STATUS"].startswith("serving https://")
            served.reload()
            reloading = said()
            assert reloading["RELOADING"] == "1"
            assert int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            assert said()["READY"] == "1"
            # The app's workers are not the service's main process: they must not speak for it.
            workers = served.children("sealgate.runtime.worker")
            assert workers
            assert not [
                pid for pid in workers if b"NOTIFY_SOCKET" in Path(f"/proc/{pid}/environ").read_bytes()
            ]
            served.stop()
            assert said()["STOPPING"] == "1"
