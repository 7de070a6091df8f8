"""Real ACME authorities for tests: Debian's Pebble with its DNS, and Caddy's ``acme_server``, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from sealgate.acme.authority import Authority
from tests.live.served import free_port, loopback

START = 30.0


@dataclass
class Server:
    """An authority that runs.

    Attributes:
        host: loopback address; every name leads there.
        http, https: ports that it looks at for http-01 and tls-alpn-01.
        management: of its DNS; empty: it has none.
        status: address of Pebble's own management; empty: none.
    """

    directory: str
    ca_file: Path
    host: str
    http: int
    https: int
    log: Path
    management: str = ""
    status: str = ""

    def authority(self, **settings: Any) -> Authority:
        return Authority(self.directory, ca_file=self.ca_file, **settings)

    def manage(self, path: str, **body: Any) -> None:
        """Tell the DNS of the tests something."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.management}/{path}", data=data, method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200

    def get(self, path: str) -> bytes:
        """Something of Pebble's management."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(f"{self.status}{path}", context=context, timeout=20) as answer:
            return bytes(answer.read())


def _until_open(host: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"{host}:{port} never opened\n{log.read_text()}")


@contextlib.contextmanager
def running(
    command: list[str], log: Path, opens: tuple[str, int], environ: Mapping[str, str], folder: Path
) -> Iterator[None]:
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **environ},
            cwd=folder,
        )
    try:
        _until_open(*opens, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def own_https(folder: Path, host: str) -> Path:
    """A certificate for an authority's own HTTPS; the file of its root."""
    ca = trustme.CA()
    leaf = ca.issue_cert(host, "localhost")
    leaf.private_key_pem.write_to_path(str(folder / "own.key"))
    leaf.cert_chain_pems[0].write_to_path(str(folder / "own.pem"))
    ca.cert_pem.write_to_path(str(folder / "own-root.pem"))
    return folder / "own-root.pem"


@contextlib.contextmanager
def pebble(
    folder: Path,
    *,
    bad_nonces: int = 50,
    reuse: int = 0,
    external: Mapping[str, str] | None = None,
    host: str = "",
    dns_server: str = "",
    **environ: str,
) -> Iterator[Server]:
    """Pebble and its DNS.

    Args:
        folder: for its files; exists.
        bad_nonces: percent of good nonces that it refuses.
        reuse: percent of valid authorizations that it takes again.
        external: external accounts: key identifier to HMAC key; None: it asks for none.
        host: where names lead; a new one if empty.
        dns_server: whom it asks, address:port; its own DNS if empty.
        environ: further variables, ``PEBBLE_CHAIN_LENGTH``, ``PEBBLE_ALTERNATE_ROOTS``.
    """
    host = host or loopback()
    ports = {name: free_port(host) for name in ("acme", "status", "http", "https", "dns", "dns_management")}
    root = own_https(folder, host)
    log = folder / "pebble.log"
    config = {
        "pebble": {
            "listenAddress": f"{host}:{ports['acme']}",
            "managementListenAddress": f"{host}:{ports['status']}",
            "certificate": str(folder / "own.pem"),
            "privateKey": str(folder / "own.key"),
            "httpPort": ports["http"],
            "tlsPort": ports["https"],
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external is not None,
            "externalAccountMACKeys": dict(external or {}),
        }
    }
    (folder / "pebble.json").write_text(json.dumps(config))
    dns = ["pebble-challtestsrv", "-defaultIPv4", host, "-defaultIPv6", "", "-http01", "", "-https01", ""]
    dns += ["-tlsalpn01", "", "-dns01", f"{host}:{ports['dns']}"]
    dns += ["-management", f"{host}:{ports['dns_management']}"]
    command = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver"]
    command += [dns_server or f"{host}:{ports['dns']}"]
    settings = {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_VA_ALWAYS_VALID": "0",
        "PEBBLE_WFE_NONCEREJECT": str(bad_nonces),
        "PEBBLE_AUTHZREUSE": str(reuse),
        **environ,
    }
    with (
        running(dns, folder / "dns.log", (host, ports["dns_management"]), {}, folder),
        running(command, log, (host, ports["acme"]), settings, folder),
    ):
        yield Server(
            directory=f"https://{host}:{ports['acme']}/dir",
            ca_file=root,
            host=host,
            http=ports["http"],
            https=ports["https"],
            log=log,
            management=f"http://{host}:{ports['dns_management']}",
            status=f"https://{host}:{ports['status']}",
        )
