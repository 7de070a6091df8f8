"""A real `sealgate serve` for a test: its own policy, state and loopback address; stopped at the end."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

APPS = Path(__file__).parent / "apps"
EXAMPLES = Path(__file__).parents[2] / "examples"
READY = re.compile(r"^sealgate: ready https://\S+", re.MULTILINE)
START = 90.0  # a limit, not a promise: two cores may be shared by many


def loopback() -> str:
    """An address in 127.0.0.0/8 for this test alone: two runs at once never meet on a port."""
    return str(
        ipaddress.ip_address(int.from_bytes(b"\x7f") << 24 | (secrets.randbelow(2**24 - 2**17) + 2**16))
    )


def free_port(host: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody uses on that address."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def alive(pid: int) -> bool:
    """Does the process still run? One that has ended and that nobody has waited for yet (Z) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def toml(value: Any) -> str:
    """A TOML value."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def write_policy(path: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
    """A policy file from `{"site": {"app": ...}, ...}`; without `monitor.listen` there is no page.

    Its default address is one for all: two tests at once would meet there.
    """
    lines = ["version = 1"]
    tables = {**tables, "monitor": {"listen": "", **tables.get("monitor", {})}}
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines) + "\n")


@dataclass
class Served:
    """A running Sealgate.

    Attributes:
        process: of the keeper.
        host: the loopback address, also a name of the site.
        https, http: ports.
        folder: where policy and logs are.
    """

    process: subprocess.Popen[bytes]
    host: str
    https: int
    http: int
    folder: Path
    state: Path
    policy: Path
    tables: dict[str, dict[str, Any]]
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.https}"

    @property
    def plain(self) -> str:
        return f"http://{self.host}:{self.http}"

    @property
    def root(self) -> Path:
        """The private root's certificate."""
        return self.state / "authorities" / "root" / "root.pem"

    @property
    def out(self) -> str:
        return (self.folder / "out.log").read_text(errors="replace")

    @property
    def err(self) -> str:
        return (self.folder / "err.log").read_text(errors="replace")

    def access(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]

    def context(self, **settings: Any) -> ssl.SSLContext:
        """A client's TLS context that trusts the private root."""
        context = ssl.create_default_context(cafile=str(self.root))
        for name, value in settings.items():
            setattr(context, name, value)
        return context

    def client(self, **settings: Any) -> httpx.Client:
        """An HTTP client (h1; `http2=True` for both), closed with the server."""
        settings.setdefault("timeout", 20)
        settings.setdefault("verify", self.context())
        client = httpx.Client(base_url=self.url, **settings)
        self.clients.append(client)
        return client

    def connect(self, context: ssl.SSLContext | None = None, *, alpn: str = "http/1.1") -> ssl.SSLSocket:
        """A raw TLS connection."""
        context = context or self.context()
        context.set_alpn_protocols([alpn])
        raw = socket.create_connection((self.host, self.https), timeout=20)
        return context.wrap_socket(raw, server_hostname=self.host)

    def raw(self, request: bytes, *, limit: int = 1 << 20) -> bytes:
        """Send bytes over TLS, read until the server closes or is silent for two seconds."""
        answer = b""
        with self.connect() as tls:
            tls.sendall(request)
            tls.settimeout(2)
            try:
                while len(answer) < limit and not is_whole(answer) and (data := tls.recv(65536)):
                    answer += data
            except (TimeoutError, OSError):
                pass
        return answer

    def reload(self) -> None:
        """SIGHUP, and wait until it is done, well or ill."""
        before = len(re.findall(r"^sealgate: (?:not )?reloaded", self.err, re.MULTILINE))
        self.process.send_signal(signal.SIGHUP)
        self.wait_for(
            lambda: len(re.findall(r"^sealgate: (?:not )?reloaded", self.err, re.MULTILINE)) > before,
            60.0,  # several processes start anew, beside other tests and under load
        )

    def rewrite(self, **tables: dict[str, Any]) -> None:
        """Change the policy file; `reload` makes it count."""
        for name, table in tables.items():
            self.tables.setdefault(name, {}).update(table)
        write_policy(self.policy, self.tables)

    def wait_for(self, condition: Any, seconds: float = 20.0) -> None:
        """Until the condition holds, or fail."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s\n{self.err[-3000:]}"
            time.sleep(0.02)

    def order(self, **order: Any) -> dict[str, Any]:
        """An order over the control socket."""
        from sealgate.runtime.control import ask

        return ask(self.state, order)

    def children(self, marker: str) -> list[int]:
        """Pids of the keeper's children whose command line has the marker."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    line = (entry / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if parent == self.process.pid and marker in line:
                    found.append(int(entry.name))
        return sorted(found)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 45) -> int:
        """End it; its exit status."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def is_whole(data: bytes) -> bool:
    """Is this an answer of known length, and the last on its connection? Some close only after a while."""
    head, separator, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    last = re.search(rb"\r\nconnection: *close", head, re.IGNORECASE)
    return bool(separator and length and last and len(body) >= int(length[1]))


def start_process(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """`sealgate ARGUMENTS` with its output in `out.log` and `err.log`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SEALGATE_")}
    with (folder / "out.log").open("wb") as out, (folder / "err.log").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "sealgate", *arguments],
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            cwd=cwd or folder,
            env={**clean, **(env or {})},
        )


@contextmanager
def serve(
    folder: Path,
    *,
    app: str = "",
    app_folder: Path = APPS,
    env: Mapping[str, str] | None = None,
    arguments: tuple[str, ...] = (),
    at: tuple[str, int, int] | None = None,
    **tables: dict[str, Any],
) -> Iterator[Served]:
    """A running Sealgate with this policy; `app` is looked for in `app_folder`.

    `at`: its address, HTTPS and HTTP port, where another program of the test has to know them.
    """
    host = at[0] if at else loopback()
    https, http = at[1:] if at else (free_port(host), free_port(host))
    merged: dict[str, dict[str, Any]] = {name: dict(table) for name, table in tables.items()}
    site = merged.setdefault("site", {})
    names = site.get("names", ["localhost", "{host}"])
    site["names"] = [host if name == "{host}" else name for name in names]
    if app:
        site["app"] = app
    listen = merged.setdefault("listen", {})
    listen.setdefault("https", [f"{host}:{https}"])
    listen.setdefault("http", [f"{host}:{http}"])
    policy = folder / "sealgate.toml"
    write_policy(policy, merged)
    state = folder / "state"
    process = start_process(
        folder,
        "serve",
        *("-c", str(policy), "--state", str(state)),
        *arguments,
        env={"PYTHONPATH": str(app_folder), **(env or {})},
    )
    served = Served(process, host, https, http, folder, state, policy, merged)
    try:
        end = time.monotonic() + START
        while not READY.search(served.out):
            assert process.poll() is None, f"ended with {process.returncode}:\n{served.err}"
            assert time.monotonic() < end, f"not ready:\n{served.err}"
            time.sleep(0.02)
        yield served
    finally:
        served.stop()


class Background:
    """A function running in a thread until told to stop; what it raises is raised at the end."""

    def __init__(self, function: Any) -> None:
        self._stop = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Any) -> None:
        try:
            function(self._stop)
        except BaseException as error:  # noqa: BLE001 - handed on in `end`
            self.error = error

    def end(self, seconds: float = 30) -> None:
        self._stop.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error


def temporary() -> Path:
    """A short directory outside of pytest's deep ones."""
    return Path(tempfile.mkdtemp(prefix="sealgate-test-"))
