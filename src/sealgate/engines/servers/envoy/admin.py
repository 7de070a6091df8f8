"""Envoy's admin interface, over its unix socket only (0600)."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealgate._system.sockets import connect_unix
from sealgate.errors import EngineError

__all__ = ["Admin", "AdminSocket"]

_TIMEOUT = 5.0


class AdminSocket:
    """Where the admin interface is, and the key that opens it: app workers of the same uid must not use it.

    Neither Landlock nor file modes keep a process of the same uid from connect(2) to a unix socket, and
    Landlock hides no names. So Envoy itself asks for a key: only targets that end in it are answered
    (`admin.allow_paths`). It is made anew for each start of the keeper and stands in the bootstrap file,
    which Landlock keeps workers from reading.

    Args:
        run: the state directory's ``run``.
        uid: the engine's user; -1: the keeper's own.
    """

    def __init__(self, run: Path, uid: int = -1) -> None:
        self.folder = run / "engine"
        self.key = secrets.token_urlsafe(32)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(mode=0o700)
        if uid >= 0:
            os.chown(self.folder, uid, -1)
        self.path = self.folder / "admin.sock"

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.folder, ignore_errors=True)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = connect_unix(self._path, timeout=_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Admin:
    """Blocking calls of at most five seconds each; run them in a thread."""

    socket: AdminSocket

    def _call(self, method: str, target: str) -> bytes:
        connection = _Connection(self.socket.path)
        try:
            connection.request(method, f"{target}{'&' if '?' in target else '?'}key={self.socket.key}")
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(
                "envoy-admin",
                f"Envoy's admin socket does not answer ({error})",
                "look at the lines before this one",
            ) from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise EngineError("envoy-admin", f"Envoy answered {response.status} to {target}", "report this")
        return body

    def ready(self) -> bool:
        """Has it loaded its listeners and clusters?"""
        try:
            return self._call("GET", "/ready").strip() == b"LIVE"
        except EngineError:
            return False

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose name matches the regular expression."""
        data = json.loads(self._call("GET", f"/stats?format=json&filter={pattern}"))
        return {item["name"]: item["value"] for item in data["stats"] if isinstance(item.get("value"), int)}

    def prometheus(self, pattern: str) -> str:
        """The page for Prometheus with what matches: histograms have their sum on no other."""
        return self._call("GET", f"/stats/prometheus?filter={pattern}").decode("utf-8", "replace")

    def hosts(self, cluster: str) -> dict[str, tuple[str, int]]:
        """Per unix socket of a cluster: its EDS health, and how many requests are under way to it."""
        data = json.loads(self._call("GET", "/clusters?format=json"))
        found: dict[str, tuple[str, int]] = {}
        for status in data.get("cluster_statuses", ()):
            if status["name"] == cluster:
                for host in status.get("host_statuses", ()):
                    path = host["address"].get("pipe", {}).get("path", "")
                    found[path] = (host.get("health_status", {}).get("eds_health_status", ""), _active(host))
        return found

    def post(self, target: str) -> None:
        """An order: `/drain_listeners`, `/quitquitquit`."""
        self._call("POST", target)


def _active(host: dict[str, Any]) -> int:
    for stat in host.get("stats", ()):
        if stat.get("name") == "rq_active":
            return int(stat.get("value", 0))
    return 0
