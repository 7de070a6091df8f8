"""Both sides of ``bench.today``: one policy, and what it is where people put it together themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.issuer import AUDIENCE, CLIENT, ISSUER, SCOPE
from bench.machine import survey
from bench.processes import Command, Group
from bench.rows import IDLE_SECONDS, PYTHON, THREADS
from bench.serving import Serving
from bench.validate import ORDER

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROOT", "Ours", "Theirs", "has_openapi_core"]

ROOT = Path(__file__).parent.parent
_CORE = ROOT / ".make" / "openapi-core"

_DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "bench", "version": "1"},
    "servers": [{"url": "https://localhost"}, {"url": "http://localhost"}],
    "paths": {
        "/": {"get": {"responses": {"200": {"description": "hello"}}}},
        "/orders": {
            "post": {
                "requestBody": {"required": True, "content": {"application/json": {"schema": ORDER}}},
                "responses": {"200": {"description": "hello"}},
            }
        },
    },
}

_POLICY = """\
[site]
names = ["localhost", "{address}"]
app = "apps:orders_wsgi"
workers = 1
threads = {threads}
[listen]
https = ["{address}:{port}"]
http = []
[clients]
mode = "required"
[clients.groups]
ops = [{{ authority = "private", cn = "{client}" }}]
[[tokens.issuers]]
issuer = "{issuer}"
jwks_file = "{keys}"
audience = ["{audience}"]
[network]
allow = ["127.0.0.0/8"]
deny = {denied}
[limits]
rates = [
    {{ by = "address", rate = "1000000/s" }},
    {{ by = "client", rate = "1000000/s" }},
]
[access]
default = "deny"
[[access.rules]]
path = "/**"
require = {{ group = ["ops"], scope = ["{scope}"] }}
[timeouts]
idle = "{idle}s"
[monitor]
listen = ""
"""

_NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1000; }}
http {{
    access_log {directory}/access.log combined buffer=64k flush=10s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server_tokens off;
    keepalive_timeout {idle}s;
    keepalive_requests 10000000;
    limit_req_zone $binary_remote_addr zone=address:10m rate=1000000r/s;
    upstream app {{
        server unix:{directory}/app.sock;
        keepalive 64;
        keepalive_requests 10000000;
        keepalive_timeout {idle}s;
    }}
    server {{
        listen {address}:{port} ssl backlog=4096;
        server_name localhost {address};
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
        add_header Strict-Transport-Security "max-age=300" always;
        client_max_body_size 1m;
        allow 127.0.0.0/8;
        deny all;
        limit_req zone=address burst=1000000 nodelay;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header X-Client-Verify $ssl_client_verify;
            proxy_set_header X-Client-DN $ssl_client_s_dn;
        }}
    }}
}}
"""


def has_openapi_core() -> bool:
    """It is in a folder of its own, as it wants older versions of what tests use; `make bench` makes it."""
    return _CORE.is_dir()


class Ours:
    """`sealgate serve`."""

    def __init__(
        self, directory: Path, keys: str, core: int, *, validating: bool, deny: Sequence[str]
    ) -> None:
        directory.mkdir(mode=0o711)
        (directory / "keys.json").write_text(keys)
        (directory / "openapi.json").write_text(json.dumps(_DOCUMENT))

        def policy(address: str, port: int) -> str:
            text = _POLICY.format(
                address=address,
                port=port,
                threads=THREADS,
                client=CLIENT,
                issuer=ISSUER,
                keys=directory / "keys.json",
                audience=AUDIENCE,
                denied=json.dumps(deny),
                scope=SCOPE,
                idle=IDLE_SECONDS,
            )
            return text + (f'[validation]\nopenapi = "{directory}/openapi.json"\n' if validating else "")

        self.serving = Serving(policy, directory, core=core)
        self.at, self.shown = self.serving.at, directory / f"{CLIENT}.pem"

    def start(self) -> None:
        """Until it serves; then a client's certificate."""
        self.serving.wait()
        self.shown = self.serving.clients([CLIENT])[CLIENT]

    def cpu(self) -> float:
        return sum(self.serving.cpu())

    def stop(self) -> None:
        self.serving.group.stop()


class Theirs:
    """nginx and Gunicorn, with the certificates of one of ours."""

    def __init__(self, directory: Path, keys: str, core: int, ours: Ours, *, validating: bool) -> None:
        directory.mkdir(mode=0o711)
        (directory / "keys.json").write_text(keys)
        (document := directory / "openapi.json").write_text(json.dumps(_DOCUMENT))
        machine = survey()
        self.at, self.shown = (machine.address, machine.free_port()), ours.shown
        facts = {
            "directory": directory,
            "address": self.at[0],
            "port": self.at[1],
            "server": ours.serving.state / "live" / "server" / "localhost",
            "clients": ours.serving.state / "live" / "clients",
            "user": "user root;" if os.geteuid() == 0 else "",
            "idle": IDLE_SECONDS,
        }
        (file := directory / "nginx.conf").write_text(_NGINX.format(**facts))
        nginx = Command(("nginx", "-p", str(directory), "-e", "stderr", "-c", str(file)))
        env = {"BENCH_KEYS": str(directory / "keys.json")}
        if validating:
            env |= {"BENCH_OPENAPI": str(document), "PYTHONPATH": str(_CORE)}
        options = ("--workers", "1", "--worker-class", "gthread", "--threads", str(THREADS))
        keep = ("--keep-alive", str(IDLE_SECONDS), "--log-level", "warning", "--no-control-socket")
        bind = ("--bind", f"unix:{directory}/app.sock")
        argv = (PYTHON, "-m", "gunicorn", *bind, *options, *keep, "bench.today_app:app")
        self.group = Group((Command(argv, cwd=ROOT, env=env), nginx), core=core, logs=directory)

    def cpu(self) -> float:
        return sum(self.group.cpu().values())

    def stop(self) -> None:
        self.group.stop()
