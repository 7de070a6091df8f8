"""Root, authorities, leaves and lists: judged by pkilint, openssl and Python's ssl."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import socket
import ssl
import tempfile
import threading
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sealgate._system.clock import system_clock
from sealgate.errors import CertificateDates, UsageError
from sealgate.pki.authority import LIFETIME, Issuer, build_issuing, build_root
from sealgate.pki.crl import Revoked, build_crl, crl_is_due, number_of
from sealgate.pki.inspect import facts, names_of, pem_of
from sealgate.pki.issue import issue_client, issue_server
from sealgate.pki.keys import KeyType, generate, to_pem
from tests.pki.making import DAY, NOW, openssl, write
from tests.pki.test_constraints import NAME


class Authority:
    """A whole private authority in memory."""

    def __init__(self, *names: str, now=NOW) -> None:
        root_key, servers_key, clients_key = (generate("ecdsa-p256") for _ in range(3))
        self.root = Issuer(build_root(root_key, now=now), root_key)
        servers = build_issuing(self.root, "servers", servers_key.public_key(), names=names)
        clients = build_issuing(self.root, "clients", clients_key.public_key())
        self.servers, self.clients = Issuer(servers, servers_key), Issuer(clients, clients_key)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("api.example.com", "*.example.net")


def verify(
    folder: Path, authority: Authority, leaf: x509.Certificate, issuer: Issuer, purpose: str, *more: str
):
    root, chain, file = folder / "root.pem", folder / "chain.pem", folder / "leaf.pem"
    root.write_bytes(pem_of(authority.root.certificate))
    chain.write_bytes(pem_of(issuer.certificate))
    file.write_bytes(pem_of(leaf))
    at = str(int(NOW.timestamp()))
    words = [
        "-x509_strict",
        "-purpose",
        purpose,
        "-attime",
        at,
        "-CAfile",
        root,
        "-untrusted",
        chain,
        *more,
        file,
    ]
    return openssl("verify", *words)


class TestServers:
    @pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-3072"])
    def test_openssl_takes_it_for_a_server_and_for_nothing_else(
        self, authority, tmp_path: Path, kind
    ) -> None:
        names = ("api.example.com", "www.example.net", "localhost", "10.1.2.3", "::1")
        leaf = issue_server(authority.servers, generate(kind).public_key(), names, now=NOW)
        more = ["-verify_hostname", "www.example.net"]
        assert verify(tmp_path, authority, leaf, authority.servers, "sslserver", *more).stdout.endswith(
            b": OK\n"
        )
        assert (
            verify(tmp_path, authority, leaf, authority.servers, "sslserver", "-verify_ip", "::1").returncode
            == 0
        )
        assert b"purpose" in verify(tmp_path, authority, leaf, authority.servers, "sslclient").stderr

    @pytest.mark.parametrize(
        "name", ["example.org", "www.api.example.org", "8.8.8.8", "2001:db8::1", "*.example.com"]
    )
    def test_openssl_refuses_names_outside_the_constraints(
        self, authority, tmp_path: Path, name: str
    ) -> None:
        leaf = issue_server(authority.servers, generate("ecdsa-p256").public_key(), (name,), now=NOW)
        ended = verify(tmp_path, authority, leaf, authority.servers, "sslserver")
        assert ended.returncode
        assert b"permitted subtree violation" in ended.stderr

    def test_dates(self, authority) -> None:
        now = NOW + 5 * DAY
        leaf = issue_server(authority.servers, generate("ecdsa-p256").public_key(), ("localhost",), now=now)
        assert leaf.not_valid_before_utc == now - timedelta(hours=1)
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == 47 * DAY - timedelta(seconds=1)

    def test_it_does_not_begin_before_its_issuer_nor_end_after_it(self, authority) -> None:
        begins, ends = NOW - timedelta(hours=1), NOW - timedelta(hours=1) + LIFETIME
        early = issue_server(
            authority.servers,
            generate("ecdsa-p256").public_key(),
            ("localhost",),
            now=NOW - timedelta(minutes=30),
        )
        late = issue_server(
            authority.servers, generate("ecdsa-p256").public_key(), ("localhost",), now=ends - 3 * DAY
        )
        assert early.not_valid_before_utc == begins
        assert late.not_valid_after_utc == ends

    @pytest.mark.parametrize(
        ("now", "code"),
        [(NOW - DAY, "clock-before-authority"), (NOW + LIFETIME, "authority-expired")],
    )
    def test_clock_and_authority_must_agree(self, authority, now, code: str) -> None:
        with pytest.raises(CertificateDates) as caught:
            issue_server(authority.servers, generate("ecdsa-p256").public_key(), ("localhost",), now=now)
        assert caught.value.code == code

    def test_a_long_name_leaves_the_subject_empty_and_the_names_critical(
        self, authority, tmp_path: Path
    ) -> None:
        long = ".".join(["a" * 60, "b" * 20, "test"])
        leaf = issue_server(authority.servers, generate("ecdsa-p256").public_key(), (long,), now=NOW)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert (leaf.subject.rfc4514_string(), names.critical) == ("", True)
        assert verify(tmp_path, authority, leaf, authority.servers, "sslserver").returncode == 0
        short = issue_server(
            authority.servers, generate("ecdsa-p256").public_key(), (long, "a.test"), now=NOW
        )
        assert short.subject.rfc4514_string() == "CN=a.test"
        assert not short.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical

    @pytest.mark.parametrize("names", [("127.0.0.1",), ("10.0.0.1", "::1"), ("10.0.0.1", "a.test")])
    def test_an_address_is_never_the_common_name(self, authority, tmp_path: Path, names) -> None:
        """OpenSSL holds a CommonName of digits and dots against the DNS constraints where no dNSName is."""
        leaf = issue_server(authority.servers, generate("ecdsa-p256").public_key(), names, now=NOW)
        assert leaf.subject.rfc4514_string() == ("CN=a.test" if "a.test" in names else "")
        ended = verify(tmp_path, authority, leaf, authority.servers, "sslserver", "-verify_ip", names[0])
        assert ended.returncode == 0, ended.stderr

    def test_only_rsa_keys_may_encipher(self, authority) -> None:
        kinds: tuple[tuple[KeyType, bool], ...] = (("rsa-3072", True), ("ecdsa-p384", False))
        for kind, encipher in kinds:
            leaf = issue_server(authority.servers, generate(kind).public_key(), ("localhost",), now=NOW)
            usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
            assert (usage.digital_signature, usage.key_encipherment) == (True, encipher)

    def test_serials_are_random_and_long(self, authority) -> None:
        key = generate("ecdsa-p256").public_key()
        serials = [
            issue_server(authority.servers, key, ("localhost",), now=NOW).serial_number for _ in range(50)
        ]
        assert len(set(serials)) == 50
        assert max(serials).bit_length() > 150
        assert all(0 < serial < 1 << 159 for serial in serials), (
            "RFC 5280 §4.1.2.2: at most 20 octets, positive"
        )

    @settings(max_examples=25, deadline=None)
    @given(st.lists(NAME, min_size=1, max_size=5, unique=True))
    def test_names_go_in_and_come_out(self, names: list[str]) -> None:
        leaf = issue_server(_SHARED.servers, _KEY.public_key(), names, now=NOW)
        assert names_of(leaf) == tuple(names)
        assert leaf == x509.load_der_x509_certificate(leaf.public_bytes(serialization.Encoding.DER))

    def test_a_handshake_with_pythons_ssl(self, tmp_path: Path) -> None:
        now = system_clock()
        authority = Authority(now=now)
        for kind in ("ecdsa-p256", "ecdsa-p384", "rsa-3072"):
            key = generate(kind)
            leaf = issue_server(authority.servers, key.public_key(), ("localhost", "127.0.0.1"), now=now)
            chain = write(tmp_path / "chain.pem", pem_of(leaf) + pem_of(authority.servers.certificate))
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(chain, write(tmp_path / "key.pem", to_pem(key)))
            client = ssl.create_default_context(cadata=pem_of(authority.root.certificate).decode())
            client.verify_flags |= ssl.VERIFY_X509_STRICT
            for name in ("localhost", "127.0.0.1"):
                assert handshake(server, client, name)["subject"] == ((("commonName", "localhost"),),)
            with pytest.raises(ssl.SSLCertVerificationError):
                handshake(server, client, "other.test")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str, *, ask: bool = False):
    """One TLS handshake over a socket pair; what the asking side learned about the other."""
    ours, theirs = socket.socketpair()
    seen: list[object] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as accepted:
                seen.append(accepted.getpeercert())
                accepted.sendall(b"x")
        except (ssl.SSLError, OSError) as error:
            seen.append(error)
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as connected:
            connected.recv(1)
            answer = connected.getpeercert()
    finally:
        ours.close()
        thread.join(20)
    return seen[0] if ask else answer


class TestClients:
    @pytest.mark.parametrize("kind", ["ecdsa-p256", "rsa-3072"])
    def test_openssl_takes_it_for_a_client_and_for_nothing_else(
        self, authority, tmp_path: Path, kind
    ) -> None:
        leaf = issue_client(
            authority.clients,
            generate(kind).public_key(),
            "alice",
            now=NOW,
            uris=["spiffe://example.org/ops/alice"],
        )
        assert verify(tmp_path, authority, leaf, authority.clients, "sslclient").returncode == 0
        assert verify(tmp_path, authority, leaf, authority.clients, "sslserver").returncode
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == 90 * DAY - timedelta(seconds=1)

    def test_python_takes_it_in_a_handshake(self, tmp_path: Path) -> None:
        now = system_clock()
        authority, key, mine = Authority(now=now), generate("ecdsa-p256"), generate("ecdsa-p384")
        leaf = issue_server(authority.servers, key.public_key(), ("localhost",), now=now)
        client_leaf = issue_client(authority.clients, mine.public_key(), "Alice Ä.", now=now)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain = write(tmp_path / "s.pem", pem_of(leaf) + pem_of(authority.servers.certificate))
        server.load_cert_chain(chain, write(tmp_path / "sk.pem", to_pem(key)))
        anchors = pem_of(authority.clients.certificate) + pem_of(authority.root.certificate)
        server.load_verify_locations(cadata=anchors.decode())
        server.verify_mode = ssl.CERT_REQUIRED
        client = ssl.create_default_context(cadata=pem_of(authority.root.certificate).decode())
        client.load_cert_chain(
            write(tmp_path / "c.pem", pem_of(client_leaf)), write(tmp_path / "ck.pem", to_pem(mine))
        )
        seen = handshake(server, client, "localhost", ask=True)
        assert seen["subject"] == ((("commonName", "Alice Ä."),),)

    def test_with_a_stolen_key_it_certifies_no_server(self, authority, tmp_path: Path) -> None:
        """Even for a verifier that does not look at the authority's extended key usage."""
        for name in ("localhost", "example.com", "10.0.0.1", "2001:db8::1"):
            forged = issue_server(authority.clients, generate("ecdsa-p256").public_key(), (name,), now=NOW)
            ended = verify(tmp_path, authority, forged, authority.clients, "any")
            assert b"excluded subtree violation" in ended.stderr, name

    @pytest.mark.parametrize("name", ["", "a" * 65, "a\nb", " a", "a\x7f", "worker.example", "a.b", "1.2"])
    def test_names_that_are_refused(self, authority, name: str) -> None:
        with pytest.raises(UsageError) as caught:
            issue_client(authority.clients, generate("ecdsa-p256").public_key(), name, now=NOW)
        assert caught.value.code == "client-name"
        assert "\n" not in str(caught.value)

    @settings(max_examples=30, deadline=None)
    @given(
        st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=64)
    )
    def test_what_is_not_refused_is_taken_by_openssl(self, name: str) -> None:
        try:
            leaf = issue_client(_SHARED.clients, _KEY.public_key(), name, now=NOW)
        except UsageError:
            return
        assert facts(leaf).subject
        assert _openssl_takes(leaf), name


