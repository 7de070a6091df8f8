"""The alert rules and the dashboard: sound, and about metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from sealgate.engines.counts import bound_names
from sealgate.monitor import metrics
from sealgate.monitor.alerts import Notes
from sealgate.monitor.judge import CODES, judge
from sealgate.monitor.metrics import Watched
from tests.monitor.made import NOW, everything

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "packaging" / "monitoring"
RULES, DASHBOARD = FOLDER / "sealgate.rules.yml", FOLDER / "grafana-dashboard.json"
NAME = re.compile(r"\bsealgate_[a-z_]+\b")


def known() -> set[str]:
    """Names of all metrics that there can be."""
    from dataclasses import replace

    counters = tuple(
        (name, "x", 1) for name in ("requests", "denials", "handshakes", "key_exchanges", "handshake_errors")
    )
    counters += tuple(("server_seconds", bound, 1) for bound in (*bound_names(), "nanoseconds"))
    whole = replace(everything(), counters=counters)
    text = metrics.text(Watched(whole, True, judge(whole, NOW), Notes(), NOW)).decode()
    found = set(re.findall(r"^(sealgate_[a-z_]+)", text, re.MULTILINE))
    # A histogram's parts come together; people read of the whole.
    return {name for name in found if not name.startswith("sealgate_request_seconds_")} | {
        "sealgate_request_seconds_bucket"
    }


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        ["promtool", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_sound() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", str(RULES), cwd=FOLDER)


def test_they_fire_when_they_shall_and_not_before(tmp_path: Path) -> None:
    for file in (RULES, HERE / "monitoring" / "rules_test.yml"):
        shutil.copy(file, tmp_path)
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yml", cwd=tmp_path)


def test_they_are_about_metrics_that_there_are() -> None:
    for rule in rules():
        named = set(NAME.findall(rule["expr"]))
        assert named <= known(), rule["alert"]
        assert named or rule["expr"].startswith("up{")
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_codes_in_the_rules_are_codes_that_there_are() -> None:
    named = {
        code
        for rule in rules()
        for match in re.findall(r'code=~"([^"]+)"', rule["expr"])
        for code in match.split("|")
    }
    assert named
    assert named <= set(CODES)


def test_the_dashboard_is_about_metrics_that_there_are() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    shown: set[str] = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            names = set(NAME.findall(target["expr"]))
            assert names, panel["title"]
            assert "$instance" in target["expr"]
            shown |= names
    assert shown <= known()
    # All that is worth a look has a panel: what is left out is left out on purpose.
    assert known() - shown <= {
        "sealgate_alert_deliveries_lost_total",
        "sealgate_alert_deliveries_waiting",
        "sealgate_clients_expiring",
        "sealgate_engine_running",
        "sealgate_revocation_list_age_seconds",
        "sealgate_snapshot_age_seconds",
        "sealgate_start_timestamp_seconds",
    }


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert place["x"] + place["w"] <= 24


def test_the_guide_has_every_code_and_metric() -> None:
    guide = (HERE.parents[1] / "docs" / "guides" / "monitoring.md").read_text()
    for code, says in CODES.items():
        assert f"| `{code}` | {says}" in guide, code
    for name in known():
        endings = [f"...{name[n:]}" for n, letter in enumerate(name) if letter == "_"]
        assert any(f"`{one}`" in guide for one in (name, *endings)), name
