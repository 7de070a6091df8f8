"""Alerts on the real thing: told by a signed webhook that fails at first; once; over a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live.served import serve
from tests.monitor.receiver import SECRET, receiver


def hooks(folder: Path, *urls: str) -> list[dict[str, Any]]:
    secret = folder / "hook.secret"
    secret.write_bytes(SECRET + b"\n")
    secret.chmod(0o600)
    return [{"webhook": url, "secret": {"file": str(secret)}} for url in urls]


@pytest.mark.long
def test_told_once_over_failures_and_a_restart_and_when_it_is_over(tmp_path: Path) -> None:
    with receiver("127.0.0.1", 503, 307) as found:
        monitor = {"alerts": hooks(tmp_path, found.url + "/hook")}
        with serve(tmp_path, app="echo:app", monitor=monitor) as served:
            whole = served.policy.read_text()
            served.policy.write_text(whole + '[limits]\nbody = "3MiB"\n')
            found.until(lambda one: one.got)
            assert served.children("sealgate.runtime.watcher")

            def notes() -> dict[str, Any]:
                read: dict[str, Any] = json.loads((served.state / "monitor" / "alerts.json").read_text())
                return read

            served.wait_for(lambda: not notes()["waiting"])  # killed before that, it would tell it again
            assert notes()["known"][0]["code"] == "drift"
            assert SECRET.decode() not in served.err + served.out
            served.stop()
        assert len(found.tries) == 3
        assert len(set(found.tries)) == 1  # two that failed and the third are one event
        assert [(one["state"], one["code"]) for one in found.got] == [("firing", "drift")]
        served.policy.write_text(whole)
        with serve(tmp_path, app="echo:app", monitor=monitor) as served:
            found.until(lambda one: len(one.got) == 2)
        assert found.got[1]["state"] == "resolved"
        assert found.got[1]["since"] == found.got[0]["since"]
        assert found.bad == []
