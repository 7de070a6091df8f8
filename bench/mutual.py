"""Full handshakes with client certificates: Sealgate's Envoy beside a plain nginx, by turns.

nginx is given the same files: chain and key, the clients' authority, the list of the revoked. Both take the
client, and answer a request themselves (HTTP/1.0, which both refuse): no app has a part in it. h2load and wrk
show no client certificates, so the clients are `openssl s_time`, several at a time: one alone would show what
going to sleep and waking up costs.
"""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.load import openssl_conf
from bench.machine import BenchError, survey
from bench.processes import Command, Group, spent
from bench.scale import policy_of
from bench.serving import Serving
from bench.steady import client_context, connect, request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.scale import Counted

__all__ = ["Mutual", "measure_mutual", "parse_s_time"]

REVOKED = 100
_CLIENTS = 8
_TURN_SECONDS = 1
_TURNS = 3

_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1000; }}
http {{
    access_log {directory}/nginx.log combined buffer=64k flush=10s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server_tokens off;
    server {{
        listen {address}:{port} ssl backlog=4096;
        server_name localhost;
        ssl_certificate {server}/chain.pem;
        ssl_certificate_key {server}/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519:prime256v1:secp384r1;
        ssl_session_cache shared:tls:10m;
        ssl_session_tickets on;
        ssl_verify_client on;
        ssl_verify_depth 2;
        ssl_client_certificate {clients}/trust.pem;
        ssl_crl {clients}/crl.pem;
        return 421;
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Mutual:
    """CPU seconds of one full handshake, request and end included, by round."""

    revoked: int
    ours: tuple[float, ...]
    nginx: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours to nginx's, within each round."""
        return tuple(one / other for one, other in zip(self.ours, self.nginx, strict=True))


def measure_mutual(rounds: int, tell: Callable[[str], None], *, revoked: int = REVOKED) -> Mutual:
    """Both under way at once on the server's core; in each round each has five turns.

    Raises:
        BenchError: one of them does not serve.
    """
    machine = survey()
    core, ours, theirs = machine.server_core, list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="bench-mutual-") as folder:
        directory = Path(folder)
        serving = Serving(policy_of("envoy"), directory, revoked=revoked, core=core)
        try:
            serving.wait()
            shown = serving.clients(["good"])["good"]
            with _Nginx(directory, serving, core) as nginx:
                nginx.wait(shown)
                load = _Load(directory, shown, machine.load_cores)
                envoy = _Envoy(serving)
                for warm in (envoy, nginx):
                    load.handshake_of(warm)
                for number in range(rounds):
                    tell(f"round {number + 1} of {rounds}: handshakes with client certificates")
                    turns = [(load.handshake_of(envoy), load.handshake_of(nginx)) for _ in range(_TURNS)]
                    ours.append(statistics.median(one for one, _ in turns))
                    theirs.append(statistics.median(one for _, one in turns))
        finally:
            serving.group.stop()
    return Mutual(revoked, tuple(ours), tuple(theirs))


class _Load:
    """Clients with a certificate, on the load's cores."""

    def __init__(self, directory: Path, shown: Path, cores: Sequence[int]) -> None:
        self._shown, self._env = str(shown), {**os.environ, "OPENSSL_CONF": str(openssl_conf(directory))}
        self._pin = ("taskset", "-c", ",".join(map(str, cores)))

    def handshake_of(self, server: Counted) -> float:
        """CPU seconds of one full handshake, all processes but the parent."""
        before = server.cpu()[1]
        count = self._count(server.at)
        return (server.cpu()[1] - before) / count

    def _count(self, at: tuple[str, int]) -> int:
        argv = [*self._pin, "openssl", "s_time", "-connect", f"{at[0]}:{at[1]}", "-new", "-www", "/"]
        argv += ["-time", str(_TURN_SECONDS), "-cert", self._shown, "-key", self._shown]
        running = [
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._env, text=True)
            for _ in range(_CLIENTS)
        ]
        said = [one.communicate(timeout=_TURN_SECONDS + 30)[0] for one in running]
        return sum(map(parse_s_time, said))


def parse_s_time(said: str) -> int:
    """How many connections its report says there were, each with an answer.

    Raises:
        BenchError: none, or they were not answered.
    """
    line = r"^(\d+) connections in \d+ real seconds, (\d+) bytes read per connection"
    found = re.search(line, said, re.MULTILINE)
    if found is None or "0" in found.groups():
        raise BenchError(f"openssl s_time counted nothing: {said.strip()[-300:]!r}")
    return int(found[1])


class _Envoy:
    """Of all that serves, the one that shakes hands: nginx has no guard's workers beside it."""

    def __init__(self, serving: Serving) -> None:
        self.at, self._group = serving.at, serving.group

    def cpu(self) -> tuple[float, float]:
        """Nothing for a parent, and Envoy's."""
        return 0.0, sum(sum(spent(pid)) for pid in self._group.pids() if _is_envoy(pid))


def _is_envoy(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip() == "envoy"
    return False


class _Nginx:
    """The plain one, of the same files."""

    def __init__(self, directory: Path, serving: Serving, core: int) -> None:
        machine = survey()
        self.at = (machine.address, machine.free_port())
        (logs := directory / "nginx").mkdir()
        facts = {
            "directory": logs,
            "address": self.at[0],
            "port": self.at[1],
            "server": serving.state / "live" / "server" / "localhost",
            "clients": serving.state / "live" / "clients",
            "user": "user root;" if os.geteuid() == 0 else "",
        }
        file = logs / "nginx.conf"
        file.write_text(_NGINX.format(**facts))
        argv = ("nginx", "-p", str(logs), "-e", "stderr", "-c", str(file))
        self.group = Group((Command(argv),), core=core, logs=logs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.group.stop()

    def cpu(self) -> tuple[float, float]:
        """The master's, which does nothing, and all others'."""
        master, *_ = self.group.roots
        return spent(master)[0], sum(sum(spent(pid)) for pid in self.group.pids() if pid != master)

    def wait(self, shown: Path) -> None:
        """Until it takes a client."""
        self.group.wait_for(lambda: _taken(self.at, shown))


def _taken(at: tuple[str, int], shown: Path) -> bool:
    try:
        with connect(client_context(str(shown)), *at) as connection:
            return request(connection, close=True) == 421
    except OSError:
        return False
