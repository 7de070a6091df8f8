"""The policy file as a file: what is read, and what is refused before a byte of it is believed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sealgate.errors import PolicyError
from sealgate.policy.document import _foreign_hand, parse, read

USER = 1000


def refused(path: Path, *, euid: int = USER) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        read(path, euid=euid)
    return caught.value


def test_line_ends_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b"version = 1\r\n[site]\r\n")
    assert read(path, euid=USER) == "version = 1\n[site]\n"


def test_missing(tmp_path: Path) -> None:
    error = refused(tmp_path / "p.toml")
    assert (error.code, error.exit) == ("policy-missing", 2)
    assert "sealgate init" in str(error)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"\xef\xbb\xbfversion = 1", "byte order mark"),
        (b"a = 1\nb = '\xff'", "is not UTF-8 (line 2)"),
        ("a = 1".encode("utf-16"), "is not UTF-8"),
        (b"#" * (4 * 1024 * 1024 + 1), "larger than 4 MiB"),
    ],
)
def test_unreadable_content(tmp_path: Path, content: bytes, fact: str) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    error = refused(path)
    assert error.code == "policy-unreadable"
    assert fact in error.fact


def test_exactly_four_mebibytes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(b"#" * 4 * 1024 * 1024)
    assert len(read(path, euid=USER)) == 4 * 1024 * 1024


def test_a_directory(tmp_path: Path) -> None:
    assert refused(tmp_path).fact.endswith("is not a regular file")


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.toml")
    assert refused(tmp_path / "p.toml").fact.endswith("is not a regular file")


def test_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a short name: sun_path has 108 bytes
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("p.toml")
        assert "a socket or pipe" in refused(tmp_path / "p.toml").fact


def test_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "p.toml").symlink_to(tmp_path / "p.toml")
    assert "a loop of links" in refused(tmp_path / "p.toml").fact


@pytest.mark.parametrize("name", ["p\x00.toml", "p\x1b[31m\n.toml", "p\u202e.toml"])
def test_a_hostile_name_is_shown_escaped(tmp_path: Path, name: str) -> None:
    assert str(refused(tmp_path / name)).isprintable()


@pytest.mark.parametrize("euid", [0, USER])
def test_a_file_that_everyone_may_write(tmp_path: Path, euid: int) -> None:
    path = tmp_path / "p.toml"
    path.touch()
    path.chmod(0o666)
    error = refused(path, euid=euid)
    assert error.code == "policy-insecure"
    assert "chmod go-w" in error.remedy


def test_a_directory_above_that_everyone_may_write(tmp_path: Path) -> None:
    inner = tmp_path / "open" / "inner"
    inner.mkdir(parents=True)
    (inner / "p.toml").touch(0o600)
    (tmp_path / "open").chmod(0o777)
    assert refused(inner / "p.toml").details["path"] == str(tmp_path / "open")
    (tmp_path / "open").chmod(0o755)
    assert read(inner / "p.toml", euid=USER) == ""


def test_the_way_of_a_link_is_checked_too(tmp_path: Path) -> None:
    """Whoever may write where the link is decides which policy is read."""
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "p.toml").touch(0o600)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "p.toml").symlink_to(tmp_path / "good" / "p.toml")
    assert refused(tmp_path / "open" / "p.toml").code == "policy-insecure"


def test_root_refuses_a_policy_of_another_user(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.touch(0o600)
    if os.geteuid() == 0:
        os.chown(path, USER, USER)
    assert "not to root" in refused(path, euid=0).fact


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "euid", "expected"),
    [
        (0o644, 0, 0, 0, ""),
        (0o664, 0, 0, 0, ""),
        (0o664, 0, 50, 0, "group 50 may write to it"),
        (0o646, 0, 0, 0, "everyone may write to it"),
        (0o600, USER, 0, 0, "it belongs to user 1000, not to root"),
        (0o664, USER, USER, USER, ""),
        (0o664, 0, 0, USER, ""),
        (0o602, USER, USER, USER, "everyone may write to it"),
    ],
)
def test_who_may_write(mode: int, uid: int, gid: int, euid: int, expected: str) -> None:
    status = os.stat_result((0o100000 | mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))
    assert _foreign_hand(status, euid=euid) == expected


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[site]\nnames = \n", "line 2, column 9", "a value is missing"),
        ("workers 3", "line 1, column 9", 'without "="'),
        ("a = 'x", "line 1", "closing quote"),
        ('a = "x', "line 1", "closing quote"),
        ("[a\nb = 1", "line 1, column 3", "closing bracket"),
        ("[[a]\nb = 1", "line 1, column 4", "closing brackets"),
        ("a = [1,\nb = 2", "line 2, column 1", "missing or is not TOML"),
        ("a = [1", "line 1", "never closed"),
        ("a = {b = 1", "line 1", "never closed"),
        ("a = 1 2", "line 1, column 7", "left over"),
        ("a = 1\nb = 2\na = 3", "line 3", "a key that is written twice: a"),
        ("a = {b = 1, b = 2}", "line 1", "a key that is written twice"),
        ("[a]\n[b]\n[a]\n", "line 3", "a table that is written twice"),
        ('a = "\\q"', "line 1", '"\\" in a quoted text'),
        ("a = '\x1b[31m'", "line 1", "control character"),
        ("a = 2026-02-30", "line 1", "a date that does not exist"),
        ("a = True", "line 1, column 5", "missing or is not TOML"),
        ("# \x00", "line 1", "control character"),
        ("= 1", "line 1, column 1", "does not begin with a key"),
    ],
)
def test_syntax(text: str, where: str, what: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse(text, name="p.toml")
    error = caught.value
    assert error.code == "policy-syntax"
    assert f"({where}" in error.fact
    assert what in error.fact
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a." * 100_000 + "b = 1", "more than 200 parts"),
        ("a = " + "9" * 10_000, "out of range"),
    ],
)
def test_what_would_exhaust_the_parser(text: str, what: str) -> None:
    with pytest.raises(PolicyError, match=what):
        parse(text, name="p.toml")
