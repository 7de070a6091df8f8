"""`sealgate serve` under the unit's system call rules, talking to a service manager as `Type=notify` does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

CONFINE = Path(__file__).with_name("confine.py")
PATIENCE = 60  # seconds for any one event
APP = """
import ctypes, mmap

def app(environ, start_response):
    try:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        answer = b"confined"
    else:
        answer = b"not confined"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"""


@dataclass(frozen=True, slots=True)
class Service:
    process: subprocess.Popen[bytes]
    manager: socket.socket  # what systemd would listen on
    state: Path
    port: int
    page: int

    def told(self, wanted: str) -> str:
        """Wait for a notification with this line in it."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            ended = self.process.poll() is not None  # asked first: its last words may still be waiting
            with contextlib.suppress(TimeoutError):
                message = self.manager.recv(65536).decode()
                if wanted in message.splitlines():
                    return message
                continue
            assert not ended, f"ended before it said {wanted}"
        raise AssertionError(f"did not say {wanted} within {PATIENCE} s")

    def get(self) -> str:
        context = ssl.create_default_context(cafile=str(self.state / "authorities/root/root.pem"))
        connection = HTTPSConnection("localhost", self.port, context=context, timeout=PATIENCE)
        connection.request("GET", "/")
        body: str = connection.getresponse().read().decode()
        connection.close()
        return body

    def watched(self) -> str:
        """The watcher's verdict, once it has seen something."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            connection = HTTPConnection("127.0.0.1", self.page, timeout=PATIENCE)
            with contextlib.closing(connection), contextlib.suppress(ConnectionError):
                connection.request("GET", "/")
                text = connection.getresponse().read().decode()
                verdict = text.partition("<h1>")[2].partition("</h1>")[0]
                if "Looking" not in verdict:
                    return verdict
            time.sleep(0.1)
        raise AssertionError(f"no watcher within {PATIENCE} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def service() -> Iterator[Service]:
    # Not tmp_path: unix socket paths are short.
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        folder = Path(name)
        port, page = _free_port(), _free_port()
        (folder / "service_app.py").write_text(APP)
        (folder / "sealgate.toml").write_text(
            f'[site]\napp = "service_app:app"\n[listen]\nhttps = ["127.0.0.1:{port}"]\nhttp = []\n'
            f'[monitor]\nlisten = "127.0.0.1:{page}"\n'
        )
        manager.bind(str(folder / "notify"))
        manager.settimeout(0.5)
        serve = [str(Path(sys.executable).parent / "sealgate"), "serve", "--state", str(folder / "state")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(CONFINE), *serve],
                cwd=folder,
                env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
                stdout=log,
                stderr=log,
            )
        try:
            yield Service(process, manager, folder / "state", port, page)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                sys.stderr.write((folder / "log").read_text(errors="replace"))


def test_it_serves_reloads_and_stops_under_the_units_rules(service: Service) -> None:
    assert "STATUS=" in service.told("READY=1")
    assert service.get() == "confined"
    assert service.watched() == "All is well"
    service.process.send_signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in service.told("RELOADING=1")
    service.told("READY=1")
    assert service.get() == "confined"
    service.process.terminate()
    service.told("STOPPING=1")
    assert service.process.wait(PATIENCE) == 0
