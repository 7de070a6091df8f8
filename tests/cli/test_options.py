"""Where the policy and the state are, by options, environment and place."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sealgate.cli._options import ROOT_STATE, Context, common_options, load_context
from sealgate.errors import PolicyError


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
