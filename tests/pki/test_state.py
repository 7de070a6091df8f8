from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sealgate.errors import StateBusy, StateError, StateInsecure
from sealgate.pki.state import State, site_directory


def test_everything_in_it_is_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        state = State.open(tmp_path / "s")
    finally:
        os.umask(old)
    made = [state.path, *state.path.rglob("*")]
    # Answers to challenges are no secret.
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made}
    private = ("s", "authorities", "live", "clients", "guard", "engines", "run")
    assert modes == {**dict.fromkeys(private, 0o700), "challenges": 0o711}


def test_others_may_pass_to_challenges_and_list_nothing(tmp_path: Path) -> None:
    state = State.open(tmp_path / "s")
    state.admit_to_challenges()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state.path, *state.path.rglob("*"))}
    open_ = {name: mode for name, mode in modes.items() if mode & 0o007}
    assert open_ == {"s": 0o701, "live": 0o701, "challenges": 0o711}
    assert State.open(tmp_path / "s").challenges.is_dir()


def test_beside_a_policy_it_keeps_itself_out_of_git(tmp_path: Path) -> None:
    State.open(tmp_path / ".sealgate")
    assert (tmp_path / ".sealgate" / ".gitignore").read_text() == "*\n"
    State.open(tmp_path / "other")
    assert not (tmp_path / "other" / ".gitignore").exists()


def test_an_edited_gitignore_is_left_alone(tmp_path: Path) -> None:
    State.open(tmp_path / ".sealgate")
    (tmp_path / ".sealgate" / ".gitignore").write_text("live\n")
    State.open(tmp_path / ".sealgate")
    assert (tmp_path / ".sealgate" / ".gitignore").read_text() == "live\n"


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o777])
def test_one_that_others_may_write_is_refused(tmp_path: Path, bits: int) -> None:
    State.open(tmp_path / "s")
    (tmp_path / "s").chmod(bits)
    for create in (True, False):
        with pytest.raises(StateInsecure) as caught:
            State.open(tmp_path / "s", create=create)
        assert caught.value.code == "state-insecure"
        assert "chmod go-w" in str(caught.value)


def test_a_part_that_others_may_write_is_refused(tmp_path: Path) -> None:
    state = State.open(tmp_path / "s")
    state.authorities.chmod(0o777)
    with pytest.raises(StateInsecure):
        State.open(tmp_path / "s")


def test_looking_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StateError) as caught:
        State.open(tmp_path / "s", create=False)
    assert caught.value.code == "state-missing"
    assert not (tmp_path / "s").exists()


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "s").touch(0o600)
    with pytest.raises(StateError) as caught:
        State.open(tmp_path / "s")
    assert caught.value.code == "state-unusable"


def test_two_at_once(tmp_path: Path) -> None:
    one, two = State.open(tmp_path / "s"), State.open(tmp_path / "s")
    with one.lock(), one.lock():
        with pytest.raises(StateBusy) as caught, two.lock():
            pass
        assert caught.value.details["pid"] == os.getpid()
    with two.lock():
        pass


@pytest.mark.parametrize(
    ("name", "directory"),
    [("localhost", "localhost"), ("*.Example.com", "_.example.com"), ("::1", "__1"), ("a/../b", "a_.._b")],
)
def test_the_directory_of_a_site(name: str, directory: str) -> None:
    assert site_directory(name) == directory


def test_root_makes_nothing_where_others_could_swap_it(tmp_path: Path, monkeypatch) -> None:
    """Run as root itself or not: what counts is that root asks, and who may write above."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(StateInsecure) as caught:
        State.open(tmp_path / "open" / "state")
    assert caught.value.code == "state-insecure"
    assert list((tmp_path / "open").iterdir()) == []
