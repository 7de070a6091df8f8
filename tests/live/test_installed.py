"""An installed server: our site in it, out of it, and nothing else of it changed, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest
import trustme

from sealgate._system.files import FileLock
from sealgate.cli._installed import Server, apply_to, roll_back
from sealgate.cli.main import run
from sealgate.engines.installed.contract import included, included_ids
from sealgate.engines.installed.swap import locked
from sealgate.errors import NotObserved
from tests.live.backend import Backend, backend
from tests.live.conftest import Serve
from tests.live.installed import Installed, call, installed, kinds, server_of, untouched, would_start
from tests.live.served import Background
from tests.pki.killing import KILLED, Step, die_at, steps_of

IN_FRONT = tuple(name for name in included_ids() if included(name).backend == "upstream")
Site = Iterator[Installed]
BELIEVES = {
    "nginx": "set_real_ip_from 0.0.0.0/0;\nreal_ip_header X-Forwarded-For;\n",
    "apache": "LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\n"
    "RemoteIPHeader X-Forwarded-For\n",
}
"""Of a server that once stood behind a proxy."""


@pytest.fixture(scope="module")
def behind() -> Iterator[Backend]:
    with backend() as one:
        yield one


@pytest.fixture(scope="module", params=IN_FRONT)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, behind: Backend) -> Site:
    """One for all tests of the module."""
    with installed(request.param, tmp_path_factory.mktemp("installed"), behind.url) as one:
        yield one


@pytest.fixture
def site(server: Installed) -> Site:
    """Nothing applied before, and nothing left."""
    with untouched(server):
        yield server


def test_a_site_in_and_out_again(site: Installed, behind: Backend) -> None:
    before = site.main.read_bytes()
    plan = site.json("plan")
    assert plan["changes"]
    assert str(site.own) in plan["files"][1]["diff"]
    assert site.main.read_bytes() == before, "a plan changes nothing"

    seen = len(behind.seen)
    assert site.sealgate("apply", "--yes").returncode == 0
    assert len(behind.seen) == seen, "the backend sees nothing of our looking"
    assert site.main.read_bytes().count(str(site.own).encode()) == 1
    status, fields, _ = site.get("/a%20b?c=d", X_Forwarded_For="6.6.6.6")
    assert status == 200
    assert fields["strict-transport-security"] == "max-age=300"
    request = behind.seen[-1]
    assert request["path"] == "/a%20b?c=d"
    told = dict(request["fields"])
    assert told["x-forwarded-for"] == "127.0.0.1"
    assert told["x-forwarded-proto"] == "https"
    if site.get("/", Sealgate_Proof="x")[0] != 400:  # refused, or taken out
        assert "sealgate-proof" not in dict(behind.seen[-1]["fields"])
    for path in ("/server-status", "/icons/", "/.sealgate-problem/bad-request"):  # the user's, and our own
        assert site.get(path)[0] == 200
        assert behind.seen[-1]["path"] == path
    status, fields, body = site.get("//x")
    assert status == 400
    assert fields["content-type"] == "application/problem+json"
    assert fields["strict-transport-security"] == "max-age=300"
    assert json.loads(body)["status"] == 400
    assert site.get(host="elsewhere.test")[0] == 421
    assert site.get_plain("/x?y")[1]["location"] == f"https://{site.host}:{site.https}/x?y"
    assert site.answers(), "the user's own site"

    assert call(site, "observe") == 0
    assert not site.json("plan")["changes"]
    assert not site.json("apply", "--yes")["changed"]
    assert call(site, "rollback", "--yes") == 0
    assert site.main.read_bytes() == before
    assert not site.own.exists()
    assert site.answers()
    with pytest.raises(OSError, match=r"refused|reset|handshake|EOF|SSL|wrong"):
        site.get()


def test_an_address_is_the_connections_own_whatever_the_users_configuration_believes(
    site: Installed, behind: Backend
) -> None:
    """Fields that are believed server-wide neither open the door nor reach the backend."""
    extra = site.main.parent / "conf.d" / "believes.conf"
    extra.write_text(BELIEVES[site.kind])
    try:
        site.rewrite(network={"deny": ["127.77.0.0/16"]})
        assert call(site, "apply", "--yes") == 0
        stranger = ("127.77.0.9", 0)
        for made in (
            HTTPSConnection(
                site.host, site.https, timeout=20, context=site.context(), source_address=stranger
            ),
            HTTPConnection(site.host, site.http, timeout=20, source_address=stranger),
        ):
            with contextlib.closing(made) as connection:
                connection.request("GET", "/", headers={"X-Forwarded-For": "198.51.100.7"})
                assert connection.getresponse().status == 403
        assert site.get("/", X_Forwarded_For="198.51.100.7")[0] == 200
        assert dict(behind.seen[-1]["fields"])["x-forwarded-for"] == "127.0.0.1"
    finally:
        site.rewrite(network={"deny": []})
        extra.unlink()


def test_no_request_is_lost(site: Installed) -> None:
    """While certificates are renewed, and our file changes."""
    assert call(site, "apply", "--yes") == 0
    answers: list[int] = []

    def ask(stop: threading.Event) -> None:
        while not stop.is_set():
            answers.append(site.get("/x")[0])

    clients = [Background(ask) for _ in range(3)]
    try:
        for size in ("2MiB", "3MiB"):
            assert run(["cert", "renew", *site.arguments[:4]]) == 0
            site.rewrite(limits={"body": size})
            before = len(answers)
            assert call(site, "apply", "--yes") == 0
            site.wait_for(lambda before=before: len(answers) > before + 3)
    finally:
        for client in clients:
            client.end()
    assert set(answers) == {200}


def test_a_plan_makes_nothing(server: Installed, tmp_path: Path) -> None:
    other = replace(server, tables={}, other_state=tmp_path / "none")
    assert call(other, "plan") == 0
    assert call(other, "observe") == 3
    assert not other.state.exists()


def test_a_running_keeper_is_asked(site: Installed, sealgate: Serve, behind: Backend) -> None:
    """It owns the state directory; its certificate is the one that is served."""
    served = sealgate(site={"upstream": behind.url, "names": ["localhost", site.host]})
    other = replace(site, other_state=served.state)
    try:
        assert call(other, "apply", "--yes") == 0
        assert other.get()[0] == 200
        served.order(order="renew")
        assert kinds(other) == {"certificate-older"}
        assert call(other, "apply", "--yes") == 0
        assert call(other, "observe") == 0
    finally:
        assert call(other, "rollback", "--all", "--yes") == 0


def test_it_asks_before(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    before = site.main.read_bytes()
    done = site.sealgate("apply")
    assert (done.returncode, site.main.read_bytes()) == (2, before)
    assert "confirmation-missing" in done.stderr


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"site": {"upstream": "", "app": "a:b"}}, "site.app"),
        ({"clients": {"mode": "required"}}, "clients.mode"),
        ({"listen": {"http3": True}}, "listen.http3"),
        ({"limits": {"body": "0"}}, "limits.body"),
    ],
)
def test_what_it_cannot_enforce_is_refused(
    server: Installed, tmp_path: Path, tables: dict[str, dict[str, object]], key: str
) -> None:
    other = Installed(server.kind, tmp_path, server.host, server.https, server.http, server.user)
    other.rewrite(site={"upstream": "http://127.0.0.1:9"})
    other.rewrite(**tables)
    done = other.sealgate("plan", "--server-config", str(server.main))
    assert done.returncode == 2
    assert key in done.stderr
    assert "engine-cannot" in done.stderr


def test_rollback_asks_before_nothing_is_served(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(site, "apply", "--yes") == 0
    assert call(site, "rollback") == 2
    said = capsys.readouterr().err
    assert "confirmation-missing" in said
    assert f"nobody answers on {site.host}:{site.https}" in said
    assert site.get()[0] == 200
    site.rewrite(limits={"body": "2MiB"})
    assert call(site, "apply", "--yes") == 0
    assert call(site, "rollback") == 0, "to what was served before: nothing to ask"
    assert site.get()[0] == 200


UNKNOWN = {
    "nginx": ("SEALGATE_NGINX", "nginx", "nginx version: nginx/9.99.9"),
    "apache": ("SEALGATE_APACHE", "apache2", "Server version: Apache/9.99.9"),
}
WRAPPER = """#!/bin/sh
case "$1" in -v|-V) echo "{said}"; exit 0;; esac
exec {real} "$@"
"""


def test_what_matters_to_apply_does_not_keep_rollback_from_its_work(
    site: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server of a version that nobody tested, and no policy that could be read."""
    before = site.main.read_bytes()
    assert call(site, "apply", "--yes") == 0
    variable, program, said = UNKNOWN[site.kind]
    real = shutil.which(program, path="/usr/sbin:/usr/bin")
    wrapper = tmp_path / program
    wrapper.write_text(WRAPPER.format(said=said, real=real))
    wrapper.chmod(0o755)
    monkeypatch.setenv(variable, str(wrapper))
    assert call(site, "apply", "--yes") == 3
    assert "engine-untested" in capsys.readouterr().err
    call(site, "observe")
    assert "engine-untested" not in capsys.readouterr().err
    policy = site.folder / "sealgate.toml"
    text = policy.read_text()
    policy.write_text("this is no policy")
    try:
        assert run(["rollback", "--all", "--yes", *site.arguments[:4]]) == 0, capsys.readouterr().err
    finally:
        policy.write_text(text)
    assert site.main.read_bytes() == before
    assert site.silent(), "a script that runs the server is not the server; that was told all the same"
    monkeypatch.delenv(variable)
    assert call(site, "apply", "--yes") == 0
    assert site.get()[0] == 200


