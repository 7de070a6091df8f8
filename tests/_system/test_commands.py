from __future__ import annotations

import sys
import time

from sealgate._system.commands import find, run


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
