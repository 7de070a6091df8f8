"""sd_notify(3): with a manager, without one, with one that does not answer."""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from sealgate._system.notify import notify, notify_reloading


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    name = f"@sealgate-{secrets.token_hex(8)}" if abstract else os.path.relpath(tmp_path / "s", "/")
    name = name if abstract else f"/{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify("READY=1", "STATUS=serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"
        before = time.monotonic_ns() // 1000
        assert notify_reloading()
        lines = manager.recv(100).decode().splitlines()
        assert lines[0] == "RELOADING=1"
        assert before <= int(lines[1].removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("value", ["", "relative", "/nowhere/at/all"])
def test_without_one_it_is_quiet(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", value)
    assert not notify("READY=1")