def test_without_a_policy_and_without_anything_applied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["-c", str(tmp_path / "sealgate.toml"), "--state", str(tmp_path / "state")]
    assert run(["rollback", *state]) != 0
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir(0o700)
    assert run(["rollback", *state]) == 3
    assert "nothing-applied" in capsys.readouterr().err


def test_a_second_version_and_back(site: Installed) -> None:
    assert call(site, "apply", "--yes") == 0
    first = site.own.read_bytes()
    site.rewrite(limits={"body": "2MiB"})
    assert kinds(site) == {"policy-changed"}
    assert call(site, "apply", "--yes") == 0
    assert site.own.read_bytes() != first
    assert call(site, "rollback", "--yes") == 0
    assert site.own.read_bytes() == first
    assert kinds(site) == {"policy-changed"}
    assert call(site, "rollback", "--yes") == 0
    assert not site.own.exists()
    assert call(site, "rollback", "--yes") == 3
    assert call(site, "observe") == 3


def test_what_is_edited_is_seen(site: Installed) -> None:
    assert call(site, "apply", "--yes") == 0
    applied = site.main.read_bytes()
    site.own.write_bytes(site.own.read_bytes() + b"# mine\n")
    assert kinds(site) == {"file-edited"}
    assert call(site, "apply", "--yes") == 0
    site.main.write_bytes(
        b"\n".join(line for line in applied.split(b"\n") if str(site.own).encode() not in line)
    )
    assert kinds(site) == {"include-missing"}
    assert call(site, "apply", "--yes") == 0
    # What the user writes beside our line stays, on every way out.
    site.main.write_bytes(b"# his words\n" + site.main.read_bytes())
    assert call(site, "observe") == 0
    assert call(site, "rollback", "--all", "--yes") == 0
    main = site.main.read_bytes()
    assert main.startswith(b"# his words\n")
    site.main.write_bytes(main.removeprefix(b"# his words\n"))


