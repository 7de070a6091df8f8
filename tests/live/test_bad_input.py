"""What is wrong at the start: one sentence with code and remedy, the right status, nothing left behind."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sealgate._system.clock import system_clock
from sealgate.pki.inspect import pem_of
from sealgate.pki.issue import issue_server
from sealgate.pki.keys import generate, to_pem
from sealgate.pki.live import LiveDirectory
from sealgate.pki.state import State
from sealgate.pki.store import Store
from sealgate.pki.vault import ensure_authorities
from tests.live.conftest import Serve
from tests.live.served import APPS, free_port, loopback, temporary, write_policy

SENTENCE = r"^sealgate: {code}: [^\n]+; [^\n]+\.$"


@dataclass
class Ended:
    status: int
    out: str
    err: str


class Place:
    """A policy and a state directory of a call that is to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = loopback()
        self.state = folder / "state"
        self.policy = folder / "sealgate.toml"
        self.tables: dict[str, dict[str, Any]] = {
            "site": {"names": ["localhost"], "app": "ops:app"},
            "listen": {"https": [f"{self.host}:{free_port(self.host)}"], "http": []},
        }

    def serve(self, *, env: Mapping[str, str] | None = None, before: tuple[str, ...] = ()) -> Ended:
        write_policy(self.policy, self.tables)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SEALGATE_")}
        done = subprocess.run(
            [
                *before,
                sys.executable,
                "-m",
                "sealgate",
                "serve",
                "-c",
                str(self.policy),
                "--state",
                str(self.state),
            ],
            capture_output=True,
            text=True,
            timeout=40,
            cwd=self.folder,
            env={**clean, "PYTHONPATH": str(APPS), **(env or {})},
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def refused(self, code: str, status: int, **call: Any) -> str:
        """The one sentence; and that nothing was left."""
        ended = self.serve(**call)
        assert ended.status == status, ended.err
        sentences = re.findall(SENTENCE.format(code=re.escape(code)), ended.err, re.MULTILINE)
        assert len(sentences) == 1, ended.err
        if code != "app-not-importable":
            assert "Traceback" not in ended.err
        assert "ready" not in ended.out
        self.nothing_left()
        return str(sentences[0])

    def nothing_left(self) -> None:
        """No process whose orders, environment or folder name the place, no socket, no half file."""
        assert self.theirs() == []
        if self.state.is_dir():
            assert not list(self.state.rglob("*.tmp"))
            assert not list(self.state.rglob("*.sock"))

    def theirs(self) -> list[str]:
        """Whatever runs on behalf of this place, but for ourselves; the dead do not count."""
        found, needle = [], os.fsencode(self.folder)
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes()
                said = (line, (entry / "environ").read_bytes(), os.fsencode((entry / "cwd").readlink()))
            except OSError:
                continue
            if any(needle in text for text in said):
                found.append(f"{entry.name} {line.decode(errors='replace')}")
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("by", ["cwd", "argument", "environment"])
def test_what_is_left_is_seen(place: Place, by: str) -> None:
    state = str(place.state)
    place.state.mkdir()
    program = ["sh", "-c", "echo; read x", *([state] if by == "argument" else [])]
    with subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=state if by == "cwd" else "/",
        env={"PATH": os.environ["PATH"], **({"X": state} if by == "environment" else {})},
    ) as left:
        assert left.stdout is not None
        left.stdout.readline()
        assert [one.split()[0] for one in place.theirs()] == [str(left.pid)]
        left.kill()
    assert place.theirs() == []


def test_a_taken_port_names_the_process(place: Place) -> None:
    with socket.create_server((place.host, 0)) as taken:
        where = f"{place.host}:{taken.getsockname()[1]}"
        place.tables["listen"]["https"] = [where]
        said = place.refused("port-taken", 3)
    assert f"{where} is taken by" in said
    assert f"(pid {os.getpid()})" in said


def test_an_address_of_nobody(place: Place) -> None:
    place.tables["listen"]["https"] = ["192.0.2.1:8443"]
    assert "192.0.2.1:8443" in place.refused("address-absent", 3)


def test_a_low_port_without_the_right(place: Place) -> None:
    place.tables["listen"]["https"] = [f"{place.host}:443"]
    without = ("setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service")
    said = place.refused("port-forbidden", 3, before=without)
    assert "CAP_NET_BIND_SERVICE" in said
    assert "ip_unprivileged_port_start=443" in said


def test_no_app(place: Place) -> None:
    del place.tables["site"]["app"]
    place.refused("app-missing", 2)


@pytest.mark.parametrize(
    ("app", "code"),
    [
        ("nowhere:app", "app-not-found"),
        ("ops:nothing", "app-not-found"),
        ("ops:APP_NAME", "app-not-callable"),
    ],
)
def test_an_app_that_is_not_there(place: Place, app: str, code: str) -> None:
    place.tables["site"]["app"] = app.replace("APP_NAME", "__name__")
    assert app.partition(":")[0] in place.refused(code, 2)


