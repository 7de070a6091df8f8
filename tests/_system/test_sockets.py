"""Unix sockets: private, replaced when stale, in directories of any length."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from sealgate._system.sockets import bind_unix, connect_unix, peer_uid


@pytest.fixture(params=[10, 200])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / ("x" * request.param)
    folder.mkdir()
    return folder / "a.sock"


def test_both_ends_meet(path: Path) -> None:
    handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    with bind_unix(path) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with connect_unix(path, timeout=5) as client:
            peer, _ = server.accept()
            with peer:
                assert peer_uid(peer) == peer_uid(client) == os.geteuid()
                client.sendall(b"x")
                assert peer.recv(1) == b"x"
    assert len(os.listdir("/proc/self/fd")) == handles  # noqa: PTH208 - a count


def test_a_stale_one_is_replaced(path: Path) -> None:
    bind_unix(path).close()
    with pytest.raises(ConnectionRefusedError):
        connect_unix(path, timeout=1)
    with bind_unix(path), connect_unix(path, timeout=1):
        pass


def test_the_mode_holds_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with bind_unix(path, mode=0o600):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_nothing_is_left_open_after_a_failure(tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            bind_unix(tmp_path / "absent" / "a.sock")
        with pytest.raises(FileNotFoundError):
            connect_unix(tmp_path / "a.sock", timeout=1)


def test_a_silent_peer_is_not_waited_for(path: Path) -> None:
    with bind_unix(path), connect_unix(path, timeout=0.05) as client, pytest.raises(TimeoutError):
        client.recv(1)


def test_it_does_not_survive_execve(path: Path) -> None:
    with bind_unix(path) as server:
        assert not server.get_inheritable()
        assert server.type == socket.SOCK_STREAM
