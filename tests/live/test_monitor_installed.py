"""`status` and `watch` beside a server that somebody else runs, and that `sealgate apply` was used on."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.live.backend import backend
from tests.live.installed import installed
from tests.live.served import free_port, loopback, start_process


@pytest.mark.long
def test_an_edited_file_and_a_stopped_server_are_seen(tmp_path: Path) -> None:
    with backend() as behind, installed("nginx", tmp_path, behind.url) as site:
        host = loopback()
        page = f"{host}:{free_port(host)}"
        site.rewrite(monitor={"listen": page})
        assert site.sealgate("apply", "--yes").returncode == 0
        policy = ("-c", str(tmp_path / "sealgate.toml"), "--state", str(site.state))

        watch = start_process(tmp_path, "watch", *policy)
        try:
            shown = f"http://{page}/status.json"
            site.wait_for(lambda: "watching" in (tmp_path / "out.log").read_text(), 30)
            found = httpx.get(shown, timeout=20).json()
            while not found["snapshot"]:
                found = httpx.get(shown, timeout=20).json()
            assert found["alerts"] == []
            assert found["snapshot"]["engine"]["id"] == "nginx"
            assert found["snapshot"]["engine"]["version"].startswith("1.")
            text = httpx.get(f"http://{page}/", timeout=20).text
            assert "All is well" in text
            assert "served by nginx; renewed by `sealgate apply`" in text
            assert "no keeper runs" not in text

            site.own.write_bytes(site.own.read_bytes() + b"# by hand\n")
            site.wait_for(lambda: "file-edited" in httpx.get(shown, timeout=20).text, 60)
            site.stop()
            site.wait_for(lambda: "not-served" in httpx.get(shown, timeout=20).text, 60)
            text = httpx.get(f"http://{page}/", timeout=20).text
            assert "look at nginx" in text
            assert "the service&#39;s log" not in text
            assert "start it with" not in text
        finally:
            watch.terminate()
        assert watch.wait(20) == 0
        assert "alert drift (error)" in (tmp_path / "err.log").read_text()
        assert json.loads((site.state / "monitor" / "alerts.json").read_text())["known"]
