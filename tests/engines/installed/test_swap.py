"""Files and directories of somebody else's: pipes, devices, any size, and locks that anybody can take."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sealgate.engines.installed.change import gather
from sealgate.engines.installed.swap import LARGEST, beside, locked, read_regular, replace_bytes
from sealgate.errors import EngineError, SealgateError, StateBusy, UsageError
from tests.engines.installed.test_running import place


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", LARGEST + 1)
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "large", "loop", "missing", "."):
        with pytest.raises(OSError, match=r".") as caught:
            read_regular(tmp_path / name)
        assert caught.value.strerror
    with pytest.raises(OSError, match="no regular file"):
        read_regular(Path("/dev/zero"))


def test_a_main_configuration_that_is_a_pipe_is_a_sentence(tmp_path: Path) -> None:
    here = place(tmp_path)
    here.main.unlink()
    os.mkfifo(here.main)
    with pytest.raises(UsageError, match="it is no regular file"):
        gather(here)


def test_odd_bytes_stay(tmp_path: Path) -> None:
    main = tmp_path / "nginx.conf"
    odd = bytes(range(256)) * 3
    main.write_bytes(odd)
    replace_bytes(main, odd, odd[::-1])
    assert main.read_bytes() == odd[::-1]


def test_a_link_that_was_planted_beside_is_not_written_through(tmp_path: Path) -> None:
    main, victim = tmp_path / "nginx.conf", tmp_path / "victim"
    main.write_bytes(b"a")
    victim.write_bytes(b"precious")

    def planted(step: str) -> None:
        if step == "beside":
            beside(main).symlink_to(victim)

    with pytest.raises(SealgateError):
        replace_bytes(main, b"a", b"b", step=planted)
    assert (main.read_bytes(), victim.read_bytes()) == (b"a", b"precious")
    beside(main).unlink(missing_ok=True)
    beside(main).symlink_to(victim)  # from before: replaced, and not followed
    replace_bytes(main, b"a", b"b")
    assert (main.read_bytes(), victim.read_bytes()) == (b"b", b"precious")


def test_an_edit_in_between_is_not_lost(tmp_path: Path) -> None:
    main = tmp_path / "nginx.conf"
    main.write_bytes(b"a")

    def edited(step: str) -> None:
        if step == "rename":
            main.write_bytes(b"the user's")

    with pytest.raises(EngineError, match="server-config-changed"):
        replace_bytes(main, b"a", b"b", step=edited)
    assert main.read_bytes() == b"the user's"
    assert not beside(main).exists()


HOLDER = """
import fcntl, os, sys
os.setuid(int(sys.argv[2]))
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by(uid: int, folder: Path) -> Iterator[None]:
    """Another process, of that user, has the directory's lock."""
    command = [sys.executable, "-I", "-c", HOLDER, str(folder), str(uid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield


def test_who_could_not_change_anything_keeps_nobody_waiting(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with held_by(os.geteuid(), tmp_path), pytest.raises(StateBusy), locked(tmp_path):
        pass
    if os.geteuid() == 0:  # whoever may read a directory may lock it
        for parent in tmp_path.parents:
            if not parent.stat().st_mode & 0o001:
                parent.chmod(0o711)
        with held_by(12345, tmp_path), locked(tmp_path):
            pass
