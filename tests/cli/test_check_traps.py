"""`sealgate check --server-config`, without a policy: traps, and what was not read."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.calls import sealgate


def test_a_trap_is_named_with_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "hypercorn.toml").write_text('certfile = "a"\nkeyfile = "a"\ninsecure_bind = "a:80"\n')
    result = sealgate("check", "--server-config", "hypercorn.toml", "--json", cwd=tmp_path)
    assert result.status == 1
    traps = json.loads(result.out)["traps"]
    assert ("hypercorn-insecure-bind", f"{tmp_path}/hypercorn.toml", 3) in {
        (trap["id"], trap["file"], trap["line"]) for trap in traps
    }


def test_no_traps_is_not_said_of_what_was_not_read(tmp_path: Path) -> None:
    (tmp_path / "envoy.yaml").write_text("static_resources: [\n")
    result = sealgate("check", "--server-config", "envoy.yaml", cwd=tmp_path)
    text = " ".join(result.out.split())
    assert "No traps that are known in what could be read" in text
    assert "was not read: it is neither YAML nor JSON" in text
