"""An installed server's change that is being undone, killed at each act; and what it alone remembers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPSConnection

import pytest

from sealgate.cli._installed import apply_to
from sealgate.engines.installed import change
from sealgate.engines.installed.look import Difference
from sealgate.errors import NotObserved
from tests.live.backend import backend
from tests.live.installed import Installed, call, installed, server_of, untouched, would_start
from tests.pki.killing import KILLED, Step, die_at, steps_of

DIFFERS = (Difference("status", "everywhere", "1", "2"),)
WRITING = {"create", "write", "fsync", "sync-directory"}
"""Within the writing of one file; tests/_system kills in all of these."""
Prepare = Callable[[Installed], None]


@pytest.fixture(scope="module", params=["nginx", "apache"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """One for all tests of the module."""
    folder = tmp_path_factory.mktemp("installed")
    with backend() as behind, installed(request.param, folder, behind.url) as one:
        yield one


@pytest.fixture
def site(server: Installed) -> Iterator[Installed]:
    """Nothing applied before, and nothing left."""
    with untouched(server):
        yield server


def nothing(_one: Installed) -> None:
    """A first apply."""


def applied(one: Installed) -> None:
    assert call(one, "apply", "--yes") == 0
    one.rewrite(limits={"body": "2MiB"})


def undone(one: Installed) -> Callable[[Step], object]:
    """An apply whose look differs at once; its locks end with the process that does it."""

    def work(step: Step) -> object:
        change.until_same = lambda *_: DIFFERS  # type: ignore[attr-defined]  # in a process that is about to end
        try:
            return apply_to(server_of(one).__enter__(), step=step)
        except NotObserved:
            return None

    return work


def drift(one: Installed, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """What `observe` says, in this process."""
    capsys.readouterr()
    status = call(one, "observe", "--json")
    found = {item["kind"] for item in json.loads(capsys.readouterr().out)["drift"]}
    assert status == bool(found)
    return found


def restart(one: Installed) -> None:
    """As a machine that comes back; what is on disk is what it starts with."""
    one.stop()
    one.start()


def tried(one: Installed, prepare: Prepare, number: int, name: str, finish: str, *, again: bool) -> None:
    """Killed at one step, served all the same, and finished by one call."""
    one.rewrite(limits={"body": "1MiB"})
    assert call(one, "rollback", "--all", "--yes") in {0, 3}
    before = one.main.read_bytes()
    prepare(one)
    standing = one.own.read_bytes() if one.own.exists() else None
    where = f"killed at {name}, then {finish}"
    assert die_at(number, undone(one)) == KILLED, where
    assert one.answers(), where
    assert standing is None or one.get()[0] == 200, where
    assert would_start(one), where
    if again:
        restart(one)
        assert standing is None or one.get()[0] == 200, where
    assert call(one, "observe") == 1, f"{where}: nobody is told that it was broken off"
    assert call(one, finish, "--yes") == 0, where
    if finish == "apply":
        assert call(one, "observe") == 0, where
        assert one.get()[0] == 200, where
    else:
        assert (one.own.read_bytes() if one.own.exists() else None) == standing, where
        assert (one.main.read_bytes() == before) is (standing is None), where
        assert (one.get()[0] == 200) if standing else one.silent(), where
    assert would_start(one), where
    assert call(one, "rollback", "--all", "--yes") in {0, 3}, where
    assert one.main.read_bytes() == before, where
    assert not [path for path in one.main.parent.iterdir() if "sealgate" in path.name], where


def undoing(one: Installed, prepare: Prepare) -> list[tuple[int, str]]:
    """The steps of an undoing, and their numbers."""
    prepare(one)
    steps = steps_of(undone(one))
    first = steps.index("restore")
    assert steps[-1] == "restore commit"
    return [(number, name) for number, name in enumerate(steps) if number >= first and name not in WRITING]


def test_killed_while_it_is_undone(site: Installed) -> None:
    """Where its files are back and the server was not told yet."""
    prepare, finish = (applied, "rollback") if site.kind == "nginx" else (nothing, "apply")
    ((number, name),) = [step for step in undoing(site, prepare) if step[1] == "restore reload"]
    tried(site, prepare, number, name, finish, again=True)


@pytest.mark.long
@pytest.mark.parametrize("finish", ["apply", "rollback"])
@pytest.mark.parametrize("prepare", [nothing, applied])
def test_killed_at_every_step_of_its_undoing(site: Installed, prepare: Prepare, finish: str) -> None:
    for number, name in undoing(site, prepare):
        tried(site, prepare, number, name, finish, again=bool(number % 2))


def post(one: Installed) -> int:
    """A hundred bytes."""
    with closing(HTTPSConnection(one.host, one.https, timeout=20, context=one.context())) as connection:
        connection.request("POST", "/", body=b"x" * 100)
        return connection.getresponse().status


def test_what_the_server_alone_remembers(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    """Our file edited, a reload, its bytes put back: on disk nothing is left of it, the server obeys it."""
    assert call(site, "apply", "--yes") == 0
    assert post(site) == 200
    content = site.own.read_bytes()
    site.own.write_bytes(content.replace(b" 1048576", b" 10"))
    assert site.process is not None
    os.kill(site.process.pid, {"nginx": signal.SIGHUP, "apache": signal.SIGUSR1}[site.kind])
    site.wait_for(lambda: post(site) == 413, 30)
    site.own.write_bytes(content)
    assert drift(site, capsys) == {"file-touched"}
    assert call(site, "apply", "--yes") == 0
    assert post(site) == 200
    assert not drift(site, capsys)


@pytest.mark.long
def test_the_journal_of_an_earlier_sealgate(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    """It does not say when our file was read: nobody is accused, and the next apply makes sure."""
    assert call(site, "apply", "--yes") == 0
    journal = site.own.with_name("journal.json")
    data = json.loads(journal.read_text())
    stamp = data.pop("read")
    journal.write_text(json.dumps(data))
    assert not drift(site, capsys)
    assert call(site, "apply", "--yes") == 0
    assert json.loads(journal.read_text())["read"] == stamp
    told = journal.stat().st_ino
    assert call(site, "apply", "--yes") == 0
    assert journal.stat().st_ino == told, "nothing was to be done any more"


@pytest.mark.long
def test_what_was_undone_was_not_touched(
    site: Installed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes that an undoing puts back are read after that."""
    applied(site)
    with monkeypatch.context() as patched, server_of(site) as opened:
        patched.setattr(change, "until_same", lambda *_: DIFFERS)
        with pytest.raises(NotObserved):
            apply_to(opened)
    site.rewrite(limits={"body": "1MiB"})
    assert not drift(site, capsys)
