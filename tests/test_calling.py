"""`sealgate.client_context`: real handshakes, and files that change under it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import sealgate
from sealgate._system.clock import system_clock
from sealgate.calling import ClientContext
from sealgate.errors import CertificateError
from tests.live.served import free_port, loopback
from tests.pki.making import DAY, Made, make, write

NOW = system_clock()


def made(name: str, issuer: Made | None = None, **options) -> Made:
    usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    return make(name, issuer, first=NOW - DAY, last=NOW + DAY, usages=usages, **options)


@dataclass
class Server:
    """Tells who called: the CommonName of each client."""

    folder: Path
    root: Made
    host: str = field(default_factory=loopback)
    callers: list[str] = field(default_factory=list)
    port: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        leaf = made("server", self.root, names=(self.host, "localhost"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.root.pem.decode())
        context.load_cert_chain(write(self.folder / "server", leaf.key_pem + leaf.pem))
        self.port = free_port(self.host)
        listener = socket.create_server((self.host, self.port))
        thread = threading.Thread(target=self._serve, args=(listener, context))
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(20)

    def _serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            raw.settimeout(20)
            with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
                certificate = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")
                self.callers.append(certificate.subject.rfc4514_string())
                tls.sendall(b"ok")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = make("root", ca=True, usages=None, first=NOW - DAY, last=NOW + DAY)
    serving = Server(tmp_path_factory.mktemp("server"), root)
    with serving.running():
        yield serving


@dataclass
class Client:
    folder: Path
    server: Server

    def write(self, name: str, **halves: bytes) -> Made:
        leaf = made(name, self.server.root)
        for file, data in {"key": leaf.key_pem, "pem": leaf.pem, **halves}.items():
            path = write(self.folder / f"new.{file}", data)
            path.replace(self.folder / f"alice.{file}")
        return leaf

    def context(self, **options) -> ClientContext:
        paths = (self.folder / "alice.pem", self.folder / "alice.key", self.folder / "root.pem")
        return ClientContext(*paths, every=0, **options)

    def call(self, context: ssl.SSLContext) -> str:
        with (
            socket.create_connection((self.server.host, self.server.port), timeout=20) as raw,
            context.wrap_socket(raw, server_hostname=self.server.host) as tls,
        ):
            assert tls.recv(2) == b"ok"
        return self.server.callers[-1]


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Client:
    write(tmp_path / "root.pem", server.root.pem)
    made_client = Client(tmp_path, server)
    made_client.write("alice")
    return made_client


def test_the_public_name(client: Client) -> None:
    folder = client.folder
    context = sealgate.client_context(str(folder / "alice.pem"), folder / "alice.key", folder / "root.pem")
    assert client.call(context) == "CN=alice"
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    with pytest.raises(AttributeError):
        _ = sealgate.other


def test_it_follows_a_renewal(client: Client) -> None:
    context = client.context()
    assert client.call(context) == "CN=alice"
    client.write("alice-2")
    assert client.call(context) == "CN=alice-2"
    assert not context.refresh()


def test_half_a_pair_never_counts(client: Client) -> None:
    context = client.context()
    first = (client.folder / "alice.pem").read_bytes()
    leaf = client.write("alice-2", pem=first)
    assert client.call(context) == "CN=alice"
    assert "mismatch" in context.failed
    for bad in (b"", b"garbage", leaf.pem[:100]):
        write(client.folder / "alice.pem", bad)
        assert client.call(context) == "CN=alice"
    (client.folder / "alice.key").unlink()
    assert client.call(context) == "CN=alice"
    assert context.failed
    client.write("alice-3")
    assert client.call(context) == "CN=alice-3"
    assert not context.failed


def test_nothing_good_to_begin_with(client: Client) -> None:
    for name in ("alice.pem", "alice.key", "root.pem"):
        data = (client.folder / name).read_bytes()
        for bad in (b"", b"x" * (1024 * 1024 + 1), b"\xff" * 9):
            write(client.folder / name, bad)
            with pytest.raises(CertificateError) as caught:
                client.context()
            assert caught.value.code == "client-files"
        write(client.folder / name, data)


def test_a_strangers_server_is_refused(client: Client) -> None:
    stranger = make("root", ca=True, usages=None, first=NOW - DAY, last=NOW + DAY)
    write(client.folder / "root.pem", stranger.pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.call(client.context())


def test_a_new_root_counts_from_the_next_connection_on(client: Client) -> None:
    stranger = make("root-2", ca=True, usages=None, first=NOW - DAY, last=NOW + DAY)
    write(client.folder / "root.pem", stranger.pem)
    context = client.context()
    with pytest.raises(ssl.SSLCertVerificationError):
        client.call(context)
    write(client.folder / "root.pem", stranger.pem + client.server.root.pem)
    assert client.call(context) == "CN=alice"


def test_asyncio(client: Client) -> None:
    context = client.context()

    async def call() -> None:
        reader, writer = await asyncio.open_connection(client.server.host, client.server.port, ssl=context)
        assert await reader.read(2) == b"ok"
        writer.close()

    asyncio.run(call())
    assert client.server.callers[-1] == "CN=alice"


def test_a_socket_that_connects_later_and_one_that_does_not_wait(client: Client) -> None:
    context = client.context()
    server = client.server
    with context.wrap_socket(socket.socket(), server_hostname=server.host) as tls:
        tls.settimeout(20)
        tls.connect((server.host, server.port))
        assert tls.recv(2) == b"ok"
    with socket.create_connection((server.host, server.port), timeout=20) as raw:
        raw.setblocking(False)
        with pytest.raises(ValueError):
            context.wrap_socket(raw, server_hostname=server.host)


def test_many_connections_through_many_renewals(client: Client) -> None:
    """Each shows a whole pair: a half one could not finish its handshake."""
    context = client.context()
    stop = threading.Event()
    failures: list[BaseException] = []

    def calls() -> None:
        try:
            while not stop.is_set():
                client.call(context)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=calls) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(30):
        client.write(f"alice-{number}")
    for _ in range(10):
        client.call(context)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert client.call(context) == "CN=alice-29"


def test_it_looks_once_in_a_while_only(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    paths = (client.folder / "alice.pem", client.folder / "alice.key", client.folder / "root.pem")
    context = ClientContext(*paths, every=1.0, clock=lambda: now)
    looks = []
    stat = os.stat

    def looked(path: Path) -> os.stat_result:
        looks.append(path)
        return stat(path)

    monkeypatch.setattr("sealgate.calling.os.stat", looked)
    for now in (0.1, 0.9, 1.0, 1.5, 2.0):  # noqa: B007 - the clock reads it
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    assert len(looks) == 6
