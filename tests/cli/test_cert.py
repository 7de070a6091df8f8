"""`sealgate cert` as users type it, with no keeper running."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509

from sealgate._system.clock import system_clock
from sealgate._system.files import FileLock
from sealgate.pki.inspect import fingerprint
from sealgate.pki.keys import load_private
from tests.cli.calls import Result, sealgate
from tests.pki.making import DAY, make, openssl, write


@pytest.fixture
def cert(tmp_path: Path):
    """`cert("list")`: with a state directory of its own."""

    def call(*words: str, **options) -> Result:
        return sealgate("cert", words[0], "--state", "state", *words[1:], cwd=tmp_path, **options)

    return call


def test_renew_makes_one_and_list_and_show_tell_of_it(cert, tmp_path: Path) -> None:
    made = cert("renew")
    assert made.status == 0, made.err
    assert made.out == ""
    listed = json.loads(cert("list", "--json").out)
    shown = json.loads(cert("show", "--json").out)
    assert [row["live"] for row in listed] == [True]
    assert listed[0]["fingerprint_sha256"] == shown["fingerprint_sha256"]
    assert shown["names"] == ["localhost"]
    assert shown["renewed_from"] > shown["not_before"]
    assert "localhost" in cert("list").out
    pem = cert("show", "--pem").out.encode()
    assert len(x509.load_pem_x509_certificates(pem)) == 2
    text = cert("show").out
    assert shown["fingerprint_sha256"] in text
    assert "PRIVATE" not in text + pem.decode()


def test_renew_if_due(cert) -> None:
    first = json.loads(cert("renew", "--if-due", "--json").out)
    again = json.loads(cert("renew", "--if-due", "--json").out)
    forced = json.loads(cert("renew", "--json").out)
    assert (first["renewed"], again["renewed"], forced["renewed"]) == (True, False, True)
    assert len(json.loads(cert("list", "--json").out)) == 2


def test_before_there_is_one(cert, tmp_path: Path) -> None:
    for words in (["list"], ["show"]):
        result = cert(*words)
        assert (result.status, "state-missing" in result.err) == (3, True)
    assert not (tmp_path / "state").exists(), "looking makes nothing"


def test_a_new_name_needs_a_new_root_and_the_message_says_how(cert, tmp_path: Path) -> None:
    assert cert("renew").status == 0
    (tmp_path / "sealgate.toml").write_text(
        '[site]\nnames = ["api.example.com"]\nupstream = "http://127.0.0.1:9"\n'
    )
    refused = cert("renew")
    assert refused.status == 3
    assert refused.err.startswith("sealgate: authority-name-not-covered: ")
    assert "cert renew --new-root" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    asked = cert("renew", "--new-root")
    assert (asked.status, "confirmation-missing" in asked.err) == (2, True)
    made = cert("renew", "--new-root", "--yes")
    assert made.status == 0, made.err
    assert "sealgate trust" in made.err
    assert "new root " in made.err
    assert re.search(r"for api\.example\.com is live until \d{4}-\d\d-\d\d \d\d:\d\d UTC\n", made.err)
    rows = cert("list").out.splitlines()
    assert "site" in rows[0]
    assert [row.split()[:2] for row in rows[1:]] == [["live", "api.example.com"], ["other", "site"]]
    assert {row["kind"] for row in json.loads(cert("list", "--json").out)} == {"private"}
    for words in (["revoke", "--yes"], ["revoke"], ["deactivate"]):  # before anybody is asked
        unheard = cert(*words)
        assert (unheard.status, "none can revoke it" in unheard.err) == (2, True)
    assert json.loads(cert("show", "--json").out)["names"] == ["api.example.com"]


def test_the_roots_key_can_be_kept(cert, tmp_path: Path) -> None:
    write(tmp_path / "pass", b"a long passphrase\n")
    words = ["--new-root", "--yes", "--keep-root-key", "root.key", "--passphrase-file", "pass"]
    made = cert("renew", *words)
    assert made.status == 0, made.err
    assert stat.S_IMODE((tmp_path / "root.key").stat().st_mode) == 0o600
    opened = openssl("pkey", "-in", tmp_path / "root.key", "-passin", f"file:{tmp_path / 'pass'}", "-pubout")
    root = x509.load_pem_x509_certificate((tmp_path / "state/authorities/root/root.pem").read_bytes())
    from cryptography.hazmat.primitives import serialization as s

    assert opened.stdout == root.public_key().public_bytes(
        s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo
    )
    assert cert("renew", *words).err.startswith("sealgate: root-key-exists: ")
    assert cert("renew", "--keep-root-key", "other.key").status == 2
    (tmp_path / "pass").chmod(0o644)
    loose = cert("renew", "--keep-root-key", "third.key", *words[:2], *words[4:])
    assert (loose.status, "key-readable-by-others" in loose.err) == (2, True)


def test_request_and_import(cert, tmp_path: Path) -> None:
    asked = cert("request")
    assert asked.status == 0, asked.err
    assert asked.out.startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
    now = x509.load_pem_x509_csr(asked.out.encode())
    assert now.is_signature_valid
    first, last = system_clock() - DAY, system_clock() + 9 * DAY
    ca = make("ca", ca=True, first=first, last=last)
    key = load_private(tmp_path / "state/requests/localhost/key.pem")
    leaf = make("x", ca, names=["localhost"], key=key, first=first, last=last)
    wrong = make("x", ca, names=["localhost"], first=first, last=last)
    write(tmp_path / "chain.pem", leaf.pem + ca.pem)
    write(tmp_path / "wrong.pem", wrong.pem)
    refused = cert("import", "wrong.pem")
    assert (refused.status, refused.err.split(":")[1].strip()) == (3, "key-mismatch")
    taken = cert("import", "chain.pem")
    assert taken.status == 0, taken.err
    assert taken.out.startswith('[certificate]\nsource = "files"\n')
    (tmp_path / "sealgate.toml").write_text('[site]\nupstream = "http://127.0.0.1:9"\n' + taken.out)
    assert cert("renew", "--if-due").status == 0
    assert json.loads(cert("show", "--json").out)["fingerprint_sha256"] == fingerprint(leaf.certificate)
    # Another one for the same files is live at once.
    write(tmp_path / "key.pem", wrong.key_pem)
    told = json.loads(cert("import", "wrong.pem", "--key", "key.pem", "--json").out)
    assert told["live"] is True
    assert json.loads(cert("show", "--json").out)["fingerprint_sha256"] == fingerprint(wrong.certificate)


def test_while_another_works_on_the_state_it_says_who(cert, tmp_path: Path) -> None:
    assert cert("renew").status == 0
    with FileLock(tmp_path / "state" / "keeper.lock"):
        busy = cert("renew")
    assert busy.status == 3
    assert busy.err.startswith("sealgate: state-busy: ")
    assert str(os.getpid()) in busy.err
    assert cert("list").status == 0, "looking needs no lock"


def test_killed_while_renewing_what_is_live_stays_whole(cert, tmp_path: Path) -> None:
    """From outside, at any moment: SIGKILL after a few milliseconds, many times."""
    assert cert("renew").status == 0
    code = "import sys; from sealgate.cli.main import run; print('go', flush=True); run(sys.argv[1:])"
    for number in range(4):
        words = [sys.executable, "-c", code, "cert", "renew", "--state", "state"]
        with subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(0.25 + number * 0.08)
            except subprocess.TimeoutExpired:
                process.kill()
        shown = cert("show", "--json")
        assert shown.status == 0, shown.err
        files = json.loads(shown.out)["files"]
        key = load_private(Path(files["key"]).resolve())
        leaf = x509.load_pem_x509_certificate(Path(files["chain"]).read_bytes())
        assert key.public_key() == leaf.public_key()


def test_force_is_what_is_done_anyway(cert) -> None:
    assert cert("renew").status == 0
    before = json.loads(cert("show", "--json").out)["fingerprint_sha256"]
    assert cert("renew", "--force").status == 0
    assert json.loads(cert("show", "--json").out)["fingerprint_sha256"] != before
    refused = cert("renew", "--force", "--if-due")
    assert refused.status == 2
    assert "opposite" in refused.err


def test_an_authority_is_not_asked_for_what_the_engine_cannot_answer(cert, tmp_path: Path) -> None:
    """Nobody listens there: had it been asked, that would be what is said."""
    (tmp_path / "sealgate.toml").write_text(
        '[site]\nnames = ["api.example.com"]\nengine = "nginx"\nupstream = "http://127.0.0.1:1"\n'
        '[certificate]\nsource = "acme"\n'
        '[certificate.acme]\ndirectory = "https://127.0.0.1:1/dir"\nchallenge = "tls-alpn-01"\n'
    )
    refused = cert("renew")
    assert refused.status == 2
    assert "engine-cannot" in refused.err
    assert "http-01" in refused.err


def test_without_a_server_nothing_is_promised_to_happen_by_itself(cert, tmp_path: Path) -> None:
    (tmp_path / "sealgate.toml").write_text(
        '[site]\nnames = ["api.example.com"]\nupstream = "http://127.0.0.1:1"\n'
        '[certificate]\nsource = "acme"\n'
        '[certificate.acme]\ndirectory = "https://127.0.0.1:1/dir"\n'
    )
    failed = cert("renew")
    assert "acme-unreachable" in failed.err
    assert "by itself" not in failed.err
    assert "by a timer" in failed.err
