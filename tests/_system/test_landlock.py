"""Landlock for real, each time in a child: it cannot be taken back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sealgate._system.landlock import READ, WRITE, Grant, grants, supported


def confined(code: str, folder: Path, *, allowed: str = "()") -> Any:
    """What `code` puts into `seen` in a child from which `folder/hidden` is hidden."""
    program = f"""
import json, os, subprocess, sys
from pathlib import Path
from sealgate._system.landlock import READ, WRITE, Grant, confine
folder = Path(sys.argv[1])
seen = {{"abi": confine(hidden=[folder / "hidden"], allowed={allowed})}}
def attempt(name, function):
    try:
        seen[name] = function() or "done"
    except OSError as error:
        seen[name] = type(error).__name__
{code}
print(json.dumps(seen))
"""
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("hidden/inner", "open"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("hidden/key.pem", "hidden/inner/policy.json", "open/data"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("hidden/key.pem")
    return tmp_path


def test_this_kernel_has_it() -> None:
    assert supported() >= 1


def test_what_is_hidden_can_neither_be_read_nor_changed(folder: Path) -> None:
    code = """
attempt("read", lambda: (folder / "hidden/key.pem").read_text())
attempt("by link", lambda: (folder / "link").read_text())
attempt("write", lambda: (folder / "hidden/key.pem").write_text("x"))
attempt("truncate", lambda: os.truncate(folder / "hidden/key.pem", 0))
attempt("make", lambda: (folder / "hidden/new").mkdir())
attempt("remove", lambda: (folder / "hidden/key.pem").unlink())
attempt("move", lambda: (folder / "hidden").rename(folder / "open/moved"))
attempt("hard link", lambda: os.link(folder / "hidden/key.pem", folder / "open/key.pem"))
key = str(folder / "hidden/key.pem")
attempt("child", lambda: subprocess.run(["cat", key], capture_output=True).stdout.decode())
"""
    seen = confined(code, folder)
    assert seen.pop("abi") == supported()
    assert seen.pop("child") == "done"  # cat ran, and had nothing to say
    assert set(seen.values()) <= {"PermissionError", "OSError"}
    assert (folder / "hidden/key.pem").read_text() == "hidden/key.pem"


def test_what_is_beside_it_is_as_before(folder: Path) -> None:
    code = """
attempt("read", lambda: (folder / "open/data").read_text())
attempt("write", lambda: (folder / "open/new").write_text("x") and None)
attempt("list", lambda: sorted(os.listdir(folder)))
attempt("beside", lambda: (folder / "new").write_text("x"))
attempt("run", lambda: subprocess.run(["true"], check=True) and None)
attempt("devices", lambda: open("/dev/null", "w").close())
"""
    seen = confined(code, folder)
    assert seen["read"] == "open/data"
    assert {seen["write"], seen["run"], seen["devices"]} == {"done"}
    assert seen["list"] == ["hidden", "link", "open"]
    assert seen["beside"] == "PermissionError"  # the price: nothing new directly in an ancestor


@pytest.mark.parametrize(("rights", "may_write"), [("READ", False), ("WRITE", True)])
def test_what_is_granted_inside_is_reachable(folder: Path, rights: str, *, may_write: bool) -> None:
    code = """
attempt("read", lambda: (folder / "hidden/inner/policy.json").read_text())
attempt("write", lambda: (folder / "hidden/inner/new").write_text("x") and None)
attempt("above", lambda: (folder / "hidden/key.pem").read_text())
"""
    seen = confined(code, folder, allowed=f'(Grant(folder / "hidden/inner", {rights}),)')
    assert seen["read"] == "hidden/inner/policy.json"
    assert seen["write"] == ("done" if may_write else "PermissionError")
    assert seen["above"] == "PermissionError"


def test_grants_name_everything_but_the_hidden(folder: Path) -> None:
    hidden = folder / "hidden"
    given = {grant.path: grant.rights for grant in grants([hidden], [Grant(hidden / "inner", READ)])}
    assert hidden not in given
    assert hidden / "key.pem" not in given
    assert given[hidden / "inner"] == READ
    assert given[folder / "open"] == WRITE
    assert folder / "link" not in given
    for above in folder.parents:
        assert given[above] not in {READ, WRITE}


def test_a_hidden_directory_that_is_not_there_hides_nothing_else(tmp_path: Path) -> None:
    given = {grant.path for grant in grants([tmp_path / "absent"], [])}
    assert tmp_path in given
