"""Which certificate a client is shown that takes one kind of signature: against a server of Python's own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealgate.engines.observe import compared, handshake
from sealgate.engines.presented import KINDS, leaf_of, presented
from sealgate.errors import NotObserved
from sealgate.monitor import gather
from sealgate.monitor.judge import judge
from sealgate.monitor.snapshot import Snapshot, from_json, to_json
from sealgate.pki.inspect import fingerprint
from sealgate.policy.model import Endpoint, Policy
from tests.monitor.made import NOW, snapshot

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KEYS: dict[str, Key] = {
    "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def _made(key: Key) -> x509.Certificate:
    now, name = datetime.now(UTC), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


MADE = {kind: _made(key) for kind, key in KEYS.items()}
PRINTS = {kind: fingerprint(certificate) for kind, certificate in MADE.items()}


def context(folder: Path, *kinds: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for kind in kinds:
        path = folder / f"{kind}.pem"
        private = KEYS[kind].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + MADE[kind].public_bytes(serialization.Encoding.PEM))
        made.load_cert_chain(path)
    return made


@pytest.fixture
def listener() -> Iterator[Callable[[Callable[[socket.socket], object]], Endpoint]]:
    """Calls a function with each connection, in a thread of its own."""
    sock = socket.create_server(("127.0.0.1", 0))

    def serve(function: Callable[[socket.socket], object]) -> Endpoint:
        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    function(connection)
                except OSError:
                    return

        def every() -> None:
            while True:
                try:
                    connection, _ = sock.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(connection,), daemon=True).start()

        threading.Thread(target=every, daemon=True).start()
        return Endpoint(*sock.getsockname())

    yield serve
    sock.close()


Serve = Callable[[Callable[[socket.socket], object]], Endpoint]


def _handshakes(made: ssl.SSLContext) -> Callable[[socket.socket], object]:
    def serve(connection: socket.socket) -> None:
        with made.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    return serve


@pytest.mark.parametrize("asked", [ssl.CERT_NONE, ssl.CERT_REQUIRED], ids=["open", "client certificates"])
def test_each_kind_sees_its_own_also_where_the_handshake_then_fails(
    tmp_path: Path, listener: Serve, asked: ssl.VerifyMode
) -> None:
    made = context(tmp_path, "ecdsa", "rsa")
    if asked is ssl.CERT_REQUIRED:
        made.load_verify_locations(cadata=MADE["ecdsa"].public_bytes(serialization.Encoding.DER))
    made.verify_mode = asked
    endpoint = listener(_handshakes(made))
    assert {kind: handshake(endpoint, "localhost", kind=kind).fingerprint for kind in KINDS} == PRINTS
    assert compared(endpoint, "localhost", PRINTS)[1] == ""


def test_one_that_is_not_served_is_told_from_another_certificate(tmp_path: Path, listener: Serve) -> None:
    endpoint = listener(_handshakes(context(tmp_path, "ecdsa")))
    with pytest.raises(NotObserved):
        handshake(endpoint, "localhost", kind="rsa")
    assert compared(endpoint, "localhost", {"ecdsa": PRINTS["ecdsa"]})[1] == ""
    assert compared(endpoint, "localhost", {})[1] == ""
    assert compared(endpoint, "localhost", PRINTS)[1] == (
        "serves no certificate to clients that take RSA signatures alone"
    )
    ecdsa, rsa = compared(endpoint, "localhost", PRINTS)[0].kinds
    assert (ecdsa.kind, ecdsa.differs, ecdsa.seen and ecdsa.seen.fingerprint) == (
        "ecdsa",
        "",
        PRINTS["ecdsa"],
    )
    assert (rsa.kind, rsa.differs != "", rsa.seen) == ("rsa", True, None)
    older = {**PRINTS, "ecdsa": "0" * 64}
    assert "not 0000000000000000 or" in compared(endpoint, "localhost", older)[1]


def test_an_older_second_is_seen(tmp_path: Path, listener: Serve) -> None:
    endpoint = listener(_handshakes(context(tmp_path, "ecdsa", "rsa")))
    seen, said = compared(endpoint, "localhost", {**PRINTS, "rsa": "0" * 64})
    assert [(one.kind, one.differs) for one in seen.kinds] == [("ecdsa", ""), ("rsa", said)]
    assert said.endswith("to clients that take RSA signatures alone, not 0000000000000000")


def test_who_watches_is_told_of_a_second_one_that_is_not_served(tmp_path: Path, listener: Serve) -> None:
    """By real handshakes: status, alert and readiness, although each ordinary client is served."""
    endpoint = listener(_handshakes(context(tmp_path, "ecdsa")))
    policy = Policy.model_validate({"listen": {"https": [str(endpoint)], "http": []}})
    (seen,) = gather.look(policy, PRINTS, NOW)
    assert [(one.kind, bool(one.problem), one.fingerprint) for one in seen.kinds] == [
        ("ecdsa", False, PRINTS["ecdsa"]),
        ("rsa", True, ""),
    ]
    whole = snapshot(listeners=(seen,))
    (alert,) = (one for one in judge(whole, NOW) if one.code == "certificate-not-served")
    assert "no certificate to clients that take RSA signatures alone" in alert.sentence
    assert from_json(Snapshot, to_json(whole)) == whole


def _certificate(der: bytes) -> bytes:
    listed = len(der).to_bytes(3) + der
    body = len(listed).to_bytes(3) + listed
    return b"\x0b" + len(body).to_bytes(3) + body


def _records(messages: bytes, size: int) -> bytes:
    parts = [messages[at : at + size] for at in range(0, len(messages), size)]
    return b"".join(b"\x16\x03\x03" + len(part).to_bytes(2) + part for part in parts)


HELLO = b"\x02\x00\x00\x04abcd"


@pytest.mark.parametrize("size", [1, 7, 16384])
def test_the_certificate_is_found_however_it_is_cut_into_records(size: int) -> None:
    assert leaf_of(_records(HELLO + _certificate(b"leaf"), size)) == b"leaf"


def test_what_is_cut_short_or_odd_is_no_certificate() -> None:
    whole = _records(HELLO + _certificate(b"leaf"), 9)
    for at in range(len(whole)):
        with pytest.raises(OSError, match="certificate"):
            leaf_of(whole[:at])
    empty = b"\x0b\x00\x00\x03\x00\x00\x00"
    long = b"\x0b\xff\xff\xff"
    for odd in (b"\x15\x03\x03\x00\x02\x02\x28", _records(HELLO + empty, 99), _records(long, 99)):
        with pytest.raises(OSError, match="certificate"):
            leaf_of(odd)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"])
def test_who_speaks_no_tls_or_goes_away_shows_none(listener: Serve, sent: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(sent)

    endpoint = listener(serve)
    with pytest.raises(NotObserved):
        handshake(endpoint, "localhost", kind="rsa")


def test_who_says_nothing_is_not_waited_for_longer_than_was_said(listener: Serve) -> None:
    ended = threading.Event()
    endpoint = listener(lambda connection: (connection.recv(4096), ended.wait(60)))
    where = (endpoint.host, endpoint.port)
    with socket.create_connection(where) as sock, pytest.raises(OSError, match="timed out"):
        presented(sock, None, "rsa", timeout=0.2)
    ended.set()