_SHARED = Authority()
_KEY = generate("ecdsa-p256")


def _openssl_takes(leaf: x509.Certificate) -> bool:
    """OpenSSL's own view."""
    with tempfile.TemporaryDirectory() as folder:
        ended = verify(Path(folder), _SHARED, leaf, _SHARED.clients, "sslclient")
    return ended.returncode == 0


class TestAuthorities:
    def test_no_authority_may_make_another(self, authority, tmp_path: Path) -> None:
        for issuer, purpose in ((authority.servers, "sslserver"), (authority.clients, "sslclient")):
            below_key = generate("ecdsa-p256")
            below = Issuer(build_issuing(issuer, "servers", below_key.public_key()), below_key)
            leaf = issue_server(below, generate("ecdsa-p256").public_key(), ("localhost",), now=NOW)
            more = ["-untrusted", str(write(tmp_path / "more.pem", pem_of(issuer.certificate)))]
            assert verify(tmp_path, authority, leaf, below, purpose, *more).returncode

    def test_usages_and_lengths(self, authority) -> None:
        for issuer, usage in (
            (authority.servers, ExtendedKeyUsageOID.SERVER_AUTH),
            (authority.clients, ExtendedKeyUsageOID.CLIENT_AUTH),
        ):
            extensions = issuer.certificate.extensions
            assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
            assert extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
            assert extensions.get_extension_for_class(x509.NameConstraints).critical
        root = authority.root.certificate.extensions
        assert root.get_extension_for_class(x509.BasicConstraints).value.path_length == 1


