"""What a kind names of the user's configuration is told by its place and name, never by what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sealgate.engines.contract import Program
from sealgate.engines.installed.contract import Place, included, nothing_inherited
from sealgate.engines.installed.drift import inherited_drift
from sealgate.engines.installed.inherits import inherits, refuse
from sealgate.errors import EngineError
from tests.engines.installed.test_included_files import CASES, facts


def place(folder: Path, http: str, kind: str = "nginx") -> Place:
    main = folder / "main.conf"
    alone = replace(included(kind), sources=None)  # no server runs here that could be asked
    here = Place(alone, Program(Path("/x"), "1.22.1", pinned=False), main, folder / "state")
    main.write_text(f'http {{\n    include "{here.own}";\n{http}\n}}\n')
    return here


def ours() -> bytes:
    return included("nginx").render(facts(CASES["http"], "nginx"), ())


def test_what_follows_a_directive_may_be_a_secret_and_a_name_may_be_hostile(tmp_path: Path) -> None:
    (tmp_path / "od\x1b[31md.conf").write_text("auth_basic s3cret;\n")
    found = inherits(place(tmp_path, f'include "{tmp_path}/od*.conf";\nproxy_set_body s3cret;'), ours())
    with pytest.raises(EngineError, match="server-config-inherits") as refused:
        refuse(found)
    told = str(refused.value) + "".join(map(str, inherited_drift(found))) + repr(found)
    assert "s3cret" not in told
    assert "\x1b" not in told
    assert "main.conf:4: proxy_set_body" in refused.value.fact
    assert "od\\u001b[31md.conf:1: auth_basic" in refused.value.fact


def test_our_own_file_counts_as_it_shall_be_not_as_it_is(tmp_path: Path) -> None:
    """It may not be there yet, or be somebody's edit."""
    here = place(tmp_path, "charset utf-8;")
    assert inherits(here, ours()) == ()
    here.folder.mkdir()
    here.own.write_text("deny all;\n")
    assert inherits(here, ours()) == ()
    refuse(())
    assert [one.directive for one in inherits(here, b"server { }\n")] == ["charset"]


def test_what_cannot_be_read_is_refused_and_has_another_remedy(tmp_path: Path) -> None:
    lines = "include gone.conf;\nserver { include gone.conf; }\ninclude half.conf;"
    (tmp_path / "half.conf").write_text('root "/x;\n')
    found = inherits(place(tmp_path, lines), ours())
    assert [one.directive for one in found] == ["", ""]
    with pytest.raises(EngineError) as refused:
        refuse(found)
    assert "gone.conf cannot be read" in refused.value.fact
    assert "half.conf" in refused.value.fact
    assert "server blocks" not in refused.value.remedy
    assert "readable" in refused.value.remedy


def test_a_server_whose_settings_are_not_shared_is_not_read(tmp_path: Path) -> None:
    here = place(tmp_path, "deny all;")
    assert included("gunicorn").inherited is nothing_inherited
    alone = replace(here, included=replace(here.included, inherited=nothing_inherited))
    assert inherits(alone, ours()) == ()
    assert inherits(here, ours()) != ()


def test_of_thousands_the_first_are_named_and_the_number_of_the_others(tmp_path: Path) -> None:
    found = inherits(place(tmp_path, "deny 10.0.0.1;\n" * 3000), ours())
    assert len(found) == 3000
    with pytest.raises(EngineError) as refused:
        refuse(found)
    assert len(refused.value.fact) < 5000
    assert refused.value.fact.endswith("; and 2980 more, which plan lists")
