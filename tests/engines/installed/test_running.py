"""Which process is the server: by its program, its name and sockets, and by nothing that could be stale."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sealgate.engines.contract import Program
from sealgate.engines.installed.contract import Included, Place, included
from sealgate.engines.installed.journal import Record
from sealgate.engines.installed.process import listening
from sealgate.engines.installed.running import _is, _named, _pid_of, _reads, master, not_running, others
from sealgate.policy.model import Endpoint

ME = Path(f"/proc/{os.getpid()}/exe").readlink()


def place(tmp_path: Path, program: Path = Path("/usr/sbin/nginx"), **changed: object) -> Place:
    kind: Included = replace(included("nginx"), **{"ask": lambda *_: (), **changed})  # type: ignore[arg-type]
    main = tmp_path / "nginx.conf"
    main.write_text("")
    return Place(kind, Program(program, "1.22.1", pinned=False), main, tmp_path / "ours")


def with_pid_file(tmp_path: Path, path: Path) -> Place:
    return place(tmp_path, pid_file=lambda _: str(path))


def test_by_its_program(tmp_path: Path) -> None:
    assert _is(os.getpid(), place(tmp_path, ME))
    assert not _is(os.getpid(), place(tmp_path))
    assert not _is(2**22 + 1, place(tmp_path, ME)), "nobody has that pid"


def test_by_its_name_where_it_listens(tmp_path: Path) -> None:
    """The program may be a script that runs it; a name alone could be anybody's."""
    named = place(tmp_path, processes=(ME.name,))
    held = listening(os.getpid())
    with socket.create_server(("127.0.0.1", 0)):
        assert _is(os.getpid(), named)
        assert not _is(os.getpid(), place(tmp_path, processes=("apache2",)))
    assert _is(os.getpid(), named) is bool(held)


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"1", b"0", b"9" * 20, b"\xff\n", b"7 7"])
def test_a_pid_file_that_says_nothing_of_use(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pid").write_bytes(content)
    assert _pid_of(with_pid_file(tmp_path, tmp_path / "pid"))[0] == 0
    assert master(with_pid_file(tmp_path, tmp_path / "pid"), Record()).pid == 0


def test_a_pid_file_that_is_none_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/zero")):
        assert _pid_of(with_pid_file(tmp_path, path))[0] == 0


def test_who_has_its_pid_by_now_is_named_and_not_told(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    here = with_pid_file(tmp_path, tmp_path / "pid")
    found = master(here, Record())
    assert found.pid == 0
    assert found.doubt == f"{tmp_path}/pid names {_named(os.getpid())}, which is no nginx"
    error = not_running(here, found)
    assert error.code == "server-not-running"
    assert found.doubt in error.fact
    assert "names" not in not_running(here, replace(found, doubt="")).fact


def test_a_command_line_says_which_file_is_read(tmp_path: Path) -> None:
    here = place(tmp_path, option="-c", mains=())
    with subprocess.Popen(["sh", "-c", "read x", "-c", str(here.main)], stdin=subprocess.PIPE) as process:
        pid = process.pid
        end = time.monotonic() + 20
        while not _reads(pid, here):  # a program that has just begun has no arguments to read for a moment
            assert time.monotonic() < end
            time.sleep(0.01)
        assert not _reads(pid, replace(here, main=tmp_path / "other.conf"))
        usual = place(tmp_path, option="-x", mains=(str(tmp_path / "nginx.conf"),))
        assert _reads(pid, usual), "none named: the usual one"
        assert not _reads(pid, place(tmp_path, option="-x", mains=()))


def test_the_same_certificate_served_by_another_kind_is_not_ours_to_tell(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine:
        endpoint = Endpoint("127.0.0.1", mine.getsockname()[1])
        assert others(place(tmp_path), frozenset({endpoint})) is ME.name.startswith("python")
    assert not others(place(tmp_path), frozenset({endpoint})), "nobody is there"
