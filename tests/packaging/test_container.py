"""packaging/Containerfile, read as a container engine would; no engine is needed for it."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Instruction:
    stage: int  # 0 before the first FROM
    word: str
    rest: str


def _instructions() -> list[Instruction]:
    text = (ROOT / "packaging/Containerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    found, stage = [], 0
    for line in joined.splitlines():
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(stage, word, rest.strip()))
    return found


ALL = _instructions()
FINAL = [each for each in ALL if each.stage == ALL[-1].stage]


def _one(word: str) -> str:
    (rest,) = (each.rest for each in FINAL if each.word == word)
    return rest


def _exec_form(rest: str) -> list[str]:
    value = json.loads(rest)
    assert isinstance(value, list)
    assert all(isinstance(part, str) for part in value)
    return value


def test_only_known_instructions() -> None:
    known = {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL"}
    assert {each.word for each in ALL} <= known | {"HEALTHCHECK", "ENTRYPOINT", "CMD"}


def test_bases_are_glibc_with_a_tag_and_a_python_that_is_supported() -> None:
    bases = [each.rest.split()[0] for each in ALL if each.word == "FROM"]
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:\$\{PYTHON\}-slim-\w+", bases[0])
    (argument,) = (each.rest for each in ALL if each.word == "ARG" and each.stage == 0)
    version = argument.removeprefix("PYTHON=")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_runs_as_a_numeric_user_who_is_not_root() -> None:
    user, _, group = _one("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0
    after = FINAL[[each.word for each in FINAL].index("USER") :]
    assert "RUN" not in {each.word for each in after}


def test_one_volume_which_is_the_state() -> None:
    assert _exec_form(_one("VOLUME")) == ["/var/lib/sealgate"]
    assert "SEALGATE_STATE=/var/lib/sealgate" in _one("ENV")


def test_signals_reach_the_keeper() -> None:
    assert _exec_form(_one("ENTRYPOINT"))[0] == "/opt/sealgate/bin/sealgate"
    assert _exec_form(_one("CMD"))[0] == "serve"
    assert _one("STOPSIGNAL") == "SIGTERM"


def test_no_right_is_needed_for_its_ports() -> None:
    ports = [int(port.partition("/")[0]) for port in _one("EXPOSE").split()]
    assert ports
    assert all(port > 1024 for port in ports)


@pytest.mark.parametrize(
    "word", ["apt-get", "gcc", "pip install", "pip wheel", "pip --python", "curl", "hatchling"]
)
def test_nothing_is_built_or_fetched_in_the_final_stage(word: str) -> None:
    assert not any(word in each.rest for each in FINAL if each.word == "RUN")


def test_every_download_is_checked_against_its_hash() -> None:
    installs = [
        part
        for each in ALL
        if each.word == "RUN"
        for part in each.rest.split("&&")
        if "pip" in part and (" install " in part or " wheel " in part)
    ]
    assert len(installs) == 4
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    allowed = [
        line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")
    ]
    for each in ALL:
        if each.word != "COPY" or each.rest.startswith("--from="):
            continue
        for source in each.rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, pattern) for pattern in allowed), source


def test_the_health_check_is_a_program_that_was_copied() -> None:
    command = _exec_form(_one("HEALTHCHECK").partition("CMD ")[2])
    assert command[0] == "/opt/sealgate/bin/python"
    assert any(each.rest.endswith(command[1]) for each in FINAL if each.word == "COPY")


def test_the_guide_builds_in_the_format_that_has_health_checks() -> None:
    guide = (ROOT / "docs/guides/container.md").read_text()
    assert guide.index("export BUILDAH_FORMAT=docker") < guide.index("podman build")