def test_an_app_that_cannot_be_imported_shows_its_own_traceback(place: Place) -> None:
    (place.folder / "broken.py").write_text(
        "def deep(n):\n    return 1 / n if n == 0 else deep(n - 1)\ndeep(30)\n"
    )
    place.tables["site"]["app"] = "broken:app"
    assert "ZeroDivisionError: division by zero" in place.refused("app-not-importable", 2)
    shown = place.serve().err
    assert 'broken.py", line 2, in deep' in shown
    assert shown.count("in deep") <= 8  # shortened
    assert "runtime/worker.py" not in shown
    assert "runtime/app.py" not in shown


def test_an_app_whose_startup_fails(place: Place) -> None:
    place.tables["site"]["app"] = "ops:asgi"
    said = place.refused("app-startup-failed", 2, env={"OPS_FAIL": "no database"})
    assert "no database" in said


def test_an_app_that_ends_its_process(place: Place) -> None:
    said = place.refused("app-startup-failed", 2, env={"OPS_SWITCH": str(place.folder / "absent")})
    assert "status 9" in said


def test_no_envoy(place: Place) -> None:
    place.refused("envoy-missing", 3, env={"SEALGATE_ENVOY": str(place.folder / "nothing")})


def test_an_altered_envoy(place: Place) -> None:
    """A package of the right name with other bytes in it, found first."""
    fake = place.folder / "packages" / "envoy" / "_bin"
    fake.mkdir(parents=True)
    (fake.parent / "__init__.py").touch()
    (fake / "envoy").write_text("#!/bin/sh\ntouch was-run\n")
    (fake / "envoy").chmod(0o755)
    said = place.refused("envoy-altered", 3, env={"PYTHONPATH": f"{place.folder}/packages:{APPS}"})
    assert "SHA-256" in said
    assert not list(place.folder.rglob("was-run"))


@pytest.mark.parametrize(
    ("says", "code"), [("version: 0a1b/1.39.4/Clean", "envoy-untested"), ("nonsense", "envoy-unusable")]
)
def test_another_version_of_envoy(place: Place, says: str, code: str) -> None:
    fake = place.folder / "envoy"
    fake.write_text(f"#!/bin/sh\necho 'envoy {says}'\n")
    fake.chmod(0o755)
    said = place.refused(code, 3, env={"SEALGATE_ENVOY": str(fake)})
    assert ("SEALGATE_ENVOY" in said) is (code == "envoy-unusable")


def test_an_envoy_that_ends_at_once(place: Place) -> None:
    fake = place.folder / "envoy"
    fake.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'envoy version: 0a1b/1.40.9/Clean' && exit 0\nexit 5\n"
    )
    fake.chmod(0o755)
    assert "status 5" in place.refused("envoy-refused", 3, env={"SEALGATE_ENVOY": str(fake)})


def imported(
    place: Place, *, age: timedelta = timedelta(), other_key: bool = False, garbage: bool = False
) -> None:
    """`certificate.files` with a pair of this age."""
    state = State.open(place.folder / "maker")
    now = system_clock()
    with state.lock(), Store.open(state.store) as store:
        servers = ensure_authorities(state, store, ("localhost",), now=now - timedelta(days=90)).servers
    key = generate("ecdsa-p256")
    leaf = issue_server(servers, key.public_key(), ("localhost",), now=now - age)
    (place.folder / "chain.pem").write_bytes(pem_of(leaf) + pem_of(servers.certificate))
    (place.folder / "key.pem").touch(mode=0o600)
    pem = to_pem(generate("ecdsa-p256") if other_key else key)
    (place.folder / "key.pem").write_bytes(b"garbage" if garbage else pem)
    place.tables["certificate"] = {"source": "files", "files": {"chain": "chain.pem", "key": "key.pem"}}


def test_an_expired_certificate(place: Place) -> None:
    imported(place, age=timedelta(days=60))
    assert "chain.pem" in place.refused("certificate-expired", 3)


def test_a_certificate_of_the_future(place: Place) -> None:
    imported(place, age=-timedelta(days=3))
    place.refused("certificate-not-yet-valid", 3)


def test_a_key_of_another_certificate(place: Place) -> None:
    imported(place, other_key=True)
    place.refused("key-mismatch", 3)


def test_a_key_that_is_none(place: Place) -> None:
    imported(place, garbage=True)
    assert "key.pem" in place.refused("key-unreadable", 3)


def test_a_key_that_others_may_read(place: Place) -> None:
    imported(place)
    (place.folder / "key.pem").chmod(0o644)
    assert "chmod 600" in place.refused("key-readable-by-others", 2)


def test_a_clock_before_the_certificate(place: Place) -> None:
    """The private authority's own: made in what is now the future."""
    state = State.open(place.state)
    now = system_clock()
    with state.lock(), Store.open(state.store) as store:
        servers = ensure_authorities(state, store, ("localhost",), now=now).servers
    key = generate("ecdsa-p256")
    leaf = issue_server(servers, key.public_key(), ("localhost",), now=now + timedelta(days=2))
    chain = pem_of(leaf) + pem_of(servers.certificate)
    LiveDirectory(state.live_server("localhost")).publish(chain, to_pem(key))
    assert "clock" in place.refused("certificate-not-yet-valid", 3)


