"""Can an address be listened on, and whose is it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from sealgate._system.ports import owner, probe
from sealgate.errors import ListenError
from tests.live.served import free_port, loopback


def code_of(host: str, port: int, *, udp: bool = False) -> str:
    with pytest.raises(ListenError) as caught:
        probe(host, port, udp=udp)
    assert str(port) in str(caught.value)
    return caught.value.code


def test_a_free_one_stays_free() -> None:
    host = loopback()
    port = free_port(host)
    for _ in range(2):
        probe(host, port)
        probe(host, port, udp=True)
    with socket.create_server((host, port)):
        pass


def test_a_taken_one_names_its_process() -> None:
    host = loopback()
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            probe(host, port)
        assert caught.value.code == "port-taken"
        assert f"(pid {os.getpid()})" in caught.value.fact
        assert owner(port).endswith(f"(pid {os.getpid()})")
        probe(host, port, udp=True)  # another world


def test_one_shared_by_reuseport_is_taken_too() -> None:
    host = loopback()
    with socket.create_server((host, 0), reuse_port=True) as taken:
        assert code_of(host, taken.getsockname()[1]) == "port-taken"


def test_a_taken_udp_port() -> None:
    host = loopback()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((host, 0))
        assert code_of(host, taken.getsockname()[1], udp=True) == "port-taken"


def test_one_with_connections_that_only_time_out_is_free() -> None:
    host = loopback()
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection((host, port))
        peer, _ = server.accept()
        peer.close()  # the server's side closes first: TIME_WAIT is here
        client.close()
    probe(host, port)


def test_an_address_of_nobody() -> None:
    assert code_of("192.0.2.1", 8443) == "address-absent"
    assert code_of("2001:db8::1", 8443) == "address-absent"


def test_a_low_port_without_the_right() -> None:
    code = "from sealgate._system.ports import probe; probe('127.0.0.1', 443)"
    without = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    done = subprocess.run([*without, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ListenError: port-forbidden: only root may listen on 127.0.0.1:443 here" in done.stderr


def test_nobodys_port() -> None:
    assert owner(free_port(loopback())) == ""
