"""`sealgate schema`."""

from __future__ import annotations

import json
from pathlib import Path

from sealgate.policy.schema import policy_schema
from tests.cli.calls import sealgate


def test_it_prints_the_schema(tmp_path: Path) -> None:
    result = sealgate("schema", cwd=tmp_path)
    assert (result.status, result.err) == (0, "")
    assert json.loads(result.out) == policy_schema()
