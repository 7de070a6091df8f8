"""Servers as a distribution installs them, in a folder of the test's own; nothing in /etc is touched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any

from sealgate.cli._installed import Server, open_server
from sealgate.cli._options import load_context
from sealgate.cli.main import run
from tests.live.served import free_port, loopback, write_policy

NGINX = """\
user root;
worker_processes 1;
pid {folder}/run/nginx.pid;
error_log {folder}/log/error.log;
include {folder}/server/modules-enabled/*.conf;

events {{
	worker_connections 768;
}}

http {{
	sendfile on;
	types_hash_max_size 2048;
	default_type application/octet-stream;
	ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3; # Dropping SSLv3, ref: POODLE
	ssl_prefer_server_ciphers on;
	access_log {folder}/log/access.log;
	client_body_temp_path {folder}/run/body;
	proxy_temp_path {folder}/run/proxy;
	fastcgi_temp_path {folder}/run/fastcgi;
	uwsgi_temp_path {folder}/run/uwsgi;
	scgi_temp_path {folder}/run/scgi;
	gzip on;
	include conf.d/*.conf;
}}
"""
NGINX_USER = """\
server {{
	listen {host}:{user} default_server;
	location / {{ return 200 "hand-written"; }}
}}
"""


APACHE = """\
DefaultRuntimeDir ${{APACHE_RUN_DIR}}
PidFile ${{APACHE_PID_FILE}}
Timeout 300
KeepAlive On
User ${{APACHE_RUN_USER}}
Group ${{APACHE_RUN_GROUP}}
ErrorLog ${{APACHE_LOG_DIR}}/error.log
LogLevel warn
ServerName localhost
IncludeOptional {folder}/server/modules-enabled/*.load
<Location /server-status>
	SetHandler server-status
	Require local
</Location>
Alias /icons/ {folder}/server/
<Directory />
	AllowOverride None
	Require all denied
</Directory>
Include {folder}/server/ports.conf
IncludeOptional {folder}/server/conf.d/*.conf
"""
APACHE_ENVIRONMENT = """\
export APACHE_RUN_USER=www-data
export APACHE_RUN_GROUP=www-data
export APACHE_PID_FILE={folder}/run/apache2.pid
export APACHE_RUN_DIR={folder}/run
export APACHE_LOG_DIR={folder}/log
"""
APACHE_USER = """\
<VirtualHost {host}:{user}>
	ServerName user.test
	ErrorDocument 404 "hand-written"
	Redirect 404 /
</VirtualHost>
"""
# As Debian enables them; ours (ssl, headers, proxy, rewrite ...) are not among them.
APACHE_MODULES = (
    "mpm_event",
    "authz_core",
    "authz_host",
    "alias",
    "dir",
    "env",
    "setenvif",
    "status",
)


@dataclass
class Installed:
    """An installed server that runs, a backend behind it, and a policy that wants to be applied to it."""

    kind: str
    folder: Path
    host: str
    https: int
    http: int
    user: int
    process: subprocess.Popen[bytes] | None = None
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    other_state: Path | None = None

    @property
    def main(self) -> Path:
        return self.folder / "server" / {"nginx": "nginx.conf", "apache": "apache2.conf"}[self.kind]

    @property
    def state(self) -> Path:
        return self.other_state or self.folder / "state"

    @property
    def own(self) -> Path:
        return self.state / "engines" / "installed" / self.kind / "sealgate.conf"

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of every call."""
        policy = ("-c", str(self.folder / "sealgate.toml"), "--state", str(self.state))
        return (*policy, "--engine", self.kind, "--server-config", str(self.main))

    def sealgate(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Call it and wait."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SEALGATE_")}
        return subprocess.run(
            [sys.executable, "-m", "sealgate", command, *self.arguments, *more],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            env={**clean, "COLUMNS": "200"},
            check=False,
        )

    def json(self, command: str, *more: str) -> dict[str, Any]:
        """The same, for programs."""
        done = self.sealgate(command, *more, "--json")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def rewrite(self, **tables: dict[str, Any]) -> None:
        """Change the policy."""
        for name, table in tables.items():
            self.tables.setdefault(name, {}).update(table)
        write_policy(self.folder / "sealgate.toml", self.tables)

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.state / "authorities" / "root" / "root.pem"))

    def get(self, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Over HTTPS, verified."""
        connection = HTTPSConnection(self.host, self.https, timeout=10, context=self.context())
        return _got(connection, path, headers)

    def get_plain(self, path: str = "/", port: int = 0, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Over plain HTTP."""
        return _got(HTTPConnection(self.host, port or self.http, timeout=10), path, headers)

    def start(self) -> None:
        """The installed server, as its unit would."""
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder
        )
        self.wait_for(self.answers)

    @property
    def command(self) -> list[str]:
        if self.kind == "nginx":
            return ["nginx", "-c", str(self.main), "-g", "daemon off;"]
        environment = str(self.main.parent / "envvars")
        return ["sh", "-c", '. "$0"; exec "$@"', environment, "apache2", "-f", str(self.main), "-DFOREGROUND"]

    def answers(self) -> bool:
        """Does the user's own site answer?"""
        with contextlib.suppress(OSError):
            return self.get_plain(port=self.user)[2] == b"hand-written"
        return False

    def silent(self) -> bool:
        """Is neither of our addresses open?"""
        for port in (self.https, self.http):
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, port), 5).close()
                return False
        return True

    def wait_for(self, condition: Any, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)

    def log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / "log" / "error.log").read_text()[-3000:]
        return ""

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(15)


def _got(connection: HTTPConnection, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    try:
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer: HTTPResponse = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@contextlib.contextmanager
def installed(kind: str, folder: Path, backend: str, **tables: dict[str, Any]) -> Iterator[Installed]:
    """A private copy of a distribution's layout, its server running, ended afterwards."""
    host = loopback()
    one = Installed(kind, folder, host, free_port(host), free_port(host), free_port(host))
    for part in ("server/conf.d", "server/modules-enabled", "run", "log"):
        (folder / part).mkdir(parents=True)
    write = {"nginx": _nginx, "apache": _apache}[kind]
    write(one)
    listen = {"https": [f"{host}:{one.https}"], "http": [f"{host}:{one.http}"]}
    site = {"names": ["localhost", host], "upstream": backend}
    one.rewrite(site=site, listen=listen)
    one.rewrite(**tables)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def _nginx(one: Installed) -> None:
    one.main.write_text(NGINX.format(folder=one.folder))
    user = one.folder / "server" / "conf.d" / "user.conf"
    user.write_text(NGINX_USER.format(host=one.host, user=one.user))


def _apache(one: Installed) -> None:
    server = one.folder / "server"
    one.main.write_text(APACHE.format(folder=one.folder))
    (server / "envvars").write_text(APACHE_ENVIRONMENT.format(folder=one.folder))
    (server / "ports.conf").write_text(f"Listen {one.host}:{one.user}\n")
    (server / "conf.d" / "user.conf").write_text(APACHE_USER.format(host=one.host, user=one.user))
    for number, name in enumerate(APACHE_MODULES):
        line = f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        (server / "modules-enabled" / f"{number:02d}-{name}.load").write_text(line)


@contextlib.contextmanager
def untouched(one: Installed) -> Iterator[None]:
    """Nothing applied before, and nothing left."""
    before = one.main.read_bytes()
    yield
    one.rewrite(limits={"body": "1MiB"}, listen={"http": [f"{one.host}:{one.http}"]})
    call(one, "rollback", "--all", "--yes")
    assert one.main.read_bytes() == before
    assert not one.own.exists()


def call(one: Installed, command: str, *more: str) -> int:
    """The command line, in this process."""
    return run([command, *one.arguments, *more])


def kinds(one: Installed) -> set[str]:
    """What is not as it was applied."""
    return {item["kind"] for item in one.json("observe")["drift"]}


@contextlib.contextmanager
def server_of(one: Installed) -> Iterator[Server]:
    """As the commands do it."""
    context = load_context(one.folder / "sealgate.toml", one.state)
    with open_server(context, name=one.kind, config=one.main, untested=False, changing=True) as server:
        yield server


def would_start(one: Installed) -> bool:
    """By the server's own check of what is on disk."""
    argv = [*(word for word in one.command if word not in {"-DFOREGROUND", "-g", "daemon off;"}), "-t"]
    return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode == 0


@contextlib.contextmanager
def said(site: Installed, text: str) -> Iterator[Path]:
    """Outside of all sites, by a file that the user's configuration includes."""
    extra = site.main.parent / "conf.d" / "extra.conf"
    extra.write_text(text)
    try:
        yield extra
    finally:
        extra.unlink()
