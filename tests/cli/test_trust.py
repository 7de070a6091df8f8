"""`sealgate trust` as users type it. The home directory is the test's own; the system's store stays as is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.calls import Result, sealgate


@pytest.fixture
def trust(tmp_path: Path):
    home = tmp_path / "home"
    (home / ".pki/nssdb").mkdir(parents=True)
    words = ["certutil", "-N", "--empty-password", "-d", f"sql:{home}/.pki/nssdb"]
    subprocess.run(words, check=True, timeout=60)

    def call(*words: str) -> Result:
        return sealgate("trust", "--state", "state", *words, cwd=tmp_path, HOME=str(home))

    return call


def test_print_changes_nothing_and_ends_with_the_roots_path(trust, tmp_path: Path) -> None:
    result = trust("--print")
    assert result.status == 0, result.err
    last = result.out.splitlines()[-1]
    assert last == str(tmp_path / "state/authorities/root/root.pem")
    root = x509.load_pem_x509_certificate(Path(last).read_bytes())
    assert root.subject == root.issuer
    assert f"certutil -d sql:{tmp_path}/home/.pki/nssdb -A -t C,, " in result.out
    prefix = "" if os.geteuid() == 0 else "sudo "
    assert f"would run: {prefix}install -m 644 " in result.out
    assert all(not store["trusted"] for store in json.loads(trust("--print", "--json").out)["stores"])
    again = trust("--print")
    assert again.out == result.out
    removing = trust("--print", "--remove").out
    assert "would run" not in removing, "nothing is there to be removed"


def test_print_json(trust, tmp_path: Path) -> None:
    told = json.loads(trust("--print", "--json").out)
    assert told["root"] == str(tmp_path / "state/authorities/root/root.pem")
    assert {store["id"] for store in told["stores"]} >= {"nss"}
    assert told["certificate"]["authority"] is True


def test_remove_makes_no_root(trust, tmp_path: Path) -> None:
    result = trust("--remove")
    assert result.status != 0
    assert "state-missing" in result.err
    assert not (tmp_path / "state").exists()


def test_there_is_no_root_where_certificates_come_from_files(trust, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "sealgate.toml").write_text(
        'certificate = {source = "files", files = {chain = "chain.pem", key = "key.pem"}}\n'
    )
    result = trust("--print")
    assert "state-missing: there is no private root in " in result.err
    assert list((tmp_path / "state").iterdir()) == []