def test_todays_classic_the_server_serves_an_older_certificate_than_the_disk_has(site: Installed) -> None:
    assert call(site, "apply", "--yes") == 0
    renewed = run(["cert", "renew", *site.arguments[:4]])
    assert renewed == 0
    assert kinds(site) == {"certificate-older"}
    assert call(site, "apply", "--yes") == 0
    assert call(site, "observe") == 0


def test_a_foreign_certificate_in_its_place(site: Installed) -> None:
    assert call(site, "apply", "--yes") == 0
    current = site.state / "live" / "server" / "localhost" / "current"
    files = {name: current / name for name in ("chain.pem", "key.pem")}
    before = {name: path.read_bytes() for name, path in files.items()}
    other = trustme.CA().issue_cert("localhost")
    files["chain.pem"].write_bytes(other.cert_chain_pems[0].bytes())
    assert "certificate-replaced" in kinds(site), "a chain alone"
    files["key.pem"].write_bytes(other.private_key_pem.bytes())
    assert "certificate-replaced" in kinds(site), "a pair that fits, and was never published here"
    for name, path in files.items():
        path.write_bytes(before[name])
    assert call(site, "observe") == 0


OTHER_SITE = {
    "nginx": 'server {{ listen {host}:{http}; server_name localhost; return 200 "mine"; }}',
    "apache": "<VirtualHost {host}:{http}>\n  ServerName localhost\n  Redirect 404 /\n</VirtualHost>",
}


