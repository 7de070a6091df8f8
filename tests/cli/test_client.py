"""`sealgate client` as users type it, with no keeper running."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from tests.cli.calls import Result, environment, sealgate
from tests.pki.making import openssl, write


@pytest.fixture
def client(tmp_path: Path):
    """`client("list")`: with a state directory of its own."""

    def call(*words: str, **options) -> Result:
        return sealgate("client", words[0], "--state", "state", *words[1:], cwd=tmp_path, **options)

    return call


def test_a_life(client, tmp_path: Path) -> None:
    (tmp_path / "sealgate.toml").write_text("[clients.groups]\nops = []\n")
    made = client("add", "alice", "--group", "ops", "--uri", "urn:a:b", "--days", "7", "--out", "a", "--json")
    assert made.status == 0, made.err
    told = json.loads(made.out)
    assert told["files"] == ["a/alice.key", "a/alice.pem", "a/root.pem"]
    assert "PRIVATE" not in made.out + made.err
    assert stat.S_IMODE((tmp_path / "a/alice.key").stat().st_mode) == 0o600
    (row,) = json.loads(client("list", "--json").out)
    assert (row["name"], row["groups"], row["uris"], row["status"]) == (
        "alice",
        ["ops"],
        ["urn:a:b"],
        "valid",
    )
    assert "alice" in client("list").out
    renewed = client("renew", "alice", "--out", "a")
    assert renewed.status == 0, renewed.err
    shown = client("show", told["serial"][:10])
    assert told["serial"] in shown.out
    pem = client("show", "alice", "--pem").out.encode()
    assert x509.load_pem_x509_certificates(pem) == x509.load_pem_x509_certificates(
        (tmp_path / "a/alice.pem").read_bytes()
    )
    revoked = client("revoke", "alice", "--reason", "superseded")
    assert revoked.status == 0
    assert revoked.err.count("revoked: alice, serial ") == 2
    assert "no keeper runs here" in revoked.err
    listed = openssl("crl", "-in", tmp_path / "state/live/clients/crl.pem", "-noout", "-text").stdout
    assert listed.count(b"Superseded") == 2
    assert client("list", "--json").out.strip() == "[]"
    assert len(json.loads(client("list", "--all", "--json").out)) == 2


def there(folder: Path) -> list[str]:
    """Its files; an empty directory that was named with --out does no harm."""
    return sorted(str(path) for path in folder.rglob("*") if path.is_file() and path.parent.name != "live")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("add", "alice"), "client-exists"),
        (("add", "ALICE", "--out", "other"), "client-exists"),
        (("add", "bob", "--days", "0"), "client-days"),
        (("add", "x\x1b[31m"), "client-name"),
        (("add", "../../x"), "client-name"),
        (("add",), "usage-wrong"),
        (("add", "bob", "--from", "x.csv"), "usage-wrong"),
        (("add", "--from", "x.csv"), "client-table"),
        (("add", "bob", "--csr", "x.csr"), "csr-unreadable"),
        (("add", "bob", "--csr", "x.csr", "--p12"), "usage-wrong"),
        (("add", "bob", "--password-file", "x"), "usage-wrong"),
        (("add", "bob", "--p12"), "passphrase-missing"),
        (("add", "bob", "--p12", "--password-file", "open"), "key-readable-by-others"),
        (("add", "bob", "--p12", "--password-file", "short"), "passphrase-short"),
        (("add", "bob", "--p12", "--password-file", "none"), "passphrase-unreadable"),
        (("add", "bob", "--p12", "--password-fd", "77"), "passphrase-unreadable"),
        (("show", "alcie"), "client-unknown"),
        (("revoke", "nobody"), "client-unknown"),
        (("revoke", "alice", "--reason", "x"), "client-reason"),
        (("release", "alice"), "client-not-held"),
        (("renew", "nobody"), "client-unknown"),
        (("renew", "/etc/passwd"), "client-name"),
    ],
)
def test_what_is_wrong_is_one_sentence(made_once: Path, words: tuple[str, ...], code: str) -> None:
    before = there(made_once)
    done = sealgate("client", words[0], "--state", "state", *words[1:], cwd=made_once)
    assert done.status == 2, done.err
    assert done.err.startswith(f"sealgate: {code}: "), done.err
    assert len(done.err.splitlines()) == 1
    assert done.err.strip().isprintable()
    assert there(made_once) == before


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(folder / "open", b"long enough\n", 0o644)
    write(folder / "short", b"short\n")
    assert sealgate("client", "add", "alice", "--state", "state", "--out", "a", cwd=folder).status == 0
    return folder


def test_a_password_for_scripts(client, tmp_path: Path) -> None:
    write(tmp_path / "password", "gänseblümchen\nnot this\n".encode())
    assert client("add", "alice", "--p12", "--password-file", "password").status == 0
    loaded = pkcs12.load_pkcs12((tmp_path / "alice.p12").read_bytes(), "gänseblümchen".encode())
    assert loaded.key is not None
    words = [sys.executable, "-m", "sealgate", "client", "add", "bob", "--p12", "--password-fd", "9"]
    shell = ["bash", "-c", '"$@" 9<password', "-", *words, "--state", "state"]
    done = subprocess.run(
        shell, cwd=tmp_path, env=environment(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert pkcs12.load_pkcs12((tmp_path / "bob.p12").read_bytes(), "gänseblümchen".encode()).key


def on_a_terminal(folder: Path, *words: str, typed: list[str]) -> str:
    """What stands on the terminal after the program was typed to."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, "-m", "sealgate", *words], environment(TERM="dumb"))
    said, answered, end = b"", 0, time.monotonic() + 60
    while time.monotonic() < end:
        if typed and said[answered:].rstrip().endswith(b":"):  # each question is answered once
            os.write(terminal, typed.pop(0).encode() + b"\n")
            answered = len(said)
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                said += os.read(terminal, 4096)
            except OSError:
                break
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, said
    return said.decode(errors="replace")


