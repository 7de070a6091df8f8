"""Debian's BIND for tests: a primary server with zones of its own, on loopback."""

from __future__ import annotations

import base64
import contextlib
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import dns.resolver

from sealgate.acme.dns.lookup import Lookup
from sealgate.policy.acme import Rfc2136
from tests.live.served import free_port

START = 30.0
HOST = "127.0.0.1"
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")


@dataclass
class Named:
    """A BIND that runs. Its keys are named after their algorithms; ``nobody`` may change nothing."""

    host: str
    port: int
    folder: Path
    keys: Mapping[str, str] = field(repr=False)

    @property
    def server(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def table(self, key: str = "hmac-sha256", **settings: str) -> Rfc2136:
        """The policy's table for updates; the key's file is written."""
        (self.folder / f"{key}.key").write_text(self.keys[key])
        (self.folder / f"{key}.key").chmod(0o600)
        given = {
            "server": self.server,
            "key_name": f"{key}.",
            "algorithm": key if key in ALGORITHMS else "hmac-sha256",
            "key": {"file": str(self.folder / f"{key}.key")},
            **settings,
        }
        return Rfc2136.model_validate(given)

    def resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [self.host], self.port
        return resolver

    def lookup(self, timeout: float = 5.0) -> Lookup:
        return Lookup(self.resolver(), port=self.port, timeout=timeout)

    def texts(self, name: str) -> set[str]:
        """The TXT values at a name, as it has them itself."""
        query = dns.message.make_query(name, dns.rdatatype.TXT)
        answer = dns.query.tcp(query, self.host, 20, self.port)
        return {
            b"".join(record.strings).decode()
            for rrset in answer.answer
            if rrset.rdtype == dns.rdatatype.TXT
            for record in rrset
        }


def _zone(name: str, host: str, records: str) -> str:
    return (
        f"$TTL 60\n@ IN SOA ns1.{name}. ops.{name}. 1 60 60 600 60\n"
        f"{'' if ' NS ' in records else '@ IN NS ns1'}\nns1 IN A {host}\n{records}\n"
    )


def _config(named: Named, zones: Mapping[str, str]) -> str:
    keys = "\n".join(
        f'key "{name}." {{ algorithm {name if name in ALGORITHMS else "hmac-sha256"}; secret "{secret}"; }};'
        for name, secret in named.keys.items()
    )
    grants = " ".join(f"grant {name}. zonesub TXT;" for name in ALGORITHMS)
    tables = "\n".join(
        f'zone "{zone}" {{ type primary; file "{zone}.zone"; update-policy {{ {grants} }}; }};'
        for zone in zones
    )
    return f"""
options {{
  directory "{named.folder}"; pid-file none; session-keyfile none;
  listen-on port {named.port} {{ {named.host}; }}; listen-on-v6 {{ none; }};
  recursion no; dnssec-validation no; notify no; empty-zones-enable no; allow-transfer {{ none; }};
}};
controls {{ }};
{keys}
{tables}
"""


@contextlib.contextmanager
def named(folder: Path, zones: Mapping[str, str]) -> Iterator[Named]:
    """BIND with zones: name to records in master file form; an NS of its own where they have none."""
    folder.mkdir(exist_ok=True)
    keys = {n: base64.b64encode(secrets.token_bytes(32)).decode() for n in (*ALGORITHMS, "nobody")}
    with contextlib.ExitStack() as stack:
        for _ in range(5):  # it listens at addresses of interfaces only, so another test may take its port
            found = Named(HOST, free_port(HOST), folder, keys)
            for zone, records in zones.items():
                (folder / f"{zone}.zone").write_text(_zone(zone, HOST, records))
            (folder / "named.conf").write_text(_config(found, zones))
            process = stack.enter_context(_running(found))
            if _serves(found, process, list(zones)):
                break
        yield found


@contextlib.contextmanager
def _running(found: Named) -> Iterator[subprocess.Popen[bytes]]:
    with (found.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/sbin/named", "-g", "-4", "-n", "1", "-c", str(found.folder / "named.conf")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _serves(found: Named, process: subprocess.Popen[bytes], zones: list[str]) -> bool:
    """Wait until it does; False: its port was taken."""
    end = time.monotonic() + START
    while time.monotonic() < end:
        assert process.poll() is None, found.log
        if "address in use" in found.log:
            return False
        with contextlib.suppress(dns.exception.DNSException, OSError, EOFError):
            queries = [dns.message.make_query(zone, dns.rdatatype.SOA) for zone in zones]
            if all(dns.query.tcp(query, found.host, 2, found.port).answer for query in queries):
                return True
        time.sleep(0.05)
    raise AssertionError(found.log)
