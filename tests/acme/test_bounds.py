"""What an authority may take of us: time, memory, requests, and its word for what it has done."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sealgate._system.clock import system_clock
from sealgate.acme import account, answers, chain, ending, leftovers, network
from sealgate.acme.authority import Authority
from sealgate.acme.client import Client
from sealgate.acme.network import Network
from sealgate.errors import AcmeError
from sealgate.pki.keys import generate, to_pem
from sealgate.pki.state import State
from tests.acme.fake import Asked, Fake, Said, fake_authority, problem
from tests.acme.test_client import SIGNER, code_of, opened
from tests.acme.test_odd_authorities import Caller
from tests.live.served import free_port


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with fake_authority(tmp_path_factory.mktemp("fake")) as authority:
        yield authority


@pytest.fixture
def fake(running: Fake) -> Fake:
    running.odd, running.asked, running.meta, running.more = {}, [], {}, {}
    return running


@pytest.fixture
def caller(fake: Fake, tmp_path: Path) -> Caller:
    return Caller(fake, State.open(tmp_path / "state"))


def test_nothing_is_sent_once_the_time_is_over(fake: Fake) -> None:
    assert code_of(lambda: Client.open(fake.authority(), clock=system_clock, seconds=0)) == "acme-timeout"
    assert not fake.asked
    with Client.open(fake.authority(), clock=system_clock, seconds=100) as client:
        client.account(SIGNER)
        asked = len(fake.asked)
        client.network.until = time.monotonic()
        assert code_of(lambda: client.account(SIGNER)) == "acme-timeout"
        said: list[str] = []
        leftovers.give_up(client, SIGNER, [f"{fake.base}/authz/{n}" for n in range(50)], said.append)
        assert len(said) == 1
        assert len(fake.asked) == asked


def test_an_answer_ends_with_the_attempt(fake: Fake) -> None:
    release = threading.Event()

    def silent(_connection: Any) -> None:
        release.wait(60)

    with Client.open(fake.authority(), clock=system_clock, seconds=100) as client:
        fake.odd = {"/slow": lambda _asked: Said(raw=silent)}
        client.network.until = time.monotonic() + 0.5
        began = time.monotonic()
        try:
            assert code_of(lambda: client.get(f"{fake.base}/slow")) == "acme-unreachable"
        finally:
            release.set()
        assert time.monotonic() - began < 25, "less than one read may take"


def test_our_own_work_takes_nothing_of_the_time(fake: Fake) -> None:
    with opened(fake) as client:
        until = client.network.until
        with client.not_counted():
            began = time.monotonic()
            while time.monotonic() < began + 0.02:
                pass
        assert client.network.until >= until + 0.02


def test_so_many_refused_nonces_are_enough(fake: Fake) -> None:
    with opened(fake) as client:
        fake.odd = {"/account": lambda _asked: problem("badNonce", 400)}
        assert code_of(lambda: client.account(SIGNER)) == "acme-nonces-refused"
        assert fake.count("/account") == 24


def test_more_authorizations_than_names_explain(caller: Caller) -> None:
    fake = caller.fake

    def many(asked: Asked) -> Said:
        said = fake._usual(asked)
        fake.order["authorizations"] = [f"{fake.base}/authz/{n}" for n in range(200)]
        return said

    fake.odd = {"/order": many}
    error = caller.error()
    assert error.code == "acme-answer-invalid"
    assert "200 authorizations for 2 names" in error.fact
    assert fake.count(r"/authz/\d+") <= 100, "given up: not without end"


def test_every_address_of_a_name_within_the_time_of_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    class Hanging(socket.socket):
        def connect(self, _address: Any) -> None:
            tried.append(self.gettimeout() or 0)
            end = time.monotonic() + (self.gettimeout() or 0)
            while (left := end - time.monotonic()) > 0:
                time.sleep(left)
            raise TimeoutError("timed out")

    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))] * 60
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: infos)
    monkeypatch.setattr(socket, "socket", Hanging)
    monkeypatch.setattr(network, "CONNECT", 0.1)
    monkeypatch.setattr(network, "WHOLE", 0.35)
    there = Network(Authority("https://many.test/dir"))
    assert code_of(lambda: there.send("GET", "https://many.test/dir")) == "acme-unreachable"
    assert 1 <= len(tried) <= 6


def test_the_second_address_is_tried_where_the_first_is_closed(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (fake.host, free_port(fake.host)))
    good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (fake.host, fake.port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [closed, good])
    opened(fake).close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [])
    assert code_of(lambda: opened(fake)) == "acme-unreachable"


HEADS = {
    "a line of a chunk's size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    "a trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    "a body": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_bytes_are_counted_whatever_they_are(
    fake: Fake, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    usual = ssl.SSLSocket.recv_into

    def counted(self: ssl.SSLSocket, *args: Any) -> int:
        nonlocal read
        count = usual(self, *args)
        read += count
        return count

    def endless(connection: Any) -> None:
        connection.sendall(head)
        for _ in range(64):
            connection.sendall(b"a" * (1 << 18))

    with opened(fake) as client:
        # As where the library gathers a line without end (urllib3 before 2.8).
        monkeypatch.setattr("http.client._MAXLINE", 1 << 30)
        monkeypatch.setattr(ssl.SSLSocket, "recv_into", counted)
        monkeypatch.setattr(network, "_FRAME", 1 << 16)
        fake.odd = {"/endless": lambda _asked: Said(raw=endless)}
        code = code_of(lambda: client.get(f"{fake.base}/endless"))
    assert code in ("acme-answer-invalid", "acme-unreachable")
    assert read < 3 << 20


def test_a_socket_reads_no_more_than_an_answer_may_have(fake: Fake) -> None:
    with opened(fake) as client:
        usual = client.network._context.room
        assert usual < network.LARGEST + network._FRAME, "what was read is counted"

        def headers(connection: Any) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for _ in range(90):
                connection.sendall(b"X: " + b"a" * 60_000 + b"\r\n")

        fake.odd = {"/headers": lambda _asked: Said(raw=headers)}
        assert code_of(lambda: client.get(f"{fake.base}/headers")) == "acme-answer-invalid"


@pytest.mark.parametrize(
    "url", ("https://[x", "https://x:99999/", "https://x:0/", "https://:443/", "https://x:a/")
)
def test_an_address_of_no_place(url: str) -> None:
    assert code_of(lambda: answers.https_address(url, "h", "it")) == "acme-answer-invalid"


@pytest.mark.parametrize("gone", ("unreachable", "failing", "limited"))
def test_an_order_that_cannot_be_looked_at_is_not_waited_for_for_ever(caller: Caller, gone: str) -> None:
    fake, now = caller.fake, system_clock()
    where = (
        f"https://{fake.host}:{free_port(fake.host)}/gone" if gone == "unreachable" else f"{fake.base}/gone"
    )
    answer = Said(500, b"") if gone == "failing" else problem("rateLimited", 429)
    fake.odd = {
        "/gone": lambda _asked: answer,
        "/order": lambda asked: Said(201, fake._usual(asked).body, {"Location": where}),
        "/finalize": lambda _asked: Said(500, b""),
    }
    caller.error()
    fake.odd = {"/gone": lambda _asked: answer}
    codes = {
        "unreachable": "acme-unreachable",
        "failing": "acme-authority-failed",
        "limited": "acme-rate-limited",
    }
    assert caller.error().code == codes[gone], "for an hour: what passes by itself"

    path = next((caller.state.path / "acme").rglob("order.json"))
    text = path.read_text()
    year, old = f"{now:%Y}", f"{now - timedelta(days=400):%Y}"
    path.write_text(text.replace(f'"began": "{year}', f'"began": "{old}'))
    assert path.read_text() != text
    assert caller.get().chain_pem


@pytest.mark.parametrize("status", (204, 302, 304, 308))
def test_only_200_says_that_it_is_revoked(fake: Fake, status: int) -> None:
    with opened(fake) as client:
        client.revoke(SIGNER, fake.root, 1)
        fake.odd = {"/revoke": lambda _asked: Said(status, b"", {"Location": f"{fake.base}/revoke"})}
        assert code_of(lambda: client.revoke(SIGNER, fake.root, 1)) == "acme-answer-invalid"
        fake.odd = {"/revoke": lambda _asked: Said(200, b" <html>maintenance</html>")}
        assert code_of(lambda: client.revoke(SIGNER, fake.root, 1)) == "acme-answer-invalid"


@pytest.mark.parametrize(
    "said",
    (
        Said(308, b"", {"Location": "https://elsewhere.test/"}),
        Said(200, b"<html>maintenance</html>"),
        Said(200, {"status": "valid"}),
        Said(204, b""),
    ),
)
def test_the_accounts_key_is_kept_until_it_is_given_up(caller: Caller, said: Said) -> None:
    fake, authority = caller.fake, caller.fake.authority()
    with opened(fake) as client:
        account.ensure(client, authority, caller.state, say=caller.said.append)
    key = account.AccountFiles(caller.state, authority).key
    fake.odd = {"/account/1": lambda _asked: said}
    assert code_of(lambda: ending.deactivate(caller.state, [authority], clock=system_clock)) == (
        "acme-answer-invalid"
    )
    assert key.exists()
    fake.odd = {}
    assert ending.deactivate(caller.state, [authority], clock=system_clock) == (authority.directory,)
    assert not key.exists()


KEY, ISSUER = generate("ecdsa-p256"), ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A")])


def certificate(*further: tuple[x509.ExtensionType, bool]) -> bytes:
    now = system_clock()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(NAME)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.test")]), critical=True)
    )
    for extension, critical in further:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(ISSUER, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def judged(pem: bytes) -> Callable[[], object]:
    return lambda: chain.checked(pem, to_pem(KEY), ["a.test"], now=system_clock(), host="h")


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])


def test_what_clients_would_refuse_is_not_taken() -> None:
    judged(certificate())()
    judged(certificate((UNKNOWN, False)))()
    constraints = x509.NameConstraints([x509.DNSName("b.test")], None)
    for further in ((MUST_STAPLE, False), (UNKNOWN, True), (constraints, True)):
        assert code_of(judged(certificate(further))) == "acme-chain-unfit"


def test_a_long_chain_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "check_pair", lambda *_args, **_more: pytest.fail("it was read"))
    with pytest.raises(AcmeError) as caught:
        judged(certificate() * 11)()
    assert (caught.value.code, caught.value.details["reason"]) == ("acme-chain-unfit", "chain-long")
