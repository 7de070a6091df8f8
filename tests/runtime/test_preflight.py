"""What can be known before anything is started."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
from pathlib import Path

import pytest

from sealgate.engines import quic
from sealgate.errors import EngineError, ListenError, NotObserved
from sealgate.policy.model import Policy
from sealgate.runtime import preflight as module
from sealgate.runtime.preflight import inotify_left, preflight
from tests.live.served import free_port, loopback


def policy(*addresses: str, **listen: object) -> Policy:
    return Policy.model_validate({"listen": {"https": list(addresses), "http": [], **listen}})


def test_a_taken_port_is_seen_and_our_own_is_not_taken() -> None:
    host = loopback()
    with socket.create_server((host, 0)) as taken:
        wanted = policy(f"{host}:{taken.getsockname()[1]}")
        with pytest.raises(ListenError) as caught:
            preflight(wanted)
        assert caught.value.code == "port-taken"
        preflight(wanted, before=wanted)


def test_what_cannot_be_observed_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    where = f"{loopback()}:{free_port(loopback())}"
    monkeypatch.setattr(quic, "find_spec", lambda _name: None)
    preflight(policy(where))
    with pytest.raises(NotObserved, match="without the package aioquic"):
        preflight(policy(where, http3=True))


def test_http3_looks_at_udp_too() -> None:
    host = loopback()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((host, 0))
        where = f"{host}:{taken.getsockname()[1]}"
        preflight(policy(where))
        with pytest.raises(ListenError):
            preflight(policy(where, http3=True))
        with pytest.raises(ListenError):  # TCP was ours, UDP is not
            preflight(policy(where, http3=True), before=policy(where))


HOLDER = """
import ctypes, sys
print([ctypes.CDLL(None).inotify_init1(0) for _ in range(3)], flush=True)
sys.stdin.read()
"""


def test_instances_are_counted_by_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user of its own: everybody else's come and go."""
    uid = secrets.randbelow(100_000) + 300_000
    quota = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert inotify_left() == quota
    command = ["setpriv", f"--reuid={uid}", "--clear-groups", "/usr/bin/python3", "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline()
        assert inotify_left() == quota - 3
        holder.stdin.close()


def test_too_few_are_refused_at_the_start_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = loopback()
    wanted = policy(f"{host}:{free_port(host)}")
    quota = tmp_path / "quota"
    quota.write_text("3\n")
    monkeypatch.setattr(module, "_QUOTA", quota)
    with pytest.raises(EngineError) as caught:
        preflight(wanted)
    assert caught.value.code == "inotify-exhausted"
    preflight(wanted, before=wanted)
    quota.unlink()
    assert inotify_left() is None
    preflight(wanted)
