"""A Gunicorn that somebody else runs: our site in its own file, out of it, and it serves whatever happens."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from sealgate.cli._installed import Server, apply_to, open_server
from sealgate.cli._options import load_context
from sealgate.cli.main import run
from sealgate.engines.servers.gunicorn.included import INCLUDED
from sealgate.engines.servers.gunicorn.started import DECIDED
from sealgate.errors import EngineError, NotObserved
from sealgate.runtime.inside.gunicorn import plan
from tests.live.installed import Installed
from tests.live.served import free_port, loopback
from tests.pki.killing import KILLED, die_at, steps_of

APP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['wsgi.url_scheme']} {'sealgate.client' in environ}".encode()]
"""
# Without an end of line at its end; with a hook of the user's, and what ours must win over.
CONFIGURATION = """\
bind = "{host}:{user}"
worker_class = "sync"
workers = 2
loglevel = "warning"
limit_request_field_size = 0
def on_reload(server):
    server.log.warning("the user's own hook")
forwarded_allow_ips = "*\""""


@dataclass
class Own(Installed):
    """The user's Gunicorn."""

    options: tuple[str, ...] = ("app:app",)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def main(self) -> Path:
        return self.folder / "gunicorn.conf.py"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *self.options],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        self.wait_for(self.serves)

    def serves(self) -> bool:
        """By plain HTTP as the user has it, or by HTTPS as we do."""
        with contextlib.suppress(OSError):
            return self.get_plain(port=self.user)[2] == b"http False"
        with contextlib.suppress(OSError, ValueError):
            return self.get()[2] == b"https True"
        return False

    def closed(self, port: int) -> bool:
        try:
            HTTPConnection(self.host, port, timeout=2).connect()
        except ConnectionRefusedError:
            return True
        return False

    def log(self) -> str:
        return (self.folder / "log").read_text()[-3000:]


@contextlib.contextmanager
def own(folder: Path, **more: Any) -> Iterator[Own]:
    host = loopback()
    one = Own("gunicorn", folder, host, free_port(host), free_port(host), free_port(host), **more)
    (folder / "app.py").write_text(APP)
    one.main.write_text(CONFIGURATION.format(host=host, user=one.user))
    one.rewrite(
        site={"names": ["localhost", host], "engine": "gunicorn"},
        listen={"https": [f"{host}:{one.https}"], "http": [f"{host}:{one.http}"]},
    )
    one.start()
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    with own(tmp_path_factory.mktemp("own")) as one:
        yield one


@pytest.fixture
def site(server: Own) -> Iterator[Own]:
    """Nothing applied before, and nothing left."""
    before = server.main.read_bytes()
    yield server
    server.rewrite(limits={"body": "1MiB"})
    call(server, "rollback", "--all", "--yes")
    assert server.main.read_bytes() == before
    assert not server.own.exists()
    server.wait_for(lambda: server.get_plain(port=server.user)[2] == b"http False")


def call(one: Own, command: str, *more: str) -> int:
    return run([command, *one.arguments, *more])


def kinds(one: Own) -> set[str]:
    return {item["kind"] for item in one.json("observe")["drift"]}


@contextlib.contextmanager
def server_of(one: Own) -> Iterator[Server]:
    context = load_context(one.folder / "sealgate.toml", one.state)
    with open_server(context, name="gunicorn", config=one.main, untested=False, changing=True) as opened:
        yield opened


def test_a_site_in_and_out_again(site: Own) -> None:
    before = site.main.read_bytes()
    said = site.json("plan")
    assert said["check"] == {"accepted": True, "said": "", "remedy": ""}
    assert site.main.read_bytes() == before
    assert call(site, "apply", "--yes") == 0
    assert site.main.read_bytes().startswith(before)
    status, fields, body = site.get("/", X_Forwarded_Proto="http")
    assert (status, body) == (200, b"https True")
    assert fields["strict-transport-security"] == "max-age=300"
    assert site.get(host="elsewhere.test")[0] == 421
    assert site.get_plain("/x")[1]["location"] == f"https://{site.host}:{site.https}/x"
    assert site.closed(site.user), "what the policy decides, ours decides"
    assert "the user's own hook" in site.log()
    assert call(site, "observe") == 0
    assert not site.json("apply", "--yes")["changed"]
    assert call(site, "rollback", "--yes") == 0
    assert site.main.read_bytes() == before
    assert site.get_plain(port=site.user)[2] == b"http False"
    site.wait_for(lambda: site.closed(site.http) and site.closed(site.https))


