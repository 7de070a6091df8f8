"""Second programs of an engine: they are what they are taken for, and asked what `BRIEF` names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealgate.engines.registry import engine
from tests.contract.sites import BRIEF, PROGRAMS, engine_of, environment

HERE = Path(__file__).parent


@pytest.mark.parametrize("which", PROGRAMS)
def test_it_is_the_newest_version_that_the_engine_names(which: str) -> None:
    kind = engine(engine_of(which))
    found = kind.program(environment(which), False)
    assert found.version.rpartition(".")[0] == kind.versions[-1]


def test_every_question_that_is_always_asked_exists() -> None:
    there = {
        name for path in HERE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert there >= BRIEF
