from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine import survey
from bench.rows import all_rows
from bench.summary import BASE_HANDSHAKE, BASE_REQUEST, OURS, PAIRS

ROOT = Path(__file__).parent.parent.parent


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "bench", *options]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_the_rows_that_targets_need_are_there_and_ids_are_unique() -> None:
    ids = [row.id for row in all_rows()]
    assert len(set(ids)) == len(ids)
    assert {OURS, BASE_REQUEST, BASE_HANDSHAKE, *PAIRS, *PAIRS.values()} <= set(ids)
    assert {OURS, BASE_REQUEST, BASE_HANDSHAKE} == {row.id for row in all_rows() if row.quick}


@pytest.mark.long
def test_a_short_run_measures_and_writes(tmp_path: Path) -> None:
    done = bench("--quick", "--rounds=1", "--rows=nginx-granian", f"--out={tmp_path}")
    if len(os.sched_getaffinity(0)) < 2:
        assert "needs two cores" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    (data,) = tmp_path.glob("*.json")
    (chart,) = tmp_path.glob("*.svg")
    assert done.stdout.splitlines()[-2:] == [str(data), str(chart)]
    assert not done.stderr  # no progress bar in a pipe
    document = json.loads(data.read_text())
    assert [line["row"] for line in document["lines"]] == ["nginx-granian"]
    for sample in document["samples"]:
        assert 1e-6 < sample["request_cpu"] < 0.1
        assert 1e-6 < sample["handshake_cpu"] < 0.1
        assert sample["negotiated"]["group"] == "X25519"
        assert sample["negotiated"]["cipher"] == "TLS_AES_128_GCM_SHA256"
    for memory in document["memory"]:
        assert memory["before"] < memory["after"]


@pytest.mark.long
def test_every_row_serves_and_is_measured(tmp_path: Path) -> None:
    done = bench("--rounds=1", "--turns=1", "--no-memory", f"--out={tmp_path}")
    assert done.returncode in (0, 1), done.stdout + done.stderr  # on a busy machine a target may be missed
    (data,) = tmp_path.glob("*.json")
    document = json.loads(data.read_text())
    assert [line["row"] for line in document["lines"]] == [row.id for row in all_rows()]
    assert all(target["met"] is not None for target in document["targets"])
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(("pass", "FAIL"))]
    assert len(verdicts) == len(document["targets"])


@pytest.mark.parametrize(
    ("options", "said"),
    (
        (("--rows=no-such",), "no row no-such"),
        (("--quick", "--rounds=0"), "1 to 100"),
    ),
)
def test_a_wrong_call_is_one_sentence(options: tuple[str, ...], said: str) -> None:
    done = bench(*options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_two_runs_have_addresses_of_their_own() -> None:
    found = [survey().address for _ in range(5)]
    assert len(set(found)) > 1
    assert all(address.startswith("127.") for address in found)
