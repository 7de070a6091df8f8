"""The app tries everything to reach a key, the keeper or the engine, and cannot."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sealgate._system.clock import system_clock
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.load import load
from tests.live.served import Served, serve, write_policy


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose app attacks it; with a key of its own files beside the state directory."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "theirs").mkdir(mode=0o700)
    maker = State.open(folder / "maker")
    write_policy(folder / "maker.toml", {"site": {"names": ["localhost"], "app": "x:y"}})
    policy = load(folder / "maker.toml", environ={}, euid=os.geteuid()).policy
    made = ensure_server_certificate(maker, policy, system_clock)
    for name in ("chain", "key"):
        path = folder / "theirs" / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_bytes(getattr(made, f"{name}_path").read_bytes())
    files = {"chain": str(folder / "theirs/chain.pem"), "key": str(folder / "theirs/key.pem")}
    with serve(
        folder,
        app="attacker:app",
        site={"names": ["localhost"], "workers": 2},
        certificate={"source": "files", "files": files},
    ) as served:
        yield served


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same with the private authority, whose keys are there too."""
    with serve(
        tmp_path_factory.mktemp("private"),
        app="attacker:app",
        clients={"mode": "optional"},
        access={"default": "none"},
    ) as served:
        yield served


def ask(served: Served, attack: str, **arguments: Any) -> Any:
    """What came of it: a value, or the name of the error."""
    with httpx.Client(verify=False, timeout=30) as client:
        url = f"https://{served.host}:{served.https}/{attack}"
        answer = client.post(url, json=arguments, headers={"Host": "localhost"})
    assert answer.status_code == 200, answer.text
    return answer.json()


KEPT = ("control.token", "store.db", "bootstrap.json", "key.pem")


def secret_files(served: Served) -> list[Path]:
    """Everything in the state directory but what the guard publishes."""
    guard = served.state / "live" / "guard"
    return [
        path
        for path in served.state.rglob("*")
        if path.is_file() and guard not in path.parents and "tmp" not in path.parts[len(served.state.parts) :]
    ]


def test_no_file_of_the_state_can_be_read_or_written(private: Served) -> None:
    files = [str(path) for path in secret_files(private)]
    for name in KEPT:
        assert [path for path in files if path.endswith(name)], name
    assert len([path for path in files if path.endswith("key.pem")]) >= 3
    opened = ask(private, "open", paths=files)
    assert opened == {"readable": [], "writable": []}


def test_the_attack_would_have_seen_them(private: Served) -> None:
    """The attacker can read what it may: its list being empty is no mistake of its own."""
    guard = str(private.state / "live/guard/policy.json")
    assert ask(private, "open", paths=[guard, str(private.policy)])["readable"] == [
        guard,
        str(private.policy),
    ]
    assert ask(private, "open", paths=[guard])["writable"] == []


def test_a_key_named_by_the_policy_cannot_be_read(site: Served) -> None:
    key = site.folder / "theirs" / "key.pem"
    assert b"PRIVATE KEY" in key.read_bytes()
    assert ask(site, "open", paths=[str(key)]) == {"readable": [], "writable": []}


@pytest.mark.parametrize("which", ["keeper", "engine"])
def test_not_by_way_of_another_process(private: Served, which: str) -> None:
    pid = private.process.pid if which == "keeper" else private.children("envoy")[0]
    key = next(str(path) for path in secret_files(private) if path.name == "key.pem")
    names = [f"root{key}", "mem", "environ", "maps", "fd/0", "cwd/store.db", f"task/{pid}/root{key}"]
    found = ask(private, "open", paths=[f"/proc/{pid}/{name}" for name in names])
    assert found == {"readable": [], "writable": []}
    assert ask(private, "trace", pid=pid) == "EPERM"
    assert ask(private, "peek", pid=pid) == "EPERM"
    assert ask(private, "descriptor", pid=pid) == "EPERM"
    assert ask(private, "signal", pid=pid, number=0) == "EPERM"
    assert ask(private, "signal", pid=pid, number=9) == "EPERM"
    assert Path(f"/proc/{pid}").exists()