def test_two_on_one_state_directory(sealgate: Serve, place: Place) -> None:
    served = sealgate(app="ops:app")
    place.state = served.state
    write_policy(place.policy, place.tables)
    ended = place.serve()
    assert ended.status == 3
    assert f"state-busy: process {served.process.pid} is working on" in ended.err
    with served.client() as client:
        assert client.get("/").status_code == 200
    assert served.order(order="ping")["pid"] == served.process.pid


@contextmanager
def mounted(path: Path, *options: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", *options, str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize(
    "size", ["16k", *(pytest.param(size, marks=pytest.mark.long) for size in ("64k", "128k"))]
)
def test_a_full_disk(place: Place, size: str) -> None:
    with mounted(place.state, "-t", "tmpfs", "-o", f"size={size},mode=0700", "none"):
        ended = place.serve()
        assert ended.status == 3, ended.err
        assert re.search(SENTENCE.format(code="state-full"), ended.err, re.MULTILINE), ended.err
        assert "Traceback" not in ended.err
        place.nothing_left()


def test_a_disk_that_was_full_does_not_matter_later(place: Place) -> None:
    with mounted(place.state, "-t", "tmpfs", "-o", "size=64k,mode=0700", "none"):
        assert place.serve().status == 3
        subprocess.run(["mount", "-o", "remount,size=64m", str(place.state)], check=True)
        with socket.create_server((place.host, 0)) as taken:  # it comes as far as its ports
            place.tables["listen"]["http"] = [f"{place.host}:{taken.getsockname()[1]}"]
            place.refused("port-taken", 3)


def test_a_read_only_state_directory(place: Place) -> None:
    State.open(place.state)
    with mounted(place.state, "--bind", str(place.state)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place.state)], check=True)
        assert str(place.state) in place.refused("state-read-only", 3)


def test_a_state_directory_that_others_may_write(place: Place) -> None:
    place.state.mkdir()
    place.state.chmod(0o777)
    assert "chmod go-w" in place.refused("state-insecure", 2)


HOLDER = """
import ctypes, sys
libc = ctypes.CDLL(None)
print(sum(libc.inotify_init1(0) >= 0 for _ in range(int(sys.argv[1]))), flush=True)
sys.stdin.read()
"""


def test_too_few_inotify_instances() -> None:
    """As a user of its own, whose quota is nearly used up: root's is everybody's here."""
    place = Place(temporary())
    uid = secrets.randbelow(100_000) + 200_000
    rights = "+dac_override,+dac_read_search,+fowner"
    user = ("setpriv", f"--reuid={uid}", "--clear-groups", f"--inh-caps={rights}", f"--ambient-caps={rights}")
    os.chown(place.folder, uid, -1)
    quota = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    command = [*user, "/usr/bin/python3", "-c", HOLDER, str(quota - 5)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert int(holder.stdout.readline()) == quota - 5
        said = place.refused("inotify-exhausted", 3, before=user)
        holder.stdin.close()
    assert "fs.inotify.max_user_instances" in said
    assert "5 are left" in said


def test_a_policy_with_ten_mistakes(place: Place) -> None:
    place.policy.write_text(
        """
version = 2
[site]
names = ["bad name"]
worker = 3
threads = 0
[listen]
https = ["127.0.0.1"]
[tls]
profile = "ancient@1.0"
[http]
mode = "maybe"
[limits]
body = "much"
connections = -1
[timeouts]
idle = "soon"
[clients]
mode = "sometimes"
"""
    )
    call = [sys.executable, "-m", "sealgate", "serve", "-c", str(place.policy), "--state", str(place.state)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 2
    keys = (
        "version",
        "site.names",
        "site.worker",
        "site.threads",
        "listen.https",
        "tls.profile",
        "http.mode",
    )
    for key in (*keys, "limits.body", "limits.connections", "timeouts.idle", "clients.mode"):
        assert key in done.stderr, key
    assert "Traceback" not in done.stderr
    assert not place.state.exists()


def test_an_error_is_json_where_that_was_asked_for(place: Place) -> None:
    place.tables["site"]["app"] = "nowhere:app"
    write_policy(place.policy, place.tables)
    call = [
        sys.executable,
        "-m",
        "sealgate",
        "serve",
        "-c",
        str(place.policy),
        "--state",
        str(place.state),
        "--json",
    ]
    done = subprocess.run(call, capture_output=True, text=True, timeout=40, check=False, cwd=place.folder)
    assert done.returncode == 2
    assert '"app-not-found"' in done.stdout


def test_mount_is_there() -> None:
    """The tests of full and read-only disks need it, as root."""
    assert shutil.which("mount")
    assert os.geteuid() == 0
