"""References to secrets."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from sealgate.errors import PolicyError
from sealgate.policy.secrets import Secret, SecretRef


def secret_file(tmp_path: Path, content: bytes = b"hunter2\n", mode: int = 0o600) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def read(reference: SecretRef, base: Path, **environ: str) -> bytes:
    return reference.read(base=base, environ=environ, euid=os.geteuid()).reveal()


def code_of(reference: SecretRef, base: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        read(reference, base)
    assert "hunter2" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"hunter2", b"hunter2"),
        (b"hunter2\n", b"hunter2"),
        (b"hunter2\r\n", b"hunter2"),
        (b" hunter2 \n\n", b" hunter2 \n"),
    ],
)
def test_from_a_file(tmp_path: Path, content: bytes, value: bytes) -> None:
    secret_file(tmp_path, content)
    assert read(SecretRef(file="secret"), tmp_path) == value


def test_from_a_variable(tmp_path: Path) -> None:
    assert read(SecretRef(env="HOOK"), tmp_path, HOOK="hunter2") == b"hunter2"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601])
def test_open_to_others(tmp_path: Path, mode: int) -> None:
    secret_file(tmp_path, mode=mode)
    assert code_of(SecretRef(file="secret"), tmp_path) == "secret-insecure"


def test_of_another_user(tmp_path: Path) -> None:
    secret_file(tmp_path)
    if os.geteuid() == 0:
        os.chown(tmp_path / "secret", 1234, 1234)
        assert code_of(SecretRef(file="secret"), tmp_path) == "secret-insecure"
    with pytest.raises(PolicyError, match="belongs to user"):
        SecretRef(file="secret").read(base=tmp_path, environ={}, euid=4321)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    secret_file(tmp_path)
    (tmp_path / "link").symlink_to("secret")
    assert code_of(SecretRef(file="link"), tmp_path) == "secret-unreadable"


def test_a_fifo_and_a_directory_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    assert code_of(SecretRef(file="fifo"), tmp_path) == "secret-unreadable"
    assert code_of(SecretRef(file="folder"), tmp_path) == "secret-unreadable"


def test_too_large(tmp_path: Path) -> None:
    secret_file(tmp_path, b"x" * (64 * 1024 + 1))
    assert code_of(SecretRef(file="secret"), tmp_path) == "secret-unreadable"


def test_missing_and_empty(tmp_path: Path) -> None:
    assert code_of(SecretRef(file="secret"), tmp_path) == "secret-missing"
    assert code_of(SecretRef(env="HOOK"), tmp_path) == "secret-missing"
    secret_file(tmp_path, b"\n")
    assert code_of(SecretRef(file="secret"), tmp_path) == "secret-missing"


@pytest.mark.parametrize(
    "given", [{}, {"file": "a", "env": "B"}, {"env": "A B"}, {"file": "a\x00"}, {"x": "y"}]
)
def test_one_of_two(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SecretRef.model_validate(given)


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(b"hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {vars(Secret)}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