def test_not_by_another_name(private: Served) -> None:
    key = next(str(path) for path in secret_files(private) if path.name == "key.pem")
    for attack in ("symlink", "hardlink"):
        assert ask(private, attack, path=key) in {"EACCES", "EXDEV", "EPERM"}
    for attack in ("rename-state", "mount", "chroot", "device", "handle"):
        assert ask(private, attack, path=str(private.state)) in {"EACCES", "EXDEV", "EPERM", "ENOSYS"}, attack
    assert ask(private, "create", path=str(private.state / "authorities/evil.pem")) == "EACCES"
    assert ask(private, "create", path=str(private.state / "run/evil.sock")) == "EACCES"
    assert ask(private, "delete", path=key) == "EACCES"


def test_nor_by_a_child_of_its_own(private: Served) -> None:
    key = next(str(path) for path in secret_files(private) if path.name == "key.pem")
    assert "denied" in ask(private, "child", command=["cat", key])
    assert "Operation not permitted" in ask(
        private, "child", command=["kill", "-9", str(private.process.pid)]
    )


def test_the_engine_takes_no_orders_from_the_app(private: Served) -> None:
    (admin,) = (private.state / "run/engine").glob("*.sock")
    for target in (
        "/",
        "/quitquitquit",
        "/config_dump",
        "/certs",
        "/drain_listeners?graceful",
        "/stats?key=",
    ):
        answer = ask(private, "talk", path=str(admin), text=f"POST {target} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert " 403 " in answer or answer in {"EACCES", "ECONNREFUSED"}, (target, answer)
    key = json.loads((private.state / "engines/envoy/bootstrap.json").read_text())["admin"]["allow_paths"]
    assert len(key[0]["suffix"]) > 40
    assert private.children("envoy")


def test_the_keeper_takes_no_orders_from_the_app(private: Served) -> None:
    line = json.dumps({"order": "renew"}) + "\n"
    answer = ask(private, "talk", path=str(private.state / "run/control.sock"), text=line)
    assert "control-forbidden" in answer or answer in {"EACCES", "EPERM"}


def test_the_apps_environment_has_nothing_of_ours(private: Served) -> None:
    token = (private.state / "run/control.token").read_text()
    environ = ask(private, "environ")
    assert token not in json.dumps(environ)
    assert "PRIVATE KEY" not in json.dumps(environ)


def test_the_engine_reads_its_key_and_no_other(private: Served) -> None:
    """Seen through the kernel: what Landlock keeps from Envoy, tried by the same rules in a child."""
    code = """
import json, sys
from pathlib import Path
from sealgate._system.landlock import confine
from sealgate.runtime.separation import plan
state = Path(sys.argv[1])
separation = plan(state)
live = (state / "live" / "server", state / "live" / "clients")
confine(hidden=[Path("/")], allowed=separation.engine_grants(live, [state / "run" / "engine"]))
readable = []
for path in json.loads(sys.stdin.read()):
    try:
        open(path, "rb").close()
        readable.append(path)
    except OSError:
        pass
print(json.dumps(readable))
"""
    elsewhere = ["/etc/shadow", "/etc/fstab", str(Path(__file__).resolve())]
    files = [*(str(path) for path in secret_files(private)), *elsewhere]
    command = [sys.executable, "-c", code, str(private.state)]
    done = subprocess.run(
        command, input=json.dumps(files), capture_output=True, text=True, check=True, timeout=30
    )
    readable = json.loads(done.stdout)
    assert not set(readable) & set(elsewhere)
    assert [path for path in readable if path.endswith("key.pem") and "/live/server/" in path]
    assert not [
        path for path in readable if "/authorities/" in path or path.endswith(("store.db", "control.token"))
    ]


def test_no_core_files_and_private_modes(private: Served) -> None:
    for path in [private.state, *private.state.rglob("*")]:
        if path.is_symlink():
            continue
        # Answers to an ACME authority are passed by servers of other users; nobody can list them.
        open_to_others = 0o011 if path == private.state / "live/challenges" else 0
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == open_to_others, path
    for pid in (private.process.pid, *private.children("sealgate.runtime.worker")):
        limits = Path(f"/proc/{pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4] == "0", pid


def test_the_ready_line_says_what_is_not_separated(private: Served) -> None:
    """As root with a Python that only root may read: users are not separated, and that is said."""
    separated = "not separated" not in private.out
    uids = {Path(f"/proc/{pid}").stat().st_uid for pid in private.children("")}
    assert separated == (os.geteuid() not in uids or os.geteuid() != 0)
