"""Started as root where the two users are there: keeper, engine and app are three."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sealgate.engines.published import FILE, PATH
from sealgate.runtime.separation import APP_USER, ENGINE_USER
from tests.live.served import APPS, Served, free_port, loopback, temporary, write_policy

pytestmark = pytest.mark.long  # it makes users, and copies an installation to where they may read it


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def installation() -> Iterator[Path]:
    """All packages where everybody may read them, for the distribution's Python."""
    place = Path("/var/tmp") / temporary().name
    packages = Path(sysconfig.get_path("purelib"))
    ignored = shutil.ignore_patterns("*.pth", "__pycache__", "sealgate*")
    place.mkdir(mode=0o755)
    shutil.copytree(packages, place / "lib", copy_function=_linked, ignore=ignored)
    shutil.copytree(Path(__file__).parents[2] / "src" / "sealgate", place / "lib" / "sealgate")
    shutil.copytree(APPS, place / "apps")
    for path in (place, *place.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
        elif not path.stat().st_mode & 0o044:
            path.chmod(path.stat().st_mode | 0o444)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def users() -> Iterator[dict[str, int]]:
    """The two users; those that were not there before are taken away again.

    The machine has them once: another run of these tests waits until this one is done with them.
    """
    made = []
    with Path("/var/tmp/sealgate-test-users.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in (APP_USER, ENGINE_USER):
            try:
                pwd.getpwnam(name)
            except KeyError:
                subprocess.run(["useradd", "--system", "--no-create-home", name], check=True)
                made.append(name)
        yield {name: pwd.getpwnam(name).pw_uid for name in (APP_USER, ENGINE_USER)}
        for name in made:
            subprocess.run(["userdel", name], check=True)


@contextmanager
def running(installation: Path, **more: dict[str, Any]) -> Iterator[Served]:
    folder, host = Path("/var/tmp") / temporary().name, loopback()
    folder.mkdir(mode=0o755)
    https, http = free_port(host), free_port(host)
    tables: dict[str, dict[str, Any]] = {
        "site": {"app": "attacker:app", "names": ["localhost", host]},
        "listen": {"https": [f"{host}:{https}"], "http": [f"{host}:{http}"]},
        "monitor": {"listen": f"{host}:{free_port(host)}"},
    }
    for name, table in more.items():
        tables.setdefault(name, {}).update(table)
    write_policy(folder / "sealgate.toml", tables)
    with (folder / "out.log").open("wb") as out, (folder / "err.log").open("wb") as err:
        process = subprocess.Popen(
            [
                *("/usr/bin/python3", "-P", "-m", "sealgate", "serve"),
                *("-c", str(folder / "sealgate.toml"), "--state", str(folder / "state")),
            ],
            stdout=out,
            stderr=err,
            cwd=folder,
            env={"PATH": os.defpath, "PYTHONPATH": f"{installation}/lib:{installation}/apps"},
        )
    server = Served(process, host, https, http, folder, folder / "state", folder / "sealgate.toml", tables)
    try:
        server.wait_for(lambda: "sealgate: ready" in server.out or process.poll() is not None)
        assert process.poll() is None, server.err
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def served(installation: Path, users: dict[str, int]) -> Iterator[Served]:
    assert len(users) == 2
    with running(installation) as server:
        yield server


@pytest.mark.parametrize("name", ["envoy", "nginx", "apache"])
def test_an_engine_of_another_user_serves_the_list(
    installation: Path, users: dict[str, int], name: str
) -> None:
    with running(
        installation, site={"engine": name}, clients={"mode": "optional"}, access={"default": "none"}
    ) as served:
        assert uid_of(_engine(served)) == users[ENGINE_USER]
        path = served.state / FILE
        answer = httpx.get(f"{served.plain}{PATH}", timeout=20)
        assert (answer.status_code, answer.content) == (200, path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o600, "by what the engine may, not by what everybody may"


def _engine(served: Served) -> int:
    marks = ("_bin/envoy", "nginx", "apache2", "httpd")
    (found,) = {pid for mark in marks for pid in served.children(mark)}
    return found


def uid_of(pid: int) -> int:
    """Real, effective, saved and of the file system: all one."""
    fields = Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[:4]
    assert len(set(fields)) == 1
    return int(fields[0])


def ask(served: Served, attack: str, **arguments: object) -> object:
    with httpx.Client(verify=served.context(), timeout=30) as client:
        answer = client.post(f"{served.url}/{attack}", json=arguments)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_three_users_and_all_is_separated(served: Served, users: dict[str, int]) -> None:
    (worker,) = served.children("sealgate.runtime.worker")
    (engine,) = [pid for pid in served.children("envoy") if pid != worker]
    assert uid_of(worker) == users[APP_USER]
    assert uid_of(engine) == users[ENGINE_USER]
    assert "not separated" not in served.out


def test_the_watcher_is_none_of_the_app_s(served: Served, users: dict[str, int]) -> None:
    page = f"http://{served.tables['monitor']['listen']}/status.json"
    served.wait_for(lambda: httpx.get(page, timeout=20).json()["snapshot"])
    (watcher,) = served.children("sealgate.runtime.watcher")
    assert uid_of(watcher) == users[ENGINE_USER]
    assert "CapPrm:\t0000000000000000" in Path(f"/proc/{watcher}/status").read_text()
    assert ask(served, "signal", pid=watcher, number=0) == "EPERM"


def test_the_uid_alone_keeps_the_keys_from_the_app(served: Served, users: dict[str, int]) -> None:
    """Without Landlock: the same user by other means."""
    keys = [path for path in served.state.rglob("*") if path.name in {"key.pem", "store.db", "control.token"}]
    assert len(keys) >= 4
    for name, uid in users.items():
        for path in keys:
            command = ["setpriv", f"--reuid={uid}", "--clear-groups", "cat", str(path)]
            assert subprocess.run(command, capture_output=True, check=False).returncode != 0, (name, path)


def test_the_app_reaches_nothing(served: Served) -> None:
    files = [str(path) for path in served.state.rglob("*") if path.is_file() and "guard" not in path.parts]
    assert ask(served, "open", paths=files) == {"readable": [], "writable": []}
    for pid in (served.process.pid, *served.children("envoy")):
        assert ask(served, "signal", pid=pid, number=0) == "EPERM"
    for path in (served.state / "run").rglob("*.sock"):
        if "app-" not in path.name:
            answer = ask(served, "talk", path=str(path), text="GET / HTTP/1.1\r\n\r\n")
            assert answer in {"EACCES", "EPERM"}, path


def test_renewals_reloads_and_restarts_work_across_users(served: Served, users: dict[str, int]) -> None:
    assert served.order(order="renew")["renewed"]
    served.reload()
    assert served.err.rstrip().endswith("sealgate: reloaded")
    (engine,) = served.children("envoy")
    os.kill(engine, signal.SIGKILL)
    served.wait_for(lambda: "Envoy serves again" in served.err)
    served.wait_for(lambda: len(served.children("sealgate.runtime.worker")) == 1)
    os.kill(served.children("sealgate.runtime.worker")[0], signal.SIGKILL)
    served.wait_for(lambda: httpx.post(f"{served.url}/environ", verify=served.context()).status_code == 200)
    assert uid_of(served.children("envoy")[0]) == users[ENGINE_USER]
