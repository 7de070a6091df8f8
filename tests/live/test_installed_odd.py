"""An installed server as it may be: no pid file, unknown, forgetful, a full disk, odd bytes."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sealgate.cli._installed import apply_to
from sealgate.engines.installed import change, running
from sealgate.errors import SealgateError
from tests.live.backend import backend
from tests.live.installed import Installed, call, installed, kinds, server_of, untouched, would_start


@pytest.fixture(scope="module", params=["nginx", "apache"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """One for all tests of the module."""
    folder = tmp_path_factory.mktemp("installed")
    with backend() as behind, installed(request.param, folder, behind.url) as one:
        yield one


@pytest.fixture
def site(server: Installed) -> Iterator[Installed]:
    """Nothing applied before, and nothing left."""
    with untouched(server):
        yield server


def test_a_server_without_a_pid_file_is_found(site: Installed) -> None:
    """By what it listens on, or by the file it reads; in a container there may be no other way."""
    (pid_file,) = (site.folder / "run").glob("*.pid")
    text = pid_file.read_bytes()
    try:
        pid_file.unlink()
        assert call(site, "apply", "--yes") == 0
        pid_file.write_text("1")
        assert call(site, "observe") == 0
        pid_file.write_text(str(os.getpid()))  # somebody else's by now: he is not told to hang up
        assert call(site, "rollback", "--yes") == 0
        assert site.silent()
    finally:
        pid_file.write_bytes(text)


def test_who_is_not_recognised_is_not_left_serving_silently(
    site: Installed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(site, "apply", "--yes") == 0
    main = site.main.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(running, "_is", lambda *_: False)
        patched.setattr(running, "others", lambda *_: False)
        assert call(site, "apply", "--yes") == 3
        said = capsys.readouterr().err
        assert "server-not-running" in said
        assert re.search(r"process \d+ \((nginx|apache2)\) holds the addresses of our site", said)
        assert call(site, "rollback", "--yes") == 3
        assert "server-not-told" in capsys.readouterr().err
        assert str(site.own).encode() not in site.main.read_bytes(), "the files are as asked"
        assert site.get()[0] == 200, "what it has in memory is served"
        assert "interrupted" in kinds(site)
    assert call(site, "rollback", "--yes") == 0, "now it can be told, and the journal knew what was left"
    assert site.silent()
    assert site.main.read_bytes() != main
    assert call(site, "rollback") == 3


def test_what_a_server_remembers_is_not_taken_for_what_its_files_say(site: Installed) -> None:
    """It still listens on our addresses, and no journal says that they were ours: the site is served anew.

    Apache would end where a file named an address twice, and stop listening where none does.
    """
    before = site.main.read_bytes()
    assert call(site, "apply", "--yes") == 0
    shutil.rmtree(site.own.parent)
    site.main.write_bytes(before)
    assert site.get()[0] == 200
    assert call(site, "apply", "--yes") == 0
    assert site.get()[0] == 200
    assert site.get_plain()[0] == 308
    assert site.answers()


def test_an_address_that_was_added_to_the_files_and_not_yet_read(site: Installed) -> None:
    """By hand, in the user's own files, without a reload: said twice it would end Apache."""
    if site.kind != "apache":
        return  # nginx shares addresses by itself
    ports = site.folder / "server" / "ports.conf"
    text = ports.read_text()
    ports.write_text(f"{text}Listen {site.host}:{site.http}\n")
    try:
        assert call(site, "apply", "--yes") == 0
        assert site.get_plain()[0] == 308
        assert call(site, "rollback", "--yes") == 0
        assert site.answers()
    finally:
        ports.write_text(text)


@pytest.mark.parametrize("room", [0, 1, 3, 6])
def test_a_full_disk_changes_nothing(
    site: Installed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], room: int
) -> None:
    """Full from some write on: what was served is served, the next call does it."""
    if site.kind != "nginx":
        return  # the steps are the same for every server
    before = site.main.read_bytes()
    with server_of(site) as server:
        left = [room]

        def full(handle: int, original: Callable[[int], None] = os.fsync) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            original(handle)

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(SealgateError, match="space"):
                apply_to(server)
    assert site.answers()
    assert would_start(site)
    assert call(site, "apply", "--yes") == 0, capsys.readouterr().err
    assert site.get()[0] == 200
    assert call(site, "rollback", "--all", "--yes") == 0
    assert site.main.read_bytes() == before


def test_a_plan_of_files_with_odd_bytes(site: Installed) -> None:
    text = site.main.read_bytes()
    site.main.write_bytes(b"# \xff\xfe\x80\n" + text)
    try:
        assert call(site, "plan") == 0
        assert call(site, "apply", "--yes") == 0
        assert call(site, "rollback", "--yes") == 0
        assert site.main.read_bytes() == b"# \xff\xfe\x80\n" + text
    finally:
        site.main.write_bytes(text)


def test_a_state_directory_whose_name_is_no_text(
    site: Installed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(site, other_state=Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")))
    assert call(other, "apply", "--yes") == 3
    assert "not UTF-8" in capsys.readouterr().err


def test_a_server_that_ends_at_the_reload_would_start_again(site: Installed) -> None:
    """Killed by somebody, or by an address that another took: the files are right, and it is said."""
    before = site.main.read_bytes()

    def killed(step: str) -> None:
        if step == "reload":
            assert site.process is not None
            site.stop()

    with server_of(site) as server, pytest.raises(SealgateError, match=r"restore-failed|server-not-running"):
        apply_to(server, step=killed)
    assert site.main.read_bytes() == before
    assert would_start(site)
    site.start()
    assert call(site, "rollback", "--yes") == 0
    assert site.silent()
    assert call(site, "apply", "--yes") == 0
    assert site.get()[0] == 200


def test_what_could_not_be_read_is_said_and_refused(
    site: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is too large for us is none for Apache; what is in it may count in our site."""
    if site.kind != "apache":
        return
    large = site.folder / "server" / "conf.d" / "large.conf"
    with large.open("w") as file:
        file.write(f"Listen {site.host}:{site.http}\n")
        file.write(f"#{'x' * 998}\n" * 1100)
    try:
        assert "larger than" in site.sealgate("plan").stdout
        assert call(site, "apply", "--yes") == 3
        assert f"server-config-inherits: {site.main}" in capsys.readouterr().err
        assert not site.own.exists()
        assert site.answers()
    finally:
        large.unlink()


def test_a_server_of_another_user_is_left_alone(
    site: Installed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files may be ours to write; it would not hear that they were."""
    before = site.main.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(change, "may_tell", lambda _: False)
        assert call(site, "apply", "--yes") == 3
    assert "belongs to another user" in capsys.readouterr().err
    assert site.main.read_bytes() == before
    assert not site.own.exists()
