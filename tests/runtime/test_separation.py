"""Who may touch what, as a plan; and once for real, with users of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from sealgate._system.landlock import READ, WRITE
from sealgate.runtime import separation
from sealgate.runtime.separation import describe, plan


def test_state_and_foreign_keys_are_hidden(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    (tmp_path / "link").symlink_to(key)
    planned = plan(tmp_path / "state", [tmp_path / "link"])
    assert tmp_path / "state" in planned.hidden
    assert key in planned.hidden  # what the link leads to, not the link


def test_the_engine_may_read_its_own_and_write_its_socket(tmp_path: Path) -> None:
    planned = plan(tmp_path)
    given = {
        grant.path: grant.rights
        for grant in planned.engine_grants([tmp_path / "live"], [tmp_path / "run/engine"])
    }
    own = {path: rights for path, rights in given.items() if path.is_relative_to(tmp_path)}
    assert own == {tmp_path / "engines": READ, tmp_path / "live": READ, tmp_path / "run/engine": WRITE}
    assert not [
        path
        for path in given
        if path in {Path("/"), Path("/etc"), Path("/home"), Path("/root"), Path("/dev")}
    ]


def test_the_watcher_is_told_nothing_of_what_runs_beside_it(tmp_path: Path) -> None:
    granted = {grant.path for grant in plan(tmp_path).program_grants()}
    assert not {path for path in granted if path.parts[1:2] in {("proc",), ("sys",)}}


def test_workers_may_read_the_guards_policy_alone(tmp_path: Path) -> None:
    assert plan(tmp_path).app_readable() == (tmp_path / "live" / "guard",)


def test_a_temp_directory_that_would_be_closed_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    planned = plan(tmp_path / "state")
    assert planned.app_temp() == tmp_path / "state/run/tmp"
    assert planned.app_writable() == (tmp_path / "state/run/tmp",)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    assert plan(tmp_path / "state").app_writable() == ()


def test_folders_that_close_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan(tmp_path / ".sealgate").closed_folders() == (tmp_path,)
    assert plan(tmp_path.parent / "other").closed_folders() == ()


def test_an_old_kernel_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "supported", lambda: 0)
    assert any("Landlock" in text for text in describe(tmp_path))


def test_users_that_are_not_there_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "APP_USER", "sealgate-nobody-of-this-name")
    assert os.geteuid() == 0
    assert any("sealgate-nobody-of-this-name" in text and "useradd" in text for text in describe(tmp_path))


def test_in_front_of_an_upstream_there_are_no_workers_to_speak_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(separation, "APP_USER", "sealgate-nobody-of-this-name")
    assert not any("app workers" in text for text in describe(tmp_path, workers=False))
    monkeypatch.setattr(separation, "supported", lambda: 0)
    assert "the engine is not confined: " in " ".join(describe(tmp_path, workers=False))