@pytest.mark.usefixtures("unasked")
def test_what_differs_is_undone(site: Installed) -> None:
    """Another site of the user's answers where ours shall: file, line and certificate are as they were."""
    assert call(site, "apply", "--yes") == 0
    main, own = site.main.read_bytes(), site.own.read_bytes()
    live = site.state / "live" / "server" / "localhost" / "chain.pem"
    certificate = live.read_bytes()
    other = site.folder / "server" / "conf.d" / "other.conf"
    other.write_text(OTHER_SITE[site.kind].format(host=site.host, http=site.http))
    site.rewrite(limits={"body": "2MiB"}, certificate={"key_type": "ecdsa-p384"})
    try:
        with (
            server_of(site) as server,
            pytest.raises(NotObserved, match=r"apply-not-observed: .*(status|redirect) is .*put back"),
        ):
            apply_to(server, seconds=4)
        assert (site.main.read_bytes(), site.own.read_bytes()) == (main, own)
        assert live.read_bytes() == certificate
    finally:
        other.unlink()
        site.rewrite(certificate={"key_type": "ecdsa-p256"}, limits={"body": "1MiB"})
    assert call(site, "apply", "--yes") == 0
    assert call(site, "observe") == 0


def test_what_the_server_refuses_changes_nothing(site: Installed) -> None:
    before = site.main.read_bytes()
    broken = site.folder / "server" / "conf.d" / "broken.conf"
    broken.write_text("sendfile perhaps;\n" if site.kind == "nginx" else "Timeout\n")
    try:
        assert "engine-refused" in site.sealgate("apply").stderr  # before anybody is asked
        done = site.sealgate("apply", "--yes")
        assert done.returncode == 3
        assert "engine-refused" in done.stderr
        assert (site.main.read_bytes(), site.own.exists()) == (before, False)
        assert sorted(path.name for path in site.main.parent.iterdir() if "sealgate" in path.name) == []
    finally:
        broken.unlink()
    assert site.answers()


def test_a_plan_is_short(site: Installed) -> None:
    before = site.main.read_bytes()
    plan = site.json("plan")
    assert plan["check"] == {"accepted": True, "said": "", "remedy": ""}
    assert plan["neighbours"] == []
    shown = site.sealgate("plan").stdout
    assert f"--server-config {site.main}" in shown.splitlines()[-1]
    assert "the server's own check accepts it" in shown
    assert len(shown.splitlines()) < 40
    whole = site.sealgate("plan", "--diff").stdout
    assert len(whole.splitlines()) > len(plan["files"][0]["diff"].splitlines()) > 100
    assert site.main.read_bytes() == before


