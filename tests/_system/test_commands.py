from __future__ import annotations

import sys
import time

from sealgate._system.commands import MOST, find, run


def test_output_and_status_are_told() -> None:
    ended = run(
        [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"]
    )
    assert ended.status == 3
    assert sorted(ended.output.split()) == ["err", "out"]


def test_a_missing_program_is_an_answer() -> None:
    assert run(["sealgate-no-such-program"]).status == 127
    assert find("sealgate-no-such-program") is None


def test_a_slow_program_is_ended() -> None:
    began = time.monotonic()
    assert run([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.3).status == 124
    assert time.monotonic() - began < 20


def test_there_is_no_terminal_to_ask_on() -> None:
    assert run(["cat"]).output == ""


def test_programs_of_root_are_found_without_roots_path(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find("update-ca-certificates") == "/usr/sbin/update-ca-certificates"


def test_output_without_end_is_forgotten_and_not_kept() -> None:
    ended = run([sys.executable, "-c", "import os; [os.write(1, b'x' * 2**20) for _ in range(20)]"])
    assert ended.status == 0
    assert len(ended.output) == MOST


def test_who_leaves_its_output_to_another_is_not_waited_for() -> None:
    began = time.monotonic()
    assert run(["sh", "-c", "sleep 30 & exit 0"], seconds=0.3).status == 124
    assert time.monotonic() - began < 20
