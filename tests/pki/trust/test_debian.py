"""The real update-ca-certificates on the real paths, in a mount namespace: what is outside never changes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sealgate._system.clock import system_clock
from sealgate.pki.server import ensure_server_certificate
from sealgate.pki.state import State
from sealgate.policy.model import Policy

_BOUND = ("/etc/ssl", "/etc/ca-certificates", "/usr/local/share/ca-certificates")

# Copies of the store are mounted over it; a hook notes what Java's keystore would be told.
_PREPARE = """
set -eu
for place in {places}; do
    mkdir -p "$1$place" && cp -a "$place/." "$1$place/" && mount --bind "$1$place" "$place"
done
printf '#!/bin/sh\\ncat >>"{hook}"\\n' >/etc/ca-certificates/update.d/zz-test
chmod 755 /etc/ca-certificates/update.d/zz-test
{java} || rm -f /etc/ca-certificates/update.d/jks-keystore
# Once, so that what others left half done by hand is not taken for ours.
update-ca-certificates >/dev/null 2>&1
: >"{hook}"
shift
exec "$@"
"""

_CHECK = """
import os, subprocess, sys
from pathlib import Path
from sealgate.cli.main import run

state, chain, places = sys.argv[1], sys.argv[2], sys.argv[3:]

def content(path):
    if path.is_symlink():
        return os.readlink(path)
    if path.name == "cacerts":  # Java's keystore is encrypted anew by each write: what it lists counts
        words = ["keytool", "-list", "-keystore", str(path), "-storepass", "changeit"]
        listed = subprocess.run(words, capture_output=True, text=True).stdout.splitlines()
        return sorted(line for line in listed if line.startswith("Certificate fingerprint"))
    return path.read_bytes() if path.is_file() else None

def snapshot():
    found = {}
    for place in places:
        for path in sorted(Path(place).rglob("*")):
            what = content(path)
            found[str(path)] = (path.lstat().st_mode, path.lstat().st_uid, what)
    return found

def believed():
    words = ["openssl", "verify", "-purpose", "sslserver", "-untrusted", chain, chain]
    return subprocess.run(words, capture_output=True).returncode == 0

before = snapshot()
assert not believed()
assert run(["trust", "--state", state]) == 0
assert believed(), "OpenSSL's default store has the root"
with_it = snapshot()
bundle = "/etc/ssl/certs/ca-certificates.crt"
assert Path(state, "authorities/root/root.pem").read_bytes() in with_it[bundle][2]
assert run(["trust", "--state", state]) == 0
assert snapshot() == with_it, "a second time changes nothing"
assert run(["trust", "--remove", "--state", state]) == 0
after = snapshot()
assert sorted(before) == sorted(after), sorted(set(before) ^ set(after))
assert before == after, [path for path in before if before[path] != after[path]]
assert not believed()
assert run(["trust", "--remove", "--state", state]) == 0
assert snapshot() == before
print("all of it")
"""


@pytest.mark.parametrize("java", ["false", pytest.param("true", marks=pytest.mark.long)])
def test_in_and_out_again_byte_for_byte(tmp_path: Path, java: str) -> None:
    """With Java's own hook too, where that is installed; it takes its time."""
    state, home = tmp_path / "state", tmp_path / "home"
    home.mkdir()
    live = ensure_server_certificate(State.open(state), Policy(), system_clock)
    hook = tmp_path / "hook.txt"
    prepare = _PREPARE.format(places=" ".join(_BOUND), hook=hook, java=java)
    words = [
        "unshare",
        "-m" if os.geteuid() == 0 else "-rm",
        "sh",
        "-c",
        prepare,
        "sh",
        str(tmp_path / "copy"),
    ]
    check = [sys.executable, "-c", textwrap.dedent(_CHECK), str(state), str(live.chain_path), *_BOUND]
    environment = {**os.environ, "HOME": str(home)}
    done = subprocess.run(
        [*words, *check],
        capture_output=True,
        text=True,
        timeout=150,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout.endswith("all of it\n"), done.stdout + done.stderr
    told = hook.read_text().split()
    assert [line[0] for line in told] == ["+", "-"], told
    assert told[0][1:] == told[1][1:]
    assert not list(Path("/usr/local/share/ca-certificates").glob("sealgate-root-*")), "nothing outside"
