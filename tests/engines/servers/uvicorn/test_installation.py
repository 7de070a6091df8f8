"""Which uvicorn counts."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from sealgate.engines.servers.uvicorn.installation import TESTED, program
from sealgate.errors import EngineMissing, EngineUntrusted


def test_the_one_that_is_installed_here() -> None:
    found = program({}, False)
    assert found.path == Path(sys.executable)
    assert found.version.startswith(TESTED)
    assert not found.pinned


@pytest.mark.parametrize("absent", ["uvicorn", "httptools", "websockets"])
def test_a_part_that_is_not_installed(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == absent:
            raise metadata.PackageNotFoundError(name)
        return f"{TESTED[0]}.0"

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(EngineMissing, match=absent) as caught:
        program({}, False)
    assert caught.value.code == "engine-missing"
    assert "sealgate[uvicorn]" in caught.value.remedy


def test_another_minor_version_needs_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "0.9.1")
    with pytest.raises(EngineUntrusted, match=r"uvicorn 0\.9\.1") as caught:
        program({}, False)
    assert caught.value.code == "engine-untested"
    assert program({}, True).version == "0.9.1"
