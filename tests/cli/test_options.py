"""Where the policy and the state are, by options, environment and place."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sealgate.cli import _options
from sealgate.cli._options import ROOT_STATE, Context, common_options, load_context
from sealgate.cli.main import run
from sealgate.errors import PolicyError, StateError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEALGATE_STATE", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tmp_path


def test_defaults(here: Path) -> None:
    (here / "sealgate.toml").write_text('site.app = "a:b"')
    (here / "sealgate.toml").chmod(0o600)
    context = load_context(None, None)
    assert context.policy.site.app == "a:b"
    assert context.state_path == here / ".sealgate"
    assert context.base == context.loaded.base == here
    assert context.json is False


def test_the_state_is_beside_the_policy(here: Path) -> None:
    assert load_context(Path("etc/p.toml"), None).state_path == here / "etc" / ".sealgate"


def test_the_environment_names_the_state(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALGATE_STATE", "elsewhere")
    assert load_context(None, None).state_path == here / "elsewhere"
    assert load_context(None, Path("option")).state_path == here / "option"


def test_the_environment_names_the_policy_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every command, as -c does; -c wins."""
    (here / "etc").mkdir()
    for name, app in (("etc/p.toml", "a:environment"), ("sealgate.toml", "a:here")):
        (here / name).write_text(f'site.app = "{app}"')
        (here / name).chmod(0o600)
    found: list[str] = []

    @click.command()
    @common_options
    def command(config: Path | None, state: Path | None, as_json: bool) -> None:
        context = load_context(config, state, as_json, missing_ok=True)
        found.append(f"{context.policy.site.app} {context.state_path}")

    monkeypatch.setenv("SEALGATE_CONFIG", "etc/p.toml")
    for arguments in ([], ["-c", "sealgate.toml"]):
        assert CliRunner().invoke(command, arguments).exit_code == 0
    assert found == [f"a:environment {here}/etc/.sealgate", f"a:here {here}/.sealgate"]
    monkeypatch.setenv("SEALGATE_CONFIG", "gone.toml")
    assert isinstance(CliRunner().invoke(command, []).exception, PolicyError), (
        "one that is named must be there"
    )
    monkeypatch.setenv("SEALGATE_CONFIG", "")
    assert CliRunner().invoke(command, []).exit_code == 0
    assert found[-1].startswith("a:here")


def test_root_has_a_place_of_its_own(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load_context(None, None).state_path == ROOT_STATE
    assert load_context(None, here / "s").state_path == here / "s"


def test_nothing_is_read_before_it_is_asked_for(here: Path) -> None:
    context = load_context(Path("absent.toml"), None)
    assert context.state_path == here / ".sealgate"
    with pytest.raises(PolicyError, match="policy-missing"):
        _ = context.policy


def test_an_absent_default_may_be_fine_and_a_named_file_never(here: Path) -> None:
    assert load_context(None, None, missing_ok=True).loaded.path is None
    with pytest.raises(PolicyError, match="policy-missing"):
        _ = load_context(None, None).loaded
    with pytest.raises(PolicyError, match="policy-missing"):
        _ = load_context(here / "sealgate.toml", None, missing_ok=True).loaded


def test_the_options_of_a_command(here: Path) -> None:
    seen: list[Context] = []

    @click.command()
    @common_options
    def command(config: Path | None, state: Path | None, as_json: bool) -> None:
        seen.append(load_context(config, state, as_json))

    result = CliRunner().invoke(command, ["-c", "x.toml", "--state", "s", "--json"])
    assert result.exit_code == 0, result.output
    assert (seen[0].base, seen[0].state_path, seen[0].json) == (here, here / "s", True)


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory where nobody names one: of root a place of its own, else beside the policy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEALGATE_STATE", raising=False)
    monkeypatch.setattr(_options, "ROOT_STATE", tmp_path / "root")
    (tmp_path / "sealgate.toml").write_text('site.app = "a:b"\nclients.mode = "required"\n')
    (tmp_path / "sealgate.toml").chmod(0o600)
    return load_context(None, None).state_path


@pytest.mark.parametrize("command", [("cert", "renew"), ("client", "add", "alice", "--out", "alice")])
def test_who_makes_the_default_state_says_where(
    default: Path, command: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """Once: keys lie there now."""
    assert run([*command, "--json"]) == 0
    out, err = capfd.readouterr()
    assert [line for line in err.splitlines() if str(default) in line] == [
        f"sealgate: state and keys are in {default}, made now; --state or SEALGATE_STATE names another"
    ]
    assert json.loads(out)
    assert run(["cert", "renew"]) == 0
    assert "made now" not in capfd.readouterr().err


def test_nothing_is_said_of_a_state_that_was_named_or_not_made(
    default: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["cert", "renew", "--state", "named"]) == 0
    assert run(["check"]) == 0
    monkeypatch.setenv("SEALGATE_STATE", "by-variable")
    assert run(["cert", "renew"]) == 0
    monkeypatch.delenv("SEALGATE_STATE")
    with pytest.raises(StateError, match="state-missing"):
        load_context(None, None).open_state(create=False)
    assert not default.exists()
    default.mkdir(mode=0o700)
    load_context(None, None).open_state()
    assert "made now" not in capfd.readouterr().err


def test_every_command_that_makes_a_state_does_it_in_one_place() -> None:
    folder = Path(_options.__file__).parent
    for path in folder.glob("*.py"):
        calls = re.findall(r"State\.open\(.*\)", path.read_text())
        assert path.name == "_options.py" or all("create=False" in call for call in calls), path.name
