"""Client certificates: whose count, and when."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate.pki.issue import issue_client, issue_server
from sealgate.pki.keys import generate, to_pem
from sealgate.pki.state import State
from sealgate.pki.vault import load_authorities
from tests.live.served import Served
from tests.live.wire import H2, get, parse, read_until_closed, witnessed

NOW = datetime.now(UTC)


def private(served: Served, folder: Path, *, kind: str = "good") -> Path:
    """A certificate by the site's own authorities: key and chain in one file."""
    made = load_authorities(State.open(served.state, create=False))
    assert made is not None
    key = generate("ecdsa-p256")
    if kind == "server":
        issuer = made.servers
        leaf = issue_server(issuer, key.public_key(), ["localhost"], now=NOW)
    else:
        issuer = made.clients
        lifetime = timedelta(seconds=1) if kind == "expired" else timedelta(days=1)
        leaf = issue_client(issuer, key.public_key(), "alice", now=NOW, lifetime=lifetime)
    path = folder / f"{kind}.pem"
    chain = leaf.public_bytes(Encoding.PEM) + issuer.certificate.public_bytes(Encoding.PEM)
    path.write_bytes(to_pem(key) + chain)
    return path


def foreign(authority: trustme.CA, folder: Path, name: str, *, expired: bool = False) -> Path:
    path = folder / f"{name}.pem"
    end = NOW - timedelta(days=1) if expired else None
    leaf = authority.issue_cert("alice@example.org", not_before=NOW - timedelta(days=9), not_after=end)
    path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    return path


def ask(served: Served, certificate: Path | None, *, version: ssl.TLSVersion, alpn: str) -> int:
    """The status of a request with that certificate; 0 where the handshake or connection was refused."""
    context = served.context(maximum_version=version)
    if certificate is not None:
        context.load_cert_chain(certificate)
    try:
        with served.connect(context, alpn=alpn) as tls:
            if alpn == "h2":
                connection = H2(tls)
                answer = connection.ask("/x", "localhost")
                return answer.status if answer else 0
            tls.sendall(get("localhost", "/x"))
            answers = parse(read_until_closed(tls))
            return answers[0].status if answers else 0
    except (ssl.SSLError, ConnectionError):
        return 0


COMBINATIONS = [
    (ssl.TLSVersion.TLSv1_2, "http/1.1"),
    (ssl.TLSVersion.TLSv1_2, "h2"),
    (ssl.TLSVersion.TLSv1_3, "http/1.1"),
    (ssl.TLSVersion.TLSv1_3, "h2"),
]
Ask = Callable[[Path | None], set[int]]


def asker(served: Served) -> Ask:
    """Over both versions of TLS and of HTTP."""
    return lambda path: {ask(served, path, version=version, alpn=alpn) for version, alpn in COMBINATIONS}


@pytest.fixture(
    scope="module", params=[pytest.param(mode, marks=pytest.mark.long) for mode in ("optional", "required")]
)
def own(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, str]]:
    everybody = {"default": "none"}
    with witnessed(tmp_path_factory.mktemp("own"), clients={"mode": request.param}, access=everybody) as (
        served,
        _,
    ):
        yield served, request.param


def test_the_private_authority_counts_and_no_other(own: tuple[Served, str], tmp_path: Path) -> None:
    served, mode = own
    answers = asker(served)
    assert answers(private(served, tmp_path)) == {200}
    assert answers(None) == ({200} if mode == "optional" else {0})
    stranger = trustme.CA()
    assert answers(foreign(stranger, tmp_path, "stranger")) == {0}


@pytest.mark.parametrize("kind", ["expired", "server"])
def test_certificates_that_do_not_count(own: tuple[Served, str], tmp_path: Path, kind: str) -> None:
    """Expired; or a server's, which is by the same root but for another use."""
    served, _ = own
    path = private(served, tmp_path, kind=kind)
    if kind == "expired":
        end = NOW + timedelta(seconds=2)
        served.wait_for(lambda: datetime.now(UTC) > end)
    assert asker(served)(path) == {0}


def test_a_self_signed_certificate_does_not_count(own: tuple[Served, str], tmp_path: Path) -> None:
    served, _ = own
    made = load_authorities(State.open(served.state, create=False))
    assert made is not None
    key = generate("ecdsa-p256")
    # The clients authority's name and dates, but a key of one's own.
    copy = type(made.clients)(made.clients.certificate, key)
    leaf = issue_client(copy, key.public_key(), "alice", now=NOW)
    path = tmp_path / "self.pem"
    path.write_bytes(to_pem(key) + leaf.public_bytes(Encoding.PEM))
    assert asker(served)(path) == {0}


def test_a_foreign_authority(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    theirs = trustme.CA()
    pem = tmp_path / "partners.pem"
    theirs.cert_pem.write_to_path(str(pem))
    folder = tmp_path_factory.mktemp("foreign")
    clients = {"mode": "required", "authorities": [{"name": "partners", "file": str(pem), "crl": "off"}]}
    with witnessed(folder, clients=clients) as (served, _):
        answers = asker(served)
        assert answers(foreign(theirs, tmp_path, "good")) == {200}
        assert answers(foreign(theirs, tmp_path, "expired", expired=True)) == {0}
        assert answers(foreign(trustme.CA(), tmp_path, "stranger")) == {0}
        assert answers(private(served, tmp_path)) == {0}, "the private authority is not asked for"
        assert answers(None) == {0}


@pytest.mark.long
def test_off_asks_for_nothing(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    with witnessed(tmp_path_factory.mktemp("off")) as (served, _):
        assert asker(served)(None) == {200}
        assert asker(served)(foreign(trustme.CA(), tmp_path, "stranger")) == {200}, "not looked at"
