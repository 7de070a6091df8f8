"""What each store would be told, as data: no store is touched here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealgate.errors import TrustStoreError
from sealgate.pki import trust
from sealgate.pki.authority import build_root
from sealgate.pki.inspect import fingerprint
from sealgate.pki.keys import generate
from sealgate.pki.trust import Found, Root, add, find_stores, remove, stores, this_machine
from sealgate.pki.trust.store import Machine
from tests.pki.making import NOW

ROOT = Root(build_root(generate("ecdsa-p256"), now=NOW), Path("/state dir/root.pem"))
FILE = f"sealgate-root-{fingerprint(ROOT.certificate)[:16]}"


def machine(tmp_path: Path, *programs: str) -> Machine:
    return Machine(home=tmp_path / "home", system=tmp_path, has=lambda name: name in programs)


def only(found: tuple[Found, ...]) -> Found:
    assert len(found) == 1
    return found[0]


def test_every_module_is_found_and_has_its_constant() -> None:
    assert [store.id for store in stores()] == ["debian", "fedora", "macos", "nss"]
    modules = {path.stem for path in Path(trust.__file__).parent.glob("*.py")} - {"__init__", "store"}
    assert modules == {store.id for store in stores()}


def test_a_bare_machine_has_none(tmp_path: Path) -> None:
    assert find_stores(ROOT, machine(tmp_path)) == ()


def test_debian(tmp_path: Path) -> None:
    found = only(find_stores(ROOT, machine(tmp_path, "update-ca-certificates")))
    anchors = f"{tmp_path}/usr/local/share/ca-certificates"
    assert found.adding(ROOT, sudo=True) == (
        f"sudo install -m 644 '/state dir/root.pem' {anchors}/{FILE}.crt && sudo update-ca-certificates"
    )
    assert found.removing(ROOT, sudo=True).startswith(f"sudo rm -f {anchors}/{FILE}.crt && sudo sh -c ")
    assert found.removing(ROOT).endswith(f" sh {FILE}.crt")


def test_fedora(tmp_path: Path) -> None:
    anchors = tmp_path / "etc" / "pki" / "ca-trust" / "source" / "anchors"
    anchors.mkdir(parents=True)
    found = only(find_stores(ROOT, machine(tmp_path, "update-ca-trust")))
    assert (
        found.adding(ROOT)
        == f"install -m 644 '/state dir/root.pem' {anchors}/{FILE}.pem && update-ca-trust extract"
    )
    assert found.removing(ROOT) == f"rm -f {anchors}/{FILE}.pem && update-ca-trust extract"


def test_macos(tmp_path: Path) -> None:
    keychain = tmp_path / "Library" / "Keychains" / "System.keychain"
    keychain.parent.mkdir(parents=True)
    keychain.touch()
    found = only(find_stores(ROOT, machine(tmp_path, "security")))
    assert found.adding(ROOT, sudo=True) == (
        f"sudo security add-trusted-cert -d -r trustRoot -k {keychain} '/state dir/root.pem'"
    )
    assert found.removing(ROOT) == f"security delete-certificate -t -Z {ROOT.sha1} {keychain}"


def test_nss_databases_are_found_where_browsers_keep_them(tmp_path: Path) -> None:
    here = machine(tmp_path, "certutil")
    folders = [".pki/nssdb", ".mozilla/firefox/abc.default", "snap/firefox/common/.mozilla/firefox/x.y"]
    for folder in folders:
        (here.home / folder).mkdir(parents=True)
        (here.home / folder / "cert9.db").touch()
    (here.home / ".mozilla/firefox/Crash Reports").mkdir()
    found = find_stores(ROOT, here)
    assert {str(one.place.path.relative_to(here.home)) for one in found} == set(folders)
    line = found[0].adding(ROOT)
    assert (
        line == f"certutil -d sql:{here.home}/.pki/nssdb -A -t C,, -n '{ROOT.name}' -i '/state dir/root.pem'"
    )


def test_without_its_program_a_database_is_named_and_not_changed(tmp_path: Path) -> None:
    here = machine(tmp_path)
    (here.home / ".pki/nssdb").mkdir(parents=True)
    (here.home / ".pki/nssdb/cert9.db").touch()
    with pytest.raises(TrustStoreError) as caught:
        add(only(find_stores(ROOT, here)), ROOT)
    assert caught.value.code == "trust-tool-missing"
    assert "libnss3-tools" in caught.value.remedy


def test_who_is_not_root_gets_the_line_to_type(tmp_path: Path, monkeypatch) -> None:
    found = only(find_stores(ROOT, machine(tmp_path, "update-ca-certificates")))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(TrustStoreError) as caught:
        add(found, ROOT)
    assert caught.value.code == "trust-needs-root"
    assert caught.value.remedy == f"type: {found.adding(ROOT, sudo=True)}"
    remove(found, [ROOT])  # it is not there, so nothing is needed
    assert not (tmp_path / "usr").exists()


def test_a_store_that_fails_says_what_it_said(tmp_path: Path, monkeypatch) -> None:
    here = machine(tmp_path, "certutil")
    (here.home / ".pki/nssdb").mkdir(parents=True)
    (here.home / ".pki/nssdb/cert9.db").write_text("no database")
    with pytest.raises(TrustStoreError) as caught:
        add(only(find_stores(ROOT, here)), ROOT)
    assert caught.value.code == "trust-failed"
    assert "certutil" in str(caught.value)


def test_this_machine_is_the_users(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    here = this_machine()
    assert (here.home, here.system) == (tmp_path, Path("/"))
    assert here.has("sh")
    assert not here.has("sealgate-no-such-program")