def test_a_plan_says_what_apply_would_run_into(site: Installed) -> None:
    """The server's own check, and a site of the user's in the same place; nothing is left behind."""
    before = {path.name for path in site.main.parent.iterdir()}
    other = site.folder / "server" / "conf.d" / "other.conf"
    other.write_text(OTHER_SITE[site.kind].format(host=site.host, http=site.http))
    try:
        (neighbour,) = site.json("plan")["neighbours"]
        assert neighbour["place"] == f"{other}:1"
        assert neighbour["same"] == ["localhost"]
        assert "one has to go" in neighbour["said"]
        other.write_text("what_is_this on;\n")
        done = site.sealgate("plan")
        assert done.returncode == 1
        assert "own check refuses it" in done.stdout
        assert "what_is_this" in done.stdout
    finally:
        other.unlink()
    assert {path.name for path in site.main.parent.iterdir()} == before


def test_an_address_of_somebody_else_is_not_taken(site: Installed) -> None:
    with socket.create_server((site.host, 0)) as other:
        site.rewrite(listen={"http": [f"{site.host}:{other.getsockname()[1]}"]})
        done = site.sealgate("apply", "--yes")
    assert done.returncode == 3
    assert "port-taken" in done.stderr
    assert not site.own.exists()


def test_links_modes_and_owners_stay(site: Installed) -> None:
    """The main configuration may be a link, to a file of another group."""
    real = site.folder / "elsewhere.conf"
    text = site.main.read_bytes()
    site.main.unlink()
    real.write_bytes(text)
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, -1, 54321)
    before = real.stat()
    site.main.symlink_to(real)
    try:
        assert call(site, "apply", "--yes") == 0
        assert site.main.is_symlink()
        assert str(site.own).encode() in real.read_bytes()
        assert call(site, "rollback", "--yes") == 0
        after = real.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert real.read_bytes() == text
    finally:
        site.main.unlink()
        site.main.write_bytes(text)


