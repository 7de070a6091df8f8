"""Caddy in front of Granian: HTTP/1.1 only, no automatic certificates, no admin port."""

from __future__ import annotations

import json

from bench.processes import Command
from bench.rows import IDLE_SECONDS, Launch, Place, Row
from bench.rows._backends import backend

__all__ = ["ROWS"]

_SECOND = 1_000_000_000  # Caddy's durations are nanoseconds


def _configuration(place: Place) -> dict[str, object]:
    chain, key = str(place.credentials.chain), str(place.credentials.key)
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"unix/{place.socket}"}],
        "transport": {"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 64}},
    }
    server = {
        "listen": [f"{place.address}:{place.port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "idle_timeout": IDLE_SECONDS * _SECOND,
        "tls_connection_policies": [{"alpn": ["http/1.1"]}],
        "routes": [{"handle": [proxy]}],
        "logs": {"default_logger_name": "access"},
    }
    access = {
        "writer": {"output": "file", "filename": str(place.access_log), "roll": False},
        "include": ["http.log.access.access"],
    }
    return {
        "admin": {"disabled": True},
        "logging": {"logs": {"access": access, "default": {"level": "ERROR"}}},
        "apps": {
            "http": {"servers": {"site": server}},
            "tls": {"certificates": {"load_files": [{"certificate": chain, "key": key}]}},
        },
    }


def _launch(place: Place) -> Launch:
    configuration = place.write("caddy.json", json.dumps(_configuration(place)))
    home = str(place.directory)
    caddy = Command(
        ("caddy", "run", "--config", str(configuration)),
        env={"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home},
    )
    return Launch((backend("granian", place), caddy), lambda: place.credentials.root)


ROWS = (Row("caddy-granian", "Caddy → Granian (WSGI)", _launch, needs=("caddy", "python:granian"), order=30),)