def test_a_password_is_asked_for_without_echo(tmp_path: Path) -> None:
    words = ["client", "add", "alice", "--state", "state", "--p12"]
    said = on_a_terminal(tmp_path, *words, typed=["correct horse", "correct horse"])
    assert "correct horse" not in said
    assert pkcs12.load_pkcs12((tmp_path / "alice.p12").read_bytes(), b"correct horse").key


def test_a_password_is_made_and_shown_once(tmp_path: Path) -> None:
    said = on_a_terminal(tmp_path, "client", "add", "alice", "--state", "state", "--p12", typed=[""])
    (line,) = [line for line in said.splitlines() if "shown this once" in line]
    password = line.rpartition(" ")[2].strip()
    assert len(password) == 24
    assert pkcs12.load_pkcs12((tmp_path / "alice.p12").read_bytes(), password.encode()).key
    assert password.encode() not in (tmp_path / "state/store.db").read_bytes()


@pytest.mark.parametrize("how", ["curl", "httpx", "openssl", "requests"])
def test_lines_to_paste_quote_what_a_shell_or_python_would_read(client, tmp_path: Path, how: str) -> None:
    name = 'it\'s $(touch x);`id` "a" :b@example.org'
    assert client("add", name, "--cn", "x", "--out", "d").status == 0
    shown = client("show", name, "--as", how, "--dir", "d")
    assert shown.status == 0, shown.err
    if how in {"curl", "openssl"}:
        parsed = subprocess.run(
            ["bash", "-c", f"{how}() {{ printf '%s\\n' \"$@\"; }}; {shown.out}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert f"d/{name}.key" in parsed.stdout.splitlines()
        assert not (tmp_path / "x").exists()
    else:
        compile(shown.out, "lines", "exec")
        assert ascii(f"d/{name}.key") in shown.out


def test_a_request_of_somebody_else(client, tmp_path: Path) -> None:
    words = ["-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mallory", "-keyout", tmp_path / "k"]
    openssl("req", *words, "-out", tmp_path / "r.csr")
    done = client("add", "alice", "--csr", "r.csr")
    assert done.status == 0, done.err
    assert "cn=mallory; only names given here are taken" in done.err
    leaf = x509.load_pem_x509_certificates((tmp_path / "alice.pem").read_bytes())[0]
    assert leaf.subject.rfc4514_string() == "CN=alice"
    assert not (tmp_path / "alice.key").exists()
    assert client("renew", "alice", "--csr", "r.csr").status == 0


def test_a_table(client, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,groups\nann,ops\nben,\n")
    refused = client("add", "--from", "t.csv", "--out", "o")
    assert refused.status == 2
    assert 'client-group: there is no group "ops" in clients.groups; put `ops = []`' in refused.err
    (tmp_path / "sealgate.toml").write_text("[clients.groups]\nops = []\nall = []\n")
    for counted in (
        "2 issued, 0 completed from a run before, 0 there",
        "0 issued, 0 completed from a run before, 2",
    ):
        done = client("add", "--from", "t.csv", "--out", "o", "--group", "all")
        assert done.status == 0, done.err
        assert done.err.startswith(counted), done.err
        assert "\x1b" not in done.err
    rows = {row["name"]: row["groups"] for row in json.loads(client("list", "--json").out)}
    assert rows == {"ann": ["ops"], "ben": ["all"]}
    elsewhere = client("add", "--from", "t.csv", "--out", "p")
    assert "2 have a certificate whose files are not in p (ann, ben)" in elsewhere.err
