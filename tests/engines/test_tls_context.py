"""One context that follows its files: what is swapped counts, what is broken does not, nothing is resumed."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from sealgate.engines.tls_context import (
    LiveContext,
    TlsSettings,
    groups_known,
    openssl_configuration,
    openssl_groups,
)
from sealgate.errors import EngineRefused
from sealgate.policy.profiles import load_profile

AUTHORITY = trustme.CA()
MODERN, INTERMEDIATE = load_profile("modern@6.0"), load_profile("intermediate@6.0")


@dataclass
class Files:
    """A live directory, and the settings of a context that reads it."""

    folder: Path
    settings: TlsSettings

    def publish(self, number: int) -> bytes:
        """A new pair, swapped in as the keeper does it; its DER."""
        leaf = AUTHORITY.issue_cert("localhost")
        version = self.folder / "versions" / str(number)
        version.mkdir(parents=True)
        (version / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        (version / "key.pem").write_bytes(leaf.private_key_pem.bytes())
        draft = self.folder / "draft"
        draft.symlink_to(f"versions/{number}")
        draft.rename(self.folder / "current")
        return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).symlink_to(f"current/{name}")
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "trust.pem"))
    settings = TlsSettings(
        chain=str(tmp_path / "chain.pem"),
        key=str(tmp_path / "key.pem"),
        trust=str(tmp_path / "trust.pem"),
        clients="off",
        protocols=INTERMEDIATE.protocols,
        tls12_suites=INTERMEDIATE.tls12_suites,
        groups=INTERMEDIATE.groups,
        server_preferred_order=False,
        alpn=("http/1.1",),
    )
    found = Files(tmp_path, settings)
    found.publish(1)
    return found


def client(*, version: ssl.TLSVersion | None = None, certificate: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if version is not None:
        context.maximum_version = version
    if certificate:
        AUTHORITY.issue_cert("alice@example.org").configure_cert(context)
    return context


def shake(
    server: ssl.SSLContext, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake in memory, and a byte each way: tickets come after it."""
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    served = server.wrap_bio(here, there, server_side=True)
    asking = context.wrap_bio(there, here, server_hostname="localhost", session=session)
    for _ in range(4):
        for end in (asking, served):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    asking.write(b"a")
    served.read(1)
    served.write(b"b")
    asking.read(1)
    return served, asking


def leaf(server: ssl.SSLContext) -> bytes:
    return shake(server, client())[1].getpeercert(binary_form=True) or b""


def test_a_new_pair_counts_as_a_whole(files: Files) -> None:
    context = LiveContext(files.settings, every=0)
    before = context.prepared
    assert context.prepared is before, "nothing changed, nothing is made"
    fresh = files.publish(2)
    assert leaf(context) == fresh
    assert context.prepared is not before


def test_the_files_are_looked_at_once_in_a_while(files: Files) -> None:
    now = [100.0]
    context = LiveContext(files.settings, every=0.2, clock=lambda: now[0])
    before = context.prepared
    files.publish(2)
    now[0] += 0.1
    assert context.prepared is before
    now[0] += 0.2
    assert context.prepared is not before


