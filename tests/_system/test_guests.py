"""Programs of other people: what is kept of what they write, and that nothing of them is left.

tests/acme/dns/test_hook.py has the rest, through the one who runs them.
"""

from __future__ import annotations

import pytest

from sealgate._system.guests import Ended, run_guest


def guest(text: str, tmp_path, **settings) -> Ended:
    return run_guest(["/bin/sh", "-c", text], environment={}, folder=tmp_path, **{"seconds": 60, **settings})


def test_what_it_wrote(tmp_path):
    assert guest("echo out; echo err >&2; exit 3", tmp_path) == Ended(3, b"out\n", b"err\n")


def test_of_endless_output_the_beginning_is_kept(tmp_path):
    ended = guest("yes 12345678 | head -c 9000000; yes x | head -c 9000000 >&2", tmp_path)
    assert ended.status == 0
    assert (len(ended.out), len(ended.err)) == (64 * 1024, 64 * 1024)
    assert ended.out.startswith(b"12345678\n")


def test_pipes_closed_early_are_no_end(tmp_path):
    assert guest("exec >&- 2>&-; sleep 0.3; exit 4", tmp_path).status == 4


def test_its_time_is_over(tmp_path):
    assert guest("exec sleep 600", tmp_path, seconds=0.5) == Ended(None, b"", b"")


def test_files_it_makes_are_its_user_s_alone(tmp_path):
    guest("echo x > made", tmp_path)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600


def test_it_cannot_be_started(tmp_path):
    with pytest.raises(FileNotFoundError):
        run_guest([str(tmp_path / "absent")], environment={}, folder=tmp_path, seconds=5)
