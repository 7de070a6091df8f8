"""An app that does not attack the walls, but what runs outside of them: programs, the next worker."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import sealgate
from tests.live.served import APPS, Served, serve

WORKER = "sealgate.runtime.worker"
# What an interpreter runs by itself, before anything of ours.
LURKING = """
import os, sys
if {worker!r} in sys.orig_argv:
    with open(os.path.join({loot!r}, str(os.getpid())), "w") as file:
        for folder, _, names in os.walk({state!r}):
            for name in names:
                try:
                    open(os.path.join(folder, name)).close()
                    print("read", name, file=file)
                except OSError:
                    pass
        print("ran", file=file)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("escape")
    (folder / "lurking").mkdir()
    (folder / "loot").mkdir()
    code = LURKING.format(worker=WORKER, loot=str(folder / "loot"), state=str(folder / "state"))
    (folder / "lurking/sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(folder / "lurking"), str(APPS)])
    with serve(folder, app="attacker:app", env={"PYTHONPATH": path}) as served:
        yield served


def ask(served: Served, attack: str, **arguments: Any) -> Any:
    with httpx.Client(verify=False, timeout=30) as client:
        return client.post(f"{served.url}/{attack}", json=arguments).json()


def test_the_walls_stand_before_the_interpreter_starts(site: Served) -> None:
    found = [file.read_text() for file in (site.folder / "loot").iterdir()]
    assert found
    assert all(text.endswith("ran\n") for text in found)
    assert not [text for text in found if ".pem" in text or "store.db" in text or "token" in text]


def test_nothing_is_left_for_the_next_start(site: Served) -> None:
    """What the keeper loads is not the app's to change, whoever owns it."""
    packages = Path(sysconfig.get_path("purelib"))
    places = [packages / "evil.pth", packages / "click/evil.py", Path(sealgate.__file__).parent / "evil.py"]
    places.append(Path(os.path.realpath(os.__file__)).parent / "evil.py")
    for place in places:
        assert ask(site, "create", path=str(place)) == "EACCES", place
        assert not place.exists()
    programs = [str(site.policy), os.path.realpath(sys.executable), str(packages / "envoy/_bin/envoy")]
    assert ask(site, "open", paths=programs) == {"readable": programs, "writable": []}
    assert ask(site, "rename-state", path=str(packages)) in {"EACCES", "EXDEV"}


def test_what_is_beside_them_can_be_written(site: Served) -> None:
    place = site.folder / "loot" / "of-the-app"
    assert ask(site, "create", path=str(place)) == "made"
    temp = ask(site, "environ")["TMPDIR"]
    assert ask(site, "create", path=f"{temp}/file") == "made"
    assert json.loads((site.state / "live/guard/policy.json").read_text())


def test_a_state_directory_opened_by_the_app_is_closed_again(site: Served) -> None:
    """Landlock does not cover chmod(2)."""
    assert ask(site, "chmod", path=str(site.state), mode=0o755) == "changed"
    site.wait_for(lambda: site.state.stat().st_mode & 0o777 == 0o700)
    site.wait_for(lambda: f"somebody opened {site.state} to other users (mode 755)" in site.err)
