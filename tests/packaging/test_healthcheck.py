"""packaging/healthcheck.py against real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

PROGRAM = Path(__file__).parents[2] / "packaging/healthcheck.py"


def _check(*targets: str, listen: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *targets]
    environ = os.environ | {"SEALGATE_LISTEN__HTTPS": listen}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environ)


def _answer(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError):
        peer, _ = listener.accept()
        with peer:
            if context is None:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            else:
                with context.wrap_socket(peer, server_side=True) as secured:
                    secured.recv(1)


@contextlib.contextmanager
def _serving(context: ssl.SSLContext | None) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, context))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(30)


def _context(*, clients: bool, version: ssl.TLSVersion) -> ssl.SSLContext:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    authority.issue_cert("localhost").configure_cert(context)
    if clients:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("clients", [False, True])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_well_while_it_shakes_hands(version: ssl.TLSVersion, *, clients: bool) -> None:
    with _serving(_context(clients=clients, version=version)) as target:
        done = _check(target)
    assert (done.returncode, done.stderr) == (0, "")


def test_sick_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = _check(f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_sick_where_it_is_not_tls() -> None:
    with _serving(None) as target:
        done = _check(target)
    assert done.returncode == 1
    assert "does not speak TLS" in done.stderr


@pytest.mark.parametrize("written", ["0.0.0.0:{}", "127.0.0.1:{}, [::1]:1", '[ "0.0.0.0:{}" ]'])
def test_asks_where_the_environment_says_that_it_listens(written: str) -> None:
    with _serving(_context(clients=False, version=ssl.TLSVersion.TLSv1_3)) as target:
        done = _check(listen=written.format(target.rpartition(":")[2]))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("written", ["8443x", "127.0.0.1:", "[]"])
def test_sick_where_the_environment_names_no_address(written: str) -> None:
    done = _check(listen=written)
    assert done.returncode == 1
    assert "names no HOST:PORT" in done.stderr
