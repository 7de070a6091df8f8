"""nginx in front, as a careful person sets it up: upstream connections kept, log buffered, tickets on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.processes import Command
from bench.rows import IDLE_SECONDS, Launch, Place, Row
from bench.rows._backends import LOOP, backend

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ROWS"]

_CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 19000; }}
http {{
    # As Envoy does it: lines leave the process 64 KiB at a time.
    access_log {access_log} combined buffer=64k flush=10s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    sendfile on;
    tcp_nopush on;
    server_tokens off;
    keepalive_timeout {idle}s;
    keepalive_requests 1000000;
    upstream app {{
        server unix:{socket};
        keepalive 64;
        keepalive_requests 1000000;
        keepalive_timeout {idle}s;
    }}
    server {{
        listen {address}:{port} ssl backlog=4096;
        server_name localhost {address};
        ssl_certificate {credentials.chain};
        ssl_certificate_key {credentials.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519:prime256v1:secp384r1;
        ssl_session_cache shared:tls:10m;
        ssl_session_timeout 1d;
        ssl_session_tickets on;
        ssl_prefer_server_ciphers off;
        add_header Strict-Transport-Security "max-age=300" always;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def _before(name: str) -> Callable[[Place], Launch]:
    def launch(place: Place) -> Launch:
        text = _CONFIGURATION.format(
            # Workers of an nginx started as root would change to a user that cannot reach the directory.
            user="user root;" if os.geteuid() == 0 else "",
            directory=place.directory,
            access_log=place.access_log,
            socket=place.socket,
            address=place.address,
            port=place.port,
            credentials=place.credentials,
            idle=IDLE_SECONDS,
        )
        # The prefix and -e keep nginx off the machine's own paths.
        file = place.write("nginx.conf", text)
        argv = ("nginx", "-p", str(place.directory), "-e", "stderr", "-c", str(file))
        return Launch((backend(name, place), Command(argv)), lambda: place.credentials.root)

    return launch


ROWS = (
    Row("nginx-gunicorn", "nginx → Gunicorn gthread", _before("gunicorn"),
        needs=("nginx", "python:gunicorn"), order=20, quick=True),
    Row("nginx-uvicorn", "nginx → uvicorn", _before("uvicorn"),
        needs=("nginx", "python:uvicorn", "python:httptools"), order=21, note=f"httptools, {LOOP}"),
    Row("nginx-granian", "nginx → Granian (WSGI)", _before("granian"),
        needs=("nginx", "python:granian"), order=22, quick=True),
)  # fmt: skip