@pytest.mark.long
def test_other_versions_drift_and_a_restart(site: Own) -> None:
    assert call(site, "apply", "--yes") == 0
    first = site.own.read_bytes()
    site.rewrite(limits={"body": "2MiB"})
    assert kinds(site) == {"policy-changed"}
    assert call(site, "apply", "--yes") == 0
    assert call(site, "rollback") == 0
    assert site.own.read_bytes() == first
    site.rewrite(limits={"body": "1MiB"})
    site.stop()
    assert "server-down" in kinds(site)
    site.start()
    assert call(site, "observe") == 0, "a restart by itself serves the same"
    assert run(["cert", "renew", *site.arguments[:4]]) == 0
    site.wait_for(lambda: call(site, "observe") == 0)  # each worker follows the files by itself


def test_what_differs_is_undone(site: Own) -> None:
    """A Gunicorn that does not take the reload up: files, and what is served, are as they were."""
    assert call(site, "apply", "--yes") == 0
    main, mine = site.main.read_bytes(), site.own.read_bytes()
    site.rewrite(limits={"body": "2MiB"})
    with server_of(site) as opened:

        def meddle(step: str) -> None:
            if step in {"reload", "restore"}:
                os.kill(opened.pid, signal.SIGSTOP if step == "reload" else signal.SIGCONT)

        with pytest.raises(NotObserved, match="apply-not-observed"):
            apply_to(opened, step=meddle, seconds=2)
    assert (site.main.read_bytes(), site.own.read_bytes()) == (main, mine)
    site.wait_for(site.serves)
    site.rewrite(limits={"body": "1MiB"})
    site.wait_for(lambda: call(site, "observe") == 0)


def test_what_gunicorn_refuses_changes_nothing(site: Own, capsys: pytest.CaptureFixture[str]) -> None:
    app, main = site.folder / "app.py", site.main.read_bytes()
    text = app.read_text()
    app.write_text("import that_is_not_there")
    try:
        assert call(site, "apply", "--yes") == 3
        assert "engine-refused" in (said := capsys.readouterr().err)
        assert "that_is_not_there" in said
    finally:
        app.write_text(text)
    assert site.main.read_bytes() == main
    assert site.serves()
    assert [path.name for path in site.folder.iterdir() if "sealgate" in path.name] == ["sealgate.toml"]


def test_what_the_command_line_decides_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with own(tmp_path, environment={"GUNICORN_CMD_ARGS": "--keep-alive 3"}) as one:
        main = one.main.read_bytes()
        assert call(one, "apply", "--yes") == 3
        assert "--keepalive" in capsys.readouterr().err
        assert one.main.read_bytes() == main


def test_what_the_policy_decides_is_all_looked_for() -> None:
    set_by_us = set(re.findall(r'^        "(\w+)":', inspect.getsource(plan.settings), re.MULTILINE))
    never_options = {"workers", "threads", "ssl_context", "secure_scheme_headers"}
    assert set_by_us - never_options <= set(DECIDED)


def test_the_running_one_is_found_by_itself(site: Own) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sealgate", "plan", "--json", "--engine", "gunicorn", *site.arguments[:4]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("SEALGATE_")},
    )
    assert str(site.main) in done.stdout + done.stderr  # the only one, or one of those that tests run


@pytest.mark.long
def test_killed_at_every_step(site: Own) -> None:
    """It serves, it would start again, and the next call finishes the job."""
    before = site.main.read_bytes()

    def done(step: Any) -> object:
        return apply_to(server_of(site).__enter__(), step=step)

    steps = steps_of(done)
    assert {"check", "reload", "look", "commit"} <= set(steps)
    for number in (n for n, step in enumerate(steps) if step not in {"create", "write", "fsync", "beside"}):
        call(site, "rollback", "--all", "--yes")
        assert die_at(number, done) == KILLED
        site.wait_for(site.serves)
        finish = ("apply", "--yes") if number % 2 else ("rollback", "--yes")
        assert call(site, *finish) in ({0} if number % 2 else {0, 3}), f"killed at {steps[number]}"
        site.wait_for(site.serves)
        assert call(site, "rollback", "--all", "--yes") in {0, 3}
        assert site.main.read_bytes() == before, f"killed at {steps[number]}"


def test_a_path_with_quotes_is_refused() -> None:

    for odd in ('/a"b', "/a\\b", "/a'b", "/a\nb", "/ü"):
        with pytest.raises(EngineError, match="server-config-unfit"):
            INCLUDED.include(b"", odd)
    for main in (b"", b"x = 1", b"x = 1\n", b"\n"):
        assert INCLUDED.exclude(INCLUDED.include(main, "/a/b.conf"), "/a/b.conf") == main
        assert INCLUDED.count(INCLUDED.include(main, "/a/b.conf"), "/a/b.conf") == 1
