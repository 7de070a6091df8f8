"""A real NSS database of the test's own, made and judged by certutil."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sealgate._system.clock import system_clock
from sealgate._system.commands import find
from sealgate.pki.inspect import pem_of
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.pki.trust import Root, add, find_stores, remove
from sealgate.pki.trust.store import Machine
from sealgate.pki.vault import load_certificates
from sealgate.policy.model import Policy


def certutil(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = ["certutil", "-d", f"sql:{folder}", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    for folder in (home / ".pki/nssdb", home / ".mozilla/firefox/abc.default"):
        folder.mkdir(parents=True)
        assert certutil(folder, "-N", "--empty-password").returncode == 0
    return Machine(home=home, system=tmp_path / "nothing", has=lambda name: find(name) is not None)


def dump(machine: Machine) -> list[str]:
    """All that the databases say they hold: certificates with their trust, and keys."""
    folders = sorted(path.parent for path in machine.home.rglob("cert9.db"))
    return [certutil(folder, option).stdout for folder in folders for option in ("-L", "-K")]


def nss(machine: Machine, root: Root):
    return [one for one in find_stores(root, machine) if one.store.id == "nss"]


def test_in_it_servers_are_believed_and_out_of_it_nothing_is_left(tmp_path: Path, machine: Machine) -> None:
    state = State.open(tmp_path / "state")
    live = ensure_server_certificate(state, Policy(), system_clock)
    certificates = load_certificates(state)
    assert certificates is not None
    root = Root(certificates["root"], state.root_pem)
    before = dump(machine)
    assert [one.trusted for one in nss(machine, root)] == [False, False]
    for one in nss(machine, root):
        add(one, root)
    assert [one.trusted for one in nss(machine, root)] == [True, True]
    changed = dump(machine)
    for one in nss(machine, root):
        add(one, root)  # a second time changes nothing
    assert dump(machine) == changed

    folder = nss(machine, root)[0].place.path
    chain = tmp_path / "servers.pem"
    chain.write_bytes(pem_of(certificates["servers"]))
    (tmp_path / "leaf.pem").write_bytes(pem_of(live.leaf))
    assert certutil(folder, "-A", "-t", ",,", "-n", "servers", "-i", chain).returncode == 0
    assert certutil(folder, "-A", "-t", ",,", "-n", "leaf", "-i", tmp_path / "leaf.pem").returncode == 0
    judged = certutil(folder, "-V", "-u", "V", "-n", "leaf")
    assert "certificate is valid" in judged.stdout, judged
    for name in ("leaf", "servers"):
        certutil(folder, "-D", "-n", name)

    for one in nss(machine, root):
        remove(one, [root])
        remove(one, [root])  # and again
    assert dump(machine) == before
    assert [one.trusted for one in nss(machine, root)] == [False, False]