@pytest.mark.parametrize("name", ["main", "envvars"])
def test_root_runs_nothing_that_others_could_have_written(
    site: Installed, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A server's own check loads what its configuration names; `envvars` is a shell file."""
    root = os.geteuid() == 0
    path = site.main if name == "main" else site.main.with_name("envvars")
    there = path.exists()
    path.touch()
    try:
        path.chmod(0o666)
        for command in ("plan", "observe"):
            call(site, command)
            assert ("server-config-insecure" in capsys.readouterr().err) is root, (
                "others run it as themselves"
            )
        path.chmod(0o644)
        if root:
            os.chown(path, 12345, -1)
            assert call(site, "apply", "--yes") == 2
            assert "server-config-insecure" in capsys.readouterr().err
            os.chown(path, 0, -1)
    finally:
        if not there:
            path.unlink()


def test_a_hard_link_is_not_torn(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    other = site.folder / "second-name.conf"
    other.hardlink_to(site.main)
    try:
        assert call(site, "apply", "--yes") == 3
        assert "server-config-unfit" in capsys.readouterr().err
        assert other.samefile(site.main)
    finally:
        other.unlink()


def test_one_at_a_time(site: Installed, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(site, "apply", "--yes") == 0
    with FileLock(site.own.with_name("lock")):
        assert call(site, "apply", "--yes") == 3
        assert "state-busy" in capsys.readouterr().err
    with locked(site.main.parent):
        assert call(site, "rollback", "--yes") == 3
        assert "server-busy" in capsys.readouterr().err
    assert call(site, "observe") == 0


def test_a_stopped_server_is_not_applied_to(
    site: Installed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(site, "apply", "--yes") == 0
    site.stop()
    try:
        assert "server-down" in kinds(site)
        site.rewrite(limits={"body": "2MiB"})
        assert call(site, "apply", "--yes") == 3
        assert "server-not-running" in capsys.readouterr().err
        assert call(site, "rollback", "--all", "--yes") == 0
    finally:
        site.start()


def opened(one: Installed) -> Server:
    """The same for a process that will be killed, and its locks with it."""
    return server_of(one).__enter__()


def first_apply(one: Installed) -> None:
    """Nothing yet."""


def applied(one: Installed) -> None:
    assert call(one, "apply", "--yes") == 0


def applied_and_changed(one: Installed) -> None:
    assert call(one, "apply", "--yes") == 0
    one.rewrite(limits={"body": "2MiB"})


def applied_twice(one: Installed) -> None:
    applied_and_changed(one)
    assert call(one, "apply", "--yes") == 0


KILLS = {
    "first apply": (first_apply, lambda one, step: apply_to(opened(one), step=step)),
    "another apply": (applied_and_changed, lambda one, step: apply_to(opened(one), step=step)),
    "rollback": (applied_twice, lambda one, step: roll_back(opened(one), everything=False, step=step)),
    "rollback --all": (applied, lambda one, step: roll_back(opened(one), everything=True, step=step)),
}


@pytest.mark.parametrize(
    "what",
    [
        "first apply",
        "rollback",
        pytest.param("another apply", marks=pytest.mark.long),
        pytest.param("rollback --all", marks=pytest.mark.long),
    ],
)
def test_killed_at_every_step(site: Installed, what: str) -> None:
    """The server serves, it would start again, and the next call finishes the job, forwards or backwards."""
    if site.kind != "nginx" and what != "first apply":
        return  # the steps are the same for every server
    prepare, work = KILLS[what]
    before = site.main.read_bytes()

    def done(step: Step) -> object:
        return work(site, step)

    prepare(site)
    steps = steps_of(done)
    assert {"check", "reload", "look", "commit"} <= set(steps)
    # Within the writing of one file the old one is still there whole: tests/_system kills in all of these.
    for number in (n for n, step in enumerate(steps) if step not in {"create", "write", "fsync"}):
        site.rewrite(limits={"body": "1MiB"})
        call(site, "rollback", "--all", "--yes")
        prepare(site)
        served = site.own.exists()
        assert die_at(number, done) == KILLED
        assert site.answers(), f"killed at {steps[number]}"
        if served and what != "rollback --all":
            assert site.get()[0] == 200, f"killed at {steps[number]}"
        assert would_start(site), f"killed at {steps[number]}"
        finish = ("apply", "--yes") if number % 2 else ("rollback", "--yes")
        assert call(site, *finish) in ({0} if number % 2 else {0, 3}), f"killed at {steps[number]}"
        assert would_start(site)
        left = {path.name for path in site.main.parent.iterdir() if "sealgate" in path.name}
        assert not left, f"killed at {steps[number]}"
        if number % 2:
            assert call(site, "observe") == 0, f"killed at {steps[number]}"
            assert site.get()[0] == 200
        assert call(site, "rollback", "--all", "--yes") in {0, 3}
        assert site.main.read_bytes() == before, f"killed at {steps[number]}"


@pytest.mark.usefixtures("unasked")
def test_a_change_that_fails_after_one_that_was_broken_off(site: Installed) -> None:
    """Back to what was last seen to be served: nothing, not to what nobody ever saw."""
    before = site.main.read_bytes()
    _, work = KILLS["first apply"]
    steps = steps_of(lambda step: work(site, step))
    call(site, "rollback", "--all", "--yes")
    assert die_at(steps.index("look"), lambda step: work(site, step)) == KILLED
    assert kinds(site) == {"interrupted"}
    other = site.folder / "server" / "conf.d" / "other.conf"
    other.write_text(OTHER_SITE[site.kind].format(host=site.host, http=site.http))
    site.rewrite(limits={"body": "2MiB"})
    try:
        with server_of(site) as server, pytest.raises(NotObserved, match="apply-not-observed"):
            apply_to(server, seconds=4)
        assert (site.main.read_bytes(), site.own.exists()) == (before, False)
    finally:
        other.unlink()
    assert site.answers()