class TestLists:
    def test_openssl_refuses_what_is_on_it(self, authority, tmp_path: Path) -> None:
        good, bad = (
            issue_client(authority.clients, generate("ecdsa-p256").public_key(), name, now=NOW)
            for name in "ab"
        )
        entry = Revoked(bad.serial_number, NOW, x509.ReasonFlags.key_compromise)
        crl = build_crl(authority.clients, [entry], now=NOW)
        path = write(tmp_path / "crl.pem", crl.public_bytes(serialization.Encoding.PEM))
        more = ["-crl_check", "-CRLfile", str(path)]
        assert verify(tmp_path, authority, good, authority.clients, "sslclient", *more).returncode == 0
        assert (
            b"certificate revoked"
            in verify(tmp_path, authority, bad, authority.clients, "sslclient", *more).stderr
        )

    def test_numbers_rise_even_where_the_clock_does_not(self, authority) -> None:
        one = build_crl(authority.clients, [], now=NOW)
        two = build_crl(authority.clients, [], now=NOW - DAY / 100, after=one)
        assert number_of(two) == number_of(one) + 1
        assert number_of(build_crl(authority.clients, [], now=NOW + DAY)) > number_of(two)

    def test_it_is_due_at_half_of_its_life(self, authority) -> None:
        crl = build_crl(authority.clients, [], now=NOW + DAY)
        assert crl.next_update_utc == NOW + 2 * DAY
        for hours, due in ((0, False), (11.9, False), (12, True), (30, True), (-2, True)):
            assert crl_is_due(crl, now=NOW + DAY + timedelta(hours=hours)) is due