@pytest.mark.parametrize("damage", ["half", "garbage", "foreign", "gone", "encrypted"])
def test_a_broken_pair_never_replaces_a_good_one(files: Files, damage: str) -> None:
    said: list[str] = []
    context = LiveContext(files.settings, say=said.append, every=0)
    good = leaf(context)
    key = files.folder / "current" / "key.pem"
    content = key.read_bytes()
    if damage == "gone":
        key.unlink()
    elif damage == "foreign":
        key.write_bytes(AUTHORITY.issue_cert("localhost").private_key_pem.bytes())
    elif damage == "encrypted":
        key.write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n")
    else:
        key.write_bytes(content[: len(content) // 2] if damage == "half" else b"\0" * 100)
    assert leaf(context) == good
    assert leaf(context) == good
    assert len(said) == (0 if damage == "gone" else 1), "said once, not at each handshake"
    key.write_bytes(content)
    assert leaf(context) == good
    fresh = files.publish(2)
    assert leaf(context) == fresh


def test_nothing_to_begin_with_is_refused(files: Files) -> None:
    (files.folder / "current" / "key.pem").write_bytes(b"")
    with pytest.raises(EngineRefused, match="sealgate cert renew"):
        LiveContext(files.settings)


def test_trust_that_is_missing_is_never_no_trust(files: Files) -> None:
    (files.folder / "trust.pem").unlink()
    with pytest.raises(EngineRefused):
        LiveContext(replace(files.settings, clients="required"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("clients", ["optional", "required"])
def test_who_shows_a_certificate_shows_it_each_time(
    files: Files, clients: str, version: ssl.TLSVersion
) -> None:
    context = LiveContext(replace(files.settings, clients=clients))  # type: ignore[arg-type]  # one of two
    asking = client(version=version, certificate=True)
    served, first = shake(context, asking)
    assert served.getpeercert(binary_form=True)
    served, second = shake(context, asking, first.session)
    assert not second.session_reused
    assert served.getpeercert(binary_form=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_nobody_resumes_what_was_before_a_swap(files: Files, version: ssl.TLSVersion) -> None:
    context = LiveContext(files.settings, every=0)
    asking = client(version=version)
    _, first = shake(context, asking)
    _, second = shake(context, asking, first.session)
    assert second.session_reused, "without client certificates a ticket harms nobody"
    files.publish(2)
    _, third = shake(context, asking, first.session)
    assert not third.session_reused


def test_an_authority_that_is_gone_counts_no_more(files: Files) -> None:
    context = LiveContext(replace(files.settings, clients="required"), every=0)
    asking = client(certificate=True)
    _, first = shake(context, asking)
    trustme.CA().cert_pem.write_to_path(str(files.folder / "new.pem"))
    (files.folder / "new.pem").replace(files.folder / "trust.pem")
    with pytest.raises(ssl.SSLError):
        shake(context, asking, first.session)


def test_versions_suites_and_protocols_are_the_profiles(files: Files) -> None:
    served, _ = shake(LiveContext(files.settings), client(version=ssl.TLSVersion.TLSv1_2))
    assert served.cipher()[0] in INTERMEDIATE.tls12_suites  # type: ignore[index]  # a handshake was made
    assert served.selected_alpn_protocol() == "http/1.1"
    modern = replace(files.settings, protocols=MODERN.protocols, tls12_suites=MODERN.tls12_suites)
    with pytest.raises(ssl.SSLError):
        shake(LiveContext(modern), client(version=ssl.TLSVersion.TLSv1_2))
    weak = client(version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        shake(LiveContext(files.settings), weak)


@pytest.mark.parametrize("clients", ["off", "optional"])
def test_a_socket_is_served_by_the_newest_too(files: Files, clients: str) -> None:
    context = LiveContext(replace(files.settings, clients=clients), every=0)  # type: ignore[arg-type]  # one of two
    here, there = socket.socketpair()
    served: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: served.append(context.wrap_socket(here, server_side=True)))
    thread.start()
    with client().wrap_socket(there, server_hostname="localhost") as asking:
        assert asking.version() == "TLSv1.3"
    thread.join(10)
    served[0].close()


def test_settings_survive_json(files: Files) -> None:
    assert TlsSettings.from_dict(json.loads(json.dumps(files.settings.as_dict()))) == files.settings


def test_the_hybrid_group_comes_with_openssl_3_5() -> None:
    assert openssl_groups(INTERMEDIATE.groups, (3, 0, 19, 0, 0)) == "X25519:P-256:P-384"
    assert openssl_groups(INTERMEDIATE.groups, (3, 5, 0, 0, 0)) == "X25519MLKEM768:X25519:P-256:P-384"
    assert groups_known((3, 4)) < groups_known((4, 0))


def test_openssl_takes_the_configuration(files: Files, tmp_path: Path) -> None:
    """In a process of its own: P-521 is among OpenSSL's defaults, and not in the profile."""
    path = tmp_path / "openssl.cnf"
    path.write_bytes(openssl_configuration(INTERMEDIATE.groups))
    code = (
        "import ssl\n"
        "s, c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        f"s.load_cert_chain({files.settings.chain!r}, {files.settings.key!r})\n"
        "c.check_hostname = False; c.verify_mode = ssl.CERT_NONE; c.set_ecdh_curve('secp521r1')\n"
        "i, o = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
        "s = s.wrap_bio(i, o, server_side=True); c = c.wrap_bio(o, i)\n"
        "for end in (c, s, c, s):\n"
        "    try: end.do_handshake()\n"
        "    except ssl.SSLWantReadError: pass\n"
    )
    command = [sys.executable, "-c", code]
    for extra, status in (({}, 0), ({"OPENSSL_CONF": str(path)}, 1)):
        done = subprocess.run(
            command, env={**os.environ, **extra}, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr
