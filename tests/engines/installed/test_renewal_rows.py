"""Who renews behind a server that Sealgate does not run: nobody, unless `apply` is called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealgate.engines.contract import Capability
from sealgate.engines.installed.contract import included, included_ids
from sealgate.engines.promises import LOSSLESS
from sealgate.policy.load import loads

TEXT = """
version = 1
site = { names = ["a.example"], upstream = "http://127.0.0.1:9000", engine = "NAME" }
certificate.source = "SOURCE"
"""


@pytest.mark.parametrize("source", ("acme", "private"))
@pytest.mark.parametrize("name", [one for one in included_ids() if one != "gunicorn"])
def test_the_row_says_by_whom_it_is_renewed(name: str, source: str) -> None:
    text = TEXT.replace("NAME", name).replace("SOURCE", source)
    policy = loads(text, path=Path("/x/sealgate.toml"), environ={}).policy
    rows = [row for row in included(name).capabilities(policy) if isinstance(row, Capability)]
    (row,) = [row for row in rows if row.key == "certificate.source"]
    assert row.promise.endswith("renewed at each apply that finds it due")
    assert not [row for row in rows if "sealgate watch" in row.how and "renewed" in row.how + row.promise]


@pytest.mark.parametrize("name", [one for one in included_ids() if one != "gunicorn"])
def test_what_a_reload_costs_is_said_with_the_figures_that_were_measured(name: str) -> None:
    policy = loads(TEXT.replace("NAME", name).replace("SOURCE", "private"), path=Path("/x/s"), environ={})
    rows = [row for row in included(name).capabilities(policy.policy) if isinstance(row, Capability)]
    (said,) = [row.promise for row in rows if row.key == "timeouts.drain" and "measured" in row.promise]
    design = (Path(__file__).parents[3] / "docs/design/installed.md").read_text()
    for lost, of in re.findall(r"([\d,]+) (?:requests )?of ([\d,]+)", said):
        assert re.search(rf"\b{lost}\s+of\s+{of}\b", design)
    assert not [row for row in rows if row.promise == LOSSLESS.promise]