# pkilint asks the same of every dNSName as of a name on the public Internet: two labels, no wildcard.
# RFC 5280 §4.2.1.6 (RFC 1034 §3.5) allows one label, RFC 6125 §6.4.3 the wildcard; localhost is one label.
_NOT_PUBLIC = re.compile(r'Invalid domain name syntax: "(localhost|test|internal|local|\*\.[a-z.]+)"')


def _lint(kind: str, path: Path, *more: str) -> list[str]:
    """What pkilint finds, from warnings on."""
    words = ["lint", *more, "-f", "JSON", "-s", "WARNING", str(path)]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as out:
        warnings.simplefilter("ignore")  # its own and its parsers' affair
        importlib.import_module(f"pkilint.bin.lint_{kind}").main(words)
    found = [
        f"{finding['severity']} {finding['code']} {finding.get('message') or ''}"
        for result in json.loads(out.getvalue())["results"]
        for finding in result["finding_descriptions"]
    ]
    return [one for one in found if not _NOT_PUBLIC.search(one)]


@pytest.mark.parametrize(
    "what", ["root", "servers", "clients", "ecdsa-p256", "ecdsa-p384", "rsa-3072", "long", "client", "listed"]
)
def test_pkilint_finds_nothing(authority, tmp_path: Path, what: str) -> None:
    key = generate(what if what.startswith(("ecdsa", "rsa")) else "ecdsa-p256").public_key()  # type: ignore[arg-type]
    names = ("localhost", "api.example.com", "*.example.net", "10.0.0.1", "::1")
    made = {
        "root": lambda: authority.root.certificate,
        "servers": lambda: authority.servers.certificate,
        "clients": lambda: authority.clients.certificate,
        "client": lambda: issue_client(
            authority.clients, key, "alice", now=NOW, uris=["https://example.org/a"], emails=["a@example.org"]
        ),
        "listed": lambda: issue_client(
            authority.clients, key, "alice", now=NOW, revoked_at="http://example.org:8080/a/clients.crl"
        ),
        "long": lambda: issue_server(authority.servers, key, ("a" * 63 + ".test",), now=NOW),
    }
    certificate = made.get(what, lambda: issue_server(authority.servers, key, names, now=NOW))()
    assert _lint("pkix_cert", write(tmp_path / "c.pem", pem_of(certificate))) == []


def test_pkilint_finds_nothing_in_a_list(authority, tmp_path: Path) -> None:
    entries = [Revoked(5, NOW), Revoked(7, NOW, x509.ReasonFlags.superseded)]
    crl = build_crl(authority.clients, entries, now=NOW)
    path = write(tmp_path / "crl.pem", crl.public_bytes(serialization.Encoding.PEM))
    assert _lint("crl", path, "-t", "CRL", "-p", "PKIX") == []


def test_pkilint_does_find_what_is_wrong(authority, tmp_path: Path) -> None:
    """The two tests above would pass with a linter that says nothing."""
    key = generate("ecdsa-p256")
    bad = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example.com")]), critical=False)
        .sign(key, authority.root.certificate.signature_hash_algorithm)
    )
    found = _lint("pkix_cert", write(tmp_path / "c.pem", pem_of(bad)))
    assert any("san_extension_not_critical_empty_subject" in one for one in found), found
