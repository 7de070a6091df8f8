"""tls-alpn-01: the certificate of RFC 8737, its files, and the handshake that looks for it."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from sealgate._system.clock import system_clock
from sealgate.acme.order import Answer
from sealgate.acme.solvers.tls_alpn import AlpnFiles, AlpnSolver, answer_certificate, server_name
from sealgate.errors import AcmeError, StateInsecure
from sealgate.pki.inspect import names_of, pem_of
from sealgate.pki.keys import generate
from sealgate.policy.values import Endpoint
from tests.acme.solving import AlpnServer
from tests.live.served import free_port, loopback

ANSWER = Answer("api.example.test", "tls-alpn-01", "token", "token.thumbprint")
SECOND = Answer("192.0.2.1", "tls-alpn-01", "other", "other.thumbprint")


def test_the_certificate_is_that_of_the_rfc(tmp_path: Path) -> None:
    certificate = answer_certificate(ANSWER, generate("ecdsa-p256"), system_clock)
    oid = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
    extension = certificate.extensions.get_extension_for_oid(oid)
    assert extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == b"\x04\x20" + hashlib.sha256(b"token.thumbprint").digest()
    assert names_of(certificate) == ("api.example.test",)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_before_utc < system_clock() < certificate.not_valid_after_utc
    # openssl as a second opinion.
    (tmp_path / "c.pem").write_bytes(pem_of(certificate))
    words = ["openssl", "x509", "-in", str(tmp_path / "c.pem"), "-noout", "-text"]
    text = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "1.3.6.1.5.5.7.1.31: critical" in text or "acmeIdentifier: critical" in text


@pytest.mark.parametrize(
    ("name", "sni"),
    (
        ("api.example.test", "api.example.test"),
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        ("2001:db8::1", "1.0.0.0." + "0.0.0.0." * 5 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ),
)
def test_what_the_handshake_asks_for(name: str, sni: str) -> None:
    assert server_name(name) == sni


class Told:
    def __init__(self) -> None:
        self.last: Sequence[AlpnFiles] = ()

    def __call__(self, files: Sequence[AlpnFiles]) -> None:
        self.last = files
        assert all(one.chain.exists() and one.key.exists() for one in files)


def test_files_are_ours_alone_and_go_again(tmp_path: Path) -> None:
    told, folder = Told(), tmp_path / "challenges" / "alpn"
    solver = AlpnSolver(folder, told, (), clock=system_clock)
    solver.present([ANSWER, SECOND])
    assert [one.name for one in told.last] == ["1.2.0.192.in-addr.arpa", "api.example.test"]
    for one in told.last:
        assert one.key.stat().st_mode & 0o777 == 0o600
    solver.withdraw([SECOND])
    assert [one.name for one in told.last] == ["api.example.test"]
    # A later run knows nothing of the first, and finds it all the same.
    AlpnSolver(folder, told, (), clock=system_clock).withdraw([ANSWER, SECOND])
    assert list(folder.iterdir()) == []
    assert told.last == ()
    AlpnSolver(tmp_path / "missing", told, (), clock=system_clock).withdraw([ANSWER])
    solver.withdraw([Answer("x", "dns-01", "t", "k")])


def test_what_is_shown_is_compared(tmp_path: Path) -> None:
    host = loopback()
    server = AlpnServer(host, free_port(host))
    server.start()
    endpoint = Endpoint(*server.listener.getsockname())
    stale = AlpnSolver(tmp_path / "old" / "alpn", server.tell, (), clock=system_clock)
    try:
        AlpnSolver(tmp_path / "a" / "alpn", server.tell, [endpoint], clock=system_clock).present(
            [ANSWER, SECOND]
        )
        stale.present([ANSWER])
        solver = AlpnSolver(
            tmp_path / "b" / "alpn", lambda _files: None, [endpoint], clock=system_clock, seconds=0
        )
        with pytest.raises(AcmeError) as caught:
            solver.present([ANSWER])
        assert caught.value.code == "acme-alpn-not-answered"
        assert caught.value.details["seen"] == "other"
    finally:
        server.stop()
    with pytest.raises(AcmeError) as caught:
        solver.present([ANSWER])
    assert caught.value.details["seen"] == "closed"


def test_who_does_not_speak_it(tmp_path: Path) -> None:
    with socket.create_server((loopback(), 0)) as listener:
        endpoint = Endpoint(*listener.getsockname())
        solver = AlpnSolver(tmp_path / "alpn", lambda _files: None, [endpoint], clock=system_clock, seconds=0)
        listener.settimeout(20)

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(AcmeError) as caught:
            solver.present([ANSWER])
        thread.join(20)
    assert caught.value.details["seen"] == "broken"
    assert str(caught.value).isprintable()


def test_the_clock_is_asked(tmp_path: Path) -> None:
    then = system_clock() - timedelta(days=900)
    certificate = answer_certificate(ANSWER, generate("ecdsa-p256"), lambda: then)
    assert certificate.not_valid_after_utc < system_clock()


def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    theirs, folder = tmp_path / "theirs", tmp_path / "challenges" / "alpn"
    solver = AlpnSolver(folder, Told(), (), clock=system_clock)
    solver.present([ANSWER])
    folder.rename(theirs)
    folder.symlink_to(theirs)
    with pytest.raises(StateInsecure):
        solver.withdraw([ANSWER])
    assert list(theirs.rglob("key.pem"))
