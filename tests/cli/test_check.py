"""`sealgate check`, called as users call it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from rich.console import Console

from sealgate._system.clock import system_clock
from sealgate.cli._findings import Findings, examine
from sealgate.cli._options import load_context
from sealgate.cli.check import show
from tests.cli.calls import environment, sealgate

POLICY = '[site]\napp = "orders:app"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sealgate.toml").write_text(POLICY)
    (tmp_path / "sealgate.toml").chmod(0o644)
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "sealgate.toml").write_text(text)


def test_a_sound_policy(folder: Path) -> None:
    result = sealgate("check", "--all", cwd=folder)
    assert (result.status, result.err) == (0, "")
    assert "sealgate.toml is sound: orders:app at https://localhost:8443 by Envoy" in result.out
    for promise, by in (
        ("TLS 1.2 and 1.3 only", "engine"),
        ("a path that is not canonical is 400", "guard"),
        ("issued by the private authority", "keeper"),
        ("orders:app cannot read any private key", "os"),
    ):
        (line,) = [line for line in result.out.splitlines() if promise in line]
        assert f" {by} " in line
    assert "site.app (line 2)" in result.out
    assert "\x1b" not in result.out


def found_of(folder: Path) -> Findings:
    context = load_context(folder / "sealgate.toml", folder / "state")
    return examine(context.loaded, context.state_path, clock=system_clock)


@pytest.mark.parametrize(("width", "most"), [(80, 48), (120, 37)])
def test_it_is_a_screen(folder: Path, width: int, most: int) -> None:
    """Every promise that is kept stands there, but for what nobody asked for; nobody is named wrongly."""
    found = found_of(folder)
    written = io.StringIO()
    show(found, Console(file=written, width=width))
    lines = [line.rstrip() for line in written.getvalue().splitlines()]
    assert len(lines) < most
    assert max(map(len, lines)) <= width
    assert lines[1].startswith("  sealgate.toml is sound: orders:app at https://localhost:8443 by Envoy")
    said = " ".join(" ".join(lines).split())
    for row in found.capabilities:
        assert not found.holds(row) or row.promise in said or found.source(row.key) == "default"
    for text in ("only localhost; any other Host is 421", "1 MiB; more is 413", "handshake done within 5 s"):
        assert text in said
    assert "sealgate check --all" in said
    assert re.search(r"TLS +engine +TLS 1.2 and 1.3 only", said)
    assert "PROXY" not in said, "nobody asked for it"


@pytest.mark.parametrize(
    ("mode", "engine", "named"),
    [("required", "gunicorn", True), ("off", "gunicorn", False), ("required", "envoy", False)],
)
def test_a_gunicorn_of_ones_own_refuses_clients_of_the_private_authority(
    folder: Path, mode: str, engine: str, named: bool
) -> None:
    write(folder, f'version = 1\nsite = {{ app = "a:b", engine = "{engine}" }}\nclients.mode = "{mode}"\n')
    written = io.StringIO()
    show(found_of(folder), Console(file=written, width=200))
    assert ("the private authority's list of the revoked" in written.getvalue()) is named


def test_what_the_policy_says_stands_on_the_screen_even_where_it_says_off(folder: Path) -> None:
    write(folder, POLICY + "[listen]\nproxy_protocol = false\n")
    written = io.StringIO()
    show(found_of(folder), Console(file=written, width=120))
    assert "the PROXY protocol is off" in written.getvalue()


def test_what_needs_a_look_is_counted_at_the_top_and_stands_below_in_full(folder: Path) -> None:
    write(folder, POLICY + 'names = ["a.test"]\n')
    found = replace(found_of(folder), not_separated=("the app is not apart",), confined=False)
    written = io.StringIO()
    show(found, Console(file=written, width=120))
    assert "3 things need a look: see below" in written.getvalue()
    for text in ("os: not here", "the app is not apart", "listen.https: "):
        assert text in written.getvalue()


def test_nothing_is_written(folder: Path) -> None:
    assert sealgate("check", cwd=folder, SEALGATE_STATE=str(folder / "state")).status == 0
    assert [path.name for path in folder.iterdir()] == ["sealgate.toml"]


def test_in_front_of_an_upstream_the_engine_judges(folder: Path) -> None:
    write(folder, 'site.upstream = "http://127.0.0.1:9000"')
    out = json.loads(sealgate("check", "--json", cwd=folder).out)
    enforcers = {row["enforcer"] for row in out["enforcement"]}
    assert "guard" not in enforcers
    assert out["serves"] == "http://127.0.0.1:9000"


def test_json(folder: Path) -> None:
    write(folder, POLICY + 'names = ["a.test"]\n')
    result = sealgate("check", "--json", cwd=folder, SEALGATE_TIMEOUTS__IDLE="5s")
    out = json.loads(result.out)
    assert (result.status, result.err) == (0, "")
    assert (out["sound"], out["engine"], out["url"]) == (True, "envoy", "https://a.test:8443")
    sources = {row["key"]: row["source"] for row in out["enforcement"]}
    assert sources["site.names"] == "line 3"
    assert sources["timeouts.idle"] == "SEALGATE_TIMEOUTS__IDLE"
    assert sources["http.hsts"] == "default"
    assert [advice["key"] for advice in out["advice"]] == ["listen.https"]
    assert isinstance(out["not_separated"], list)


def test_a_wrong_policy_lists_every_mistake(folder: Path) -> None:
    write(folder, 'site.workers = 0\nsite.engin = ""\ntls.profile = "x"\n')
    result = sealgate("check", cwd=folder)
    assert (result.status, result.out) == (2, "")
    lines = result.err.splitlines()
    assert (
        lines[0]
        == "sealgate: policy-invalid: sealgate.toml has 3 mistakes; mend them and run `sealgate check`."
    )
    assert [line.split(" (")[0] for line in lines[1:]] == ["  site.workers", "  site.engin", "  tls.profile"]
    out = json.loads(sealgate("check", "--json", cwd=folder).out)
    assert [problem["line"] for problem in out["error"]["problems"]] == [1, 2, 3]


def test_a_missing_policy(tmp_path: Path) -> None:
    result = sealgate("check", cwd=tmp_path)
    assert result.status == 2
    assert "policy-missing" in result.err
    assert "sealgate init" in result.err


def test_what_an_engine_cannot_enforce_is_refused(folder: Path) -> None:
    write(folder, 'limits.headers = "1500B"')
    result = sealgate("check", cwd=folder)
    assert result.status == 2
    assert "engine-cannot" in result.err
    assert '"1KiB" or "2KiB"' in result.err


def certificate(folder: Path, *names: str) -> None:
    leaf = trustme.CA().issue_cert(*names)
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    for pem in leaf.cert_chain_pems:
        pem.write_to_path(folder / "chain.pem", append=True)
    write(
        folder, POLICY + '[certificate]\nsource = "files"\nfiles = {chain = "chain.pem", key = "key.pem"}\n'
    )


def test_a_certificate_from_files(folder: Path) -> None:
    certificate(folder, "localhost")
    result = sealgate("check", cwd=folder)
    assert (result.status, result.err) == (0, "")
    assert "days left" in result.out


@pytest.mark.parametrize(
    ("names", "mode", "code"),
    [("other.test", 0o600, "certificate-names"), ("localhost", 0o644, "key-readable-by-others")],
)
def test_a_certificate_that_does_not_fit(folder: Path, names: str, mode: int, code: str) -> None:
    certificate(folder, names)
    (folder / "key.pem").chmod(mode)
    result = sealgate("check", cwd=folder)
    assert result.status == 2
    assert code in result.err
    assert "is not sound" in result.out


def test_missing_certificate_files(folder: Path) -> None:
    certificate(folder, "localhost")
    (folder / "chain.pem").unlink()
    assert "certificate-unreadable" in sealgate("check", cwd=folder).err


def test_an_authority_that_is_none(folder: Path) -> None:
    (folder / "ca.pem").write_text("x")
    write(folder, POLICY + '[clients]\nmode = "required"\nauthorities = [{name = "p", file = "ca.pem"}]\n')
    result = sealgate("check", cwd=folder)
    assert result.status == 2
    assert "trust-unreadable" in result.err


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "x\x1b[31m"
    folder.mkdir()
    (folder / "sealgate.toml").write_text(
        '[certificate]\nsource="files"\nfiles={chain="[bold]x[/]", key="k"}'
    )
    (folder / "sealgate.toml").chmod(0o600)
    result = sealgate("check", cwd=folder)
    assert result.status == 2
    assert "\x1b" not in result.out + result.err
    assert "[bold]x[/]" in result.out


def test_on_a_terminal_it_has_colour_and_explains_who_is_who(folder: Path) -> None:
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sealgate", "check"],
        cwd=folder, stdout=terminal, env=environment(TERM="xterm-256color", COLUMNS="140"),
    )  # fmt: skip
    os.close(terminal)
    seen = _everything(master)
    assert process.wait(60) == 0
    assert "\x1b[1m" in seen
    assert "the one process that holds keys" in seen


def _everything(master: int) -> str:
    """What a terminal got, until its last writer is gone (EIO)."""
    seen = b""
    with os.fdopen(master, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while part := terminal.read(65536):
            seen += part
    return seen.decode()


def test_a_promise_that_the_kernel_cannot_keep_here_is_not_made(folder: Path) -> None:
    context = load_context(folder / "sealgate.toml", folder / "state")
    found = examine(context.loaded, context.state_path, clock=system_clock)
    bare = replace(found, confined=False, not_separated=("app workers can read private keys",))
    held = {row["promise"]: row["holds"] for row in bare.as_json()["enforcement"]}
    assert [promise for promise, holds in held.items() if not holds] == [
        "orders:app cannot read any private key"
    ]
    written = io.StringIO()
    show(bare, Console(file=written, width=120))
    assert "os: not here" in written.getvalue()
    assert "app workers can read private keys" in written.getvalue()
    assert "Separated:" not in written.getvalue()


def test_where_all_is_separated_it_says_so(folder: Path) -> None:
    context = load_context(folder / "sealgate.toml", folder / "state")
    found = replace(examine(context.loaded, context.state_path, clock=system_clock), not_separated=())
    written = io.StringIO()
    show(found, Console(file=written, width=160, force_terminal=True), whole=True)
    assert "the app can read no private key" in written.getvalue()
    assert "Envoy's HTTP parser" in written.getvalue()  # wide enough to say how


def test_in_front_of_an_upstream_it_does_not_speak_of_an_app(folder: Path) -> None:
    write(folder, 'site = {upstream = "http://127.0.0.1:9000"}\n')
    context = load_context(folder / "sealgate.toml", folder / "state")
    found = examine(context.loaded, context.state_path, clock=system_clock)
    assert not any("app workers" in text for text in found.not_separated)
    written = io.StringIO()
    show(replace(found, not_separated=()), Console(file=written, width=120))
    assert "the engine reads no key but its own" in written.getvalue()


def test_an_rsa_certificate_under_the_modern_profile(folder: Path) -> None:
    leaf = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("localhost", key_type=trustme.KeyType.RSA)
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    leaf.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    files = '[certificate]\nsource = "files"\nfiles = {chain = "chain.pem", key = "key.pem"}\n'
    write(folder, POLICY + files + '[tls]\nprofile = "modern@6.0"\n')
    assert "key-not-in-profile" in sealgate("check", cwd=folder).err


@pytest.mark.parametrize(
    ("mode", "code"), [(0o600, ""), (0o644, "secret-insecure"), (None, "secret-missing")]
)
def test_secrets_are_read_as_serve_reads_them(folder: Path, mode: int | None, code: str) -> None:
    hook = '[[monitor.alerts]]\nwebhook = "https://hooks.test/x"\nsecret = {file = "hook"}\n'
    write(folder, POLICY + hook)
    if mode is not None:
        (folder / "hook").write_text("s3cret-value\n")
        (folder / "hook").chmod(mode)
    result = sealgate("check", cwd=folder)
    assert (result.status, code in result.err) == (2 if code else 0, True)
    assert "s3cret-value" not in result.out + result.err


def test_behind_an_installed_server_nothing_of_ours_is_claimed(folder: Path) -> None:
    write(folder, '[site]\nupstream = "http://127.0.0.1:9000"\nengine = "nginx"\n')
    (folder / "nginx.conf").write_text("include conf.d/*.conf;\n")  # too short to say whose it is
    result = sealgate("check", "--server-config", "nginx.conf", cwd=folder)
    assert result.status == 0, result.err
    assert "Behind your own nginx" in result.out
    assert "Separated" not in result.out
    assert "Not separated" not in result.out
    assert "once you start `sealgate watch`" in result.out
    assert "Behind your own" not in sealgate("check", cwd=folder).out


def test_whose_a_file_is_that_does_not_say_it(folder: Path) -> None:
    (folder / "short.conf").write_text("include conf.d/*.conf;\n")
    (folder / "httpd.conf").write_text("Include conf.d/*.conf\n")
    assert sealgate("check", "--server-config", "httpd.conf", cwd=folder).status == 0
    assert "say which" in sealgate("check", "--server-config", "short.conf", cwd=folder).err
    (folder / "both").write_text("http {\n}\nServerRoot /x\n")
    assert "--engine apache or nginx." in sealgate("check", "--server-config", "both", cwd=folder).err


def test_certificate_files_that_are_not_there_are_told_with_the_other_mistakes(tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()
    (tmp_path / "sealgate.toml").write_text(
        'version = 1\n[certificate]\nsource = "files"\n'
        'files = { chain = "no.pem", key = "key.pem" }\n[limits]\nx = 1\n'
    )
    result = sealgate("check", cwd=tmp_path)
    assert result.status == 2
    assert "has 2 mistakes" in result.err
    assert 'certificate.files.chain (line 4): found "no.pem", which is not there' in result.err
    assert "limits.x (line 6): unknown key" in result.err
    assert "key.pem" not in result.err
