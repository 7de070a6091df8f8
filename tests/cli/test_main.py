"""Exit statuses and sentences, whatever happens in a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sealgate.cli import main as main_module
from sealgate.cli.main import cli, run
from sealgate.errors import AppError, Exit, PolicyError, SealgateError, StateBusy, UsageError
from tests.cli.calls import environment, sealgate


def command_that(
    monkeypatch: pytest.MonkeyPatch, raises: BaseException | None = None, returns: object = None
) -> None:
    """Put a command `probe` into the group for one test."""

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def probe(as_json: bool) -> object:
        if raises is not None:
            raise raises
        return returns

    def get_command(_self: object, _ctx: object, name: str) -> click.Command | None:
        return probe if name == "probe" else None

    monkeypatch.setattr(type(cli), "get_command", get_command)


def test_version(tmp_path: Path) -> None:
    result = sealgate("--version", cwd=tmp_path)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("sealgate ")


def test_nothing_asked_is_answered_with_help(tmp_path: Path) -> None:
    result = sealgate(cwd=tmp_path)
    assert (result.status, result.out) == (2, "")
    for name in ("init", "check", "schema"):
        assert f"  {name} " in result.err


def test_every_command_of_the_package_is_found_and_has_a_line_of_help() -> None:
    context = click.Context(cli)
    names = cli.list_commands(context)
    assert names[:2] == ["init", "check"]
    for name in names:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(), name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chekc"], "usage-wrong: no such command 'chekc'"),
        (["check", "--cofnig", "x"], "see `sealgate check --help`"),
        (["check", "x\x1b[31m"], "usage-wrong: got unexpected extra argument"),
    ],
)
def test_a_wrong_call(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = sealgate(*arguments, cwd=tmp_path)
    assert result.status == 2
    assert said in result.err
    assert result.err.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PolicyError("policy-invalid", "f", "r"), Exit.WRONG),
        (UsageError("usage-wrong", "f", "r"), Exit.WRONG),
        (AppError("app-not-found", "f", "r"), Exit.WRONG),
        (StateBusy("state-busy", "f", "r"), Exit.FAILED),
        (SealgateError("x-y", "f", "r"), Exit.FAILED),
    ],
)
def test_an_error_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: SealgateError, status: int
) -> None:
    command_that(monkeypatch, raises=error)
    assert run(["probe"]) == status
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"sealgate: {error.code}: f; r.\n")


def test_an_error_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_that(monkeypatch, raises=PolicyError("policy-invalid", "f\x1b", "r"))
    assert run(["probe", "--json"]) == Exit.WRONG
    said = capsys.readouterr().out
    assert '"code": "policy-invalid"' in said
    assert '"fault": "configuration"' in said
    assert "\x1b" not in said


@pytest.mark.parametrize(("returns", "status"), [(None, 0), (Exit.NO, 1), (3, 3), ("text", 0)])
def test_what_a_command_returns_is_the_status(
    monkeypatch: pytest.MonkeyPatch, returns: object, status: int
) -> None:
    command_that(monkeypatch, returns=returns)
    assert run(["probe"]) == status


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), RecursionError(), OSError(5, "secret")])
def test_our_own_mistake_is_a_sentence_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    monkeypatch.delenv("SEALGATE_DEBUG", raising=False)
    command_that(monkeypatch, raises=error)
    assert run(["probe"]) == Exit.FAILED
    said = capsys.readouterr().err
    assert said.startswith("sealgate: internal-error: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert "secret" not in said


def test_a_traceback_for_those_who_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEALGATE_DEBUG", "1")
    command_that(monkeypatch, raises=ZeroDivisionError())
    assert run(["probe"]) == Exit.FAILED
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    command_that(monkeypatch, raises=error)
    assert run(["probe"]) == 130


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "sealgate", "schema"],
            cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60,
            env=environment(), check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_that_cannot_show_a_letter(tmp_path: Path) -> None:
    result = sealgate("check", "-c", "é.toml", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert result.status == 2
    assert "\\xe9.toml" in result.err


def test_the_version_needs_no_pydantic_and_no_rich() -> None:
    code = (
        "import sys; from sealgate.cli.main import run; run(['--version']);"
        "print([m for m in ('pydantic', 'rich', 'cryptography', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[1] == "[]"


def test_the_version_is_quick(tmp_path: Path) -> None:
    """Little more than click itself: in CPU time, beside each other, the best of five."""
    plain = {name: value for name, value in environment().items() if not name.startswith("COV")}

    def spent(*arguments: str) -> float:
        before = os.times()
        command = [sys.executable, *arguments]
        subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL, timeout=60, env=plain, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    pairs = [(spent("-m", "sealgate", "--version"), spent("-c", "import click")) for _ in range(5)]
    ours, theirs = zip(*pairs, strict=True)
    assert min(ours) < 2 * min(theirs)


def test_modules_that_are_no_commands_are_none() -> None:
    found = main_module._modules()
    assert "main" not in found
    assert not [name for name in found if name.startswith("_")]
