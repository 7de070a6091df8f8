"""Caddy's ``acme_server``, a second make: run in a network of its own, where ports 80 and 443 are free.

``python -m tests.acme.caddy FOLDER`` prints what was had; ``in_a_network_of_its_own`` starts it. Caddy looks
at ports 80 and 443 and at the system's names, whatever one says.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sealgate._system.clock import system_clock
from sealgate.acme.client import Client
from sealgate.acme.obtain import obtain, settle
from sealgate.acme.order import Wanted
from sealgate.pki.inspect import names_of
from sealgate.pki.live import verify_pair
from sealgate.pki.state import State
from tests.acme.pebble import Server, own_https, running
from tests.acme.solving import Noted, alpn_solver, http_solver

NAMES = ("a.example.test", "b.example.test")
HOST, PORT = "ca.example.test", 14000
ADDRESS = "127.0.0.7"


def in_a_network_of_its_own(folder: Path) -> dict[str, Any]:
    """Run this module there; what it printed."""
    names = " ".join((*NAMES, HOST, "localhost"))
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {names}\n")
    command = shlex.join([sys.executable, "-m", "tests.acme.caddy", str(folder)])
    script = f"mount --bind {shlex.quote(str(folder / 'hosts'))} /etc/hosts && exec {command}"
    words = ["unshare", "-mn" if os.geteuid() == 0 else "-rmn", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    table: dict[str, Any] = json.loads(done.stdout)
    return table


def _loopback_up() -> None:
    with socket.socket() as sock:
        fcntl.ioctl(
            sock, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40)
        )  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING


@contextlib.contextmanager
def caddy(folder: Path) -> Iterator[Server]:
    root = own_https(folder, HOST)
    load = {"certificate": str(folder / "own.pem"), "key": str(folder / "own.key")}
    acme = {
        "listen": [f"{ADDRESS}:{PORT}"],
        "routes": [{"handle": [{"handler": "acme_server", "ca": "local", "host": f"{HOST}:{PORT}"}]}],
        "tls_connection_policies": [{}],
        "automatic_https": {"disable": True},
    }
    config = {
        "admin": {"disabled": True},
        "storage": {"module": "file_system", "root": str(folder / "caddy")},
        "apps": {
            "http": {"servers": {"acme": acme}},
            "tls": {"certificates": {"load_files": [load]}},
            "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
        },
    }
    (folder / "caddy.json").write_text(json.dumps(config))
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    log = folder / "caddy.log"
    with running(
        ["caddy", "run", "--config", str(folder / "caddy.json")], log, (ADDRESS, PORT), home, folder
    ):
        yield Server(f"https://{HOST}:{PORT}/acme/local/directory", root, ADDRESS, 80, 443, log)


def _had(server: Server, state: State, solver: Noted, wanted: Wanted) -> list[str]:
    got = obtain(
        server.authority(contact=("ops@example.test",)),
        wanted,
        state=state,
        solver=solver,
        clock=system_clock,
        wait=lambda seconds: time.sleep(min(seconds, 0.1)),
        say=lambda text: print(text, file=sys.stderr),
    )
    settle(state, wanted)
    leaf = verify_pair(got.chain_pem, got.key_pem, "Caddy")[0]
    with Client.open(server.authority(), clock=system_clock) as client:
        assert client.directory.revoke_cert
    return sorted(names_of(leaf))


def main(folder: Path) -> None:
    _loopback_up()
    state = State.open(folder / "state")
    with caddy(folder) as server:
        had = {}
        with http_solver(server, state) as solver:
            had["http-01"] = _had(server, state, solver, Wanted(NAMES, "ecdsa-p256", "http-01"))
            had["address"] = _had(server, state, solver, Wanted((ADDRESS,), "rsa-3072", "http-01"))
        with alpn_solver(server, state, system_clock) as solver:
            had["tls-alpn-01"] = _had(server, state, solver, Wanted(NAMES[:1], "ecdsa-p384", "tls-alpn-01"))
        accounts = [path.name for path in (state.authorities / "acme").iterdir()]
        print(json.dumps({"had": had, "accounts": accounts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
