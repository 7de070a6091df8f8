"""A state directory from a backup under a real server: who was revoked since stays out, on every way back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from sealgate.pki.crl import number_of
from tests.cli.calls import Result, sealgate
from tests.live.served import Served, serve
from tests.live.test_clients import COMBINATIONS, ask

CLIENTS = {"mode": "required"}
TICK = 60.0  # the keeper looks every 15 s; other tests load the machine
Start = Callable[..., AbstractContextManager[Served]]


def client(served: Served, cache: Path, *words: str, group: str = "client") -> Result:
    place = ("-c", str(served.policy), "--state", str(served.state))
    return sealgate(group, words[0], *place, *words[1:], cwd=served.folder, SEALGATE_CACHE=str(cache))


def added(served: Served, cache: Path, name: str) -> Path:
    done = client(served, cache, "add", name, "--out", name)
    assert done.status == 0, done.err
    both = served.folder / f"{name}.both"
    folder = served.folder / name
    both.write_bytes((folder / f"{name}.key").read_bytes() + (folder / f"{name}.pem").read_bytes())
    return both


def answers(served: Served, path: Path) -> set[int]:
    return {ask(served, path, version=version, alpn=alpn) for version, alpn in COMBINATIONS[1:3]}


def the_list(state: Path) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((state / "live/clients/crl.pem").read_bytes())


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @contextmanager
    def started(cache: Path) -> Iterator[Served]:
        env = {"SEALGATE_CACHE": str(cache)}
        with serve(tmp_path, app="ops:app", env=env, clients=CLIENTS) as served:
            yield served

    return started


def serial(served: Served, name: str) -> int:
    return x509.load_pem_x509_certificate((served.folder / name / f"{name}.pem").read_bytes()).serial_number


def put_back(backup: Path, state: Path) -> None:
    shutil.rmtree(state)
    shutil.copytree(backup, state, symlinks=True)


def test_the_whole_directory_comes_back(start: Start, tmp_path: Path) -> None:
    """On the machine that knows better; and on one that does not, with the list from elsewhere."""
    cache, other, backup = tmp_path / "cache", tmp_path / "other", tmp_path / "backup"
    with start(cache) as served:
        ann, ben = added(served, cache, "ann"), added(served, cache, "ben")
        assert answers(served, ann) == {200}
        assert "state-" not in served.err
    shutil.copytree(served.state, backup, symlinks=True)
    with start(cache) as served:
        assert "state-" not in served.err, "nothing was brought back yet"
        eve = added(served, cache, "eve")
        for name in ("ann", "eve"):
            assert client(served, cache, "revoke", name).status == 0
        assert answers(served, ann) == answers(served, eve) == {0}
    newest = tmp_path / "published.crl"
    shutil.copy(served.state / "live/clients/crl.pem", newest)
    number = number_of(the_list(served.state))

    put_back(backup, served.state)
    with start(cache) as served:
        assert answers(served, ann) == answers(served, eve) == {0}
        assert answers(served, ben) == {200}
        assert "sealgate: state-restored: the store is older than list" in served.err
        assert "state-unwitnessed" not in served.err
        assert number_of(the_list(served.state)) > number

    put_back(backup, served.state)
    with start(other) as served:
        assert "sealgate: state-unwitnessed: " in served.err
        assert answers(served, ann) == {200}, "nothing here can tell"
        done = client(served, other, "take-over", str(newest), "--json", group="crl")
        assert done.status == 0, done.err
        told = json.loads(done.out)
        assert told["number"] == number
        assert {serial(served, "ann"), serial(served, "eve")} <= {int(text, 16) for text in told["taken"]}
        assert told["doors"]["asked"]
        assert answers(served, ann) == answers(served, eve) == {0}
        assert answers(served, ben) == {200}
        assert number_of(the_list(served.state)) > number
        again = client(served, other, "take-over", str(newest), group="crl")
        assert again.status == 0
        assert "of whom 0 were not revoked here" in again.err


@pytest.mark.parametrize("kept", (True, False))
def test_files_come_back_under_a_server_that_runs(start: Start, tmp_path: Path, kept: bool) -> None:
    """Also where nothing can be kept outside: then it is in the keeper's memory."""
    cache = tmp_path / "cache"
    if not kept:
        cache.write_text("no directory")
    with start(cache) as served:
        assert ("no copy of the list is kept outside" in served.err) is not kept
        ann, ben = added(served, cache, "ann"), added(served, cache, "ben")
        files = [served.state / name for name in ("store.db", "live/clients/crl.pem")]
        for file in files:
            shutil.copy(file, tmp_path / file.name)
        assert client(served, cache, "revoke", "ann").status == 0
        for file in files:  # as a backup program does: another file in its place
            shutil.copy(tmp_path / file.name, f"{file}.back")
            Path(f"{file}.back").rename(file)
        served.wait_for(lambda: "sealgate: state-restored: " in served.err, TICK)
        ends = serial(served, "ann")
        served.wait_for(lambda: any(ends == each.serial_number for each in the_list(served.state)), TICK)
        assert answers(served, ann) == {0}
        assert answers(served, ben) == {200}
