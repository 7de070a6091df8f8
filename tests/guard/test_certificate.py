"""What a client's certificate says: as OpenSSL-made ones say it, and nothing from what is none."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from sealgate.guard import certificate as module
from sealgate.guard.certificate import LARGEST, Certificate, Certificates, Unreadable, read_certificate
from sealgate.guard.issuers import Issuers

BEGIN, END = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES: tuple[x509.GeneralName, ...] = (
    x509.DNSName("a.example"),
    x509.DNSName("*.b.example"),
    x509.UniformResourceIdentifier("spiffe://example.org/ops/a"),
    x509.RFC822Name("alice@example.org"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.IPAddress(ipaddress.ip_address("2001:db8:0:0::1")),
)


@cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make(
    *common: str,
    names: tuple[x509.GeneralName, ...] = (),
    organization: str = "Example, Inc.",
    further: x509.UnrecognizedExtension | None = None,
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]
    attributes += [x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(attributes))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(key().public_key())
        .serial_number(0xC0FFEE)
        .not_valid_before(BEGIN)
        .not_valid_after(END)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if further is not None:
        builder = builder.add_extension(further, critical=False)
    return builder.sign(key(), SHA256())


def ways(made: x509.Certificate) -> dict[str, bytes | str]:
    """All forms in which engines hand a certificate over."""
    der, pem = made.public_bytes(Encoding.DER), made.public_bytes(Encoding.PEM)
    return {
        "der": der,
        "pem": pem,
        "text": pem.decode(),
        "nginx": quote(pem.decode(), safe="-._~"),
        "envoy": pem.decode()
        .replace("\n", "%0A")
        .replace("+", "%2B")
        .replace("/", "%2F")
        .replace("=", "%3D"),
        "base64": base64.b64encode(pem).decode(),
    }


def certificate(data: bytes | str) -> Certificate:
    read = read_certificate(data)
    assert isinstance(read, Certificate)
    return read


@pytest.mark.parametrize("way", ways(make("alice")))
def test_every_way_says_the_same(way: str) -> None:
    made = make("alice", names=NAMES)
    assert certificate(ways(made)[way]) == Certificate(
        subject=r"CN=alice,O=Example\, Inc.",
        common_name="alice",
        dns_names=("a.example", "*.b.example"),
        uris=("spiffe://example.org/ops/a",),
        emails=("alice@example.org",),
        ip_addresses=("192.0.2.1", "2001:db8::1"),
        serial=0xC0FFEE,
        issuer="CN=authority",
        fingerprint=made.fingerprint(SHA256()).hex(),
        not_before=BEGIN,
        not_after=END,
    )


def test_without_names() -> None:
    read = certificate(make().public_bytes(Encoding.DER))
    assert (read.common_name, read.dns_names, read.uris, read.emails, read.ip_addresses) == (
        "",
        (),
        (),
        (),
        (),
    )


def test_two_common_names_are_none() -> None:
    """Which of them counts is what two programs would read differently."""
    read = certificate(make("alice", "root").public_bytes(Encoding.DER))
    assert read.common_name == ""
    assert "alice" in read.subject
    assert "root" in read.subject


@pytest.mark.parametrize(
    "text", ["x,CN=root", "x\nCN=root", "x\x00", "\x1b[31m", "<b>", '"', "+", "ä", "😀", " x "]
)
def test_hostile_names_are_a_text_and_nothing_more(text: str) -> None:
    read = certificate(make(text).public_bytes(Encoding.DER))
    assert read.common_name == text
    assert not read.subject.startswith("CN=root")
    parsed = x509.Name.from_rfc4514_string(read.subject) if "\x00" not in text and "\n" not in text else None
    if parsed is not None:
        (value,) = parsed.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert value.value == text


def broken(kind: str) -> Any:
    der = make("alice").public_bytes(Encoding.DER)
    pem = make("alice").public_bytes(Encoding.PEM).decode()
    return {
        "empty": "",
        "nothing": b"",
        "word": "(null)",
        "dash": "-",
        "cut der": der[:-1],
        "longer der": der + b"\x00",
        "cut pem": pem[:-30],
        "two": pem + pem,
        "comma": pem + "," + pem,
        "twice": quote(pem) + "," + quote(pem),
        "prefix": "x" + pem,
        "key": pem.replace("CERTIFICATE", "PRIVATE KEY"),
        "percent": quote(pem).replace("%0A", "%0G", 1),
        "cut percent": quote(pem) + "%0",
        "null": quote(pem) + "%00",
        "unicode": pem + "ä",
        "not base64": "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        "odd base64": "-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
        "not der": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "base64 of something": base64.b64encode(b"0123").decode(),
        "a bad extension": ways(
            make("a", further=x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x03\x01"))
        )["der"],
    }[kind]


@pytest.mark.parametrize(
    "kind",
    """empty|nothing|word|dash|cut der|longer der|cut pem|two|comma|twice|prefix|key|percent|cut percent|null
    |unicode|not base64|odd base64|not der|base64 of something|a bad extension""".replace("\n    ", "").split(
        "|"
    ),
)
def test_what_is_none_is_unreadable(kind: str) -> None:
    read = read_certificate(broken(kind))
    assert isinstance(read, Unreadable)
    assert read.reason in {"certificate-encoding", "certificate-content"}


@pytest.mark.parametrize("way", ["der", "pem", "text", "nginx", "base64"])
def test_the_size_is_bounded(way: str) -> None:
    fits = make("alice", organization="x" * (LARGEST - 1000))
    assert isinstance(read_certificate(ways(fits)[way]), Certificate)
    assert read_certificate(ways(make("alice", organization="x" * LARGEST))[way]) == Unreadable(
        "certificate-size"
    )
    assert read_certificate("-" * 10_000_000) == Unreadable("certificate-size")


GOOD = make("alice", names=NAMES).public_bytes(Encoding.DER)


@given(st.data())
def test_a_changed_byte_never_crashes(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GOOD) - 1))
    changed = GOOD[:place] + data.draw(st.binary(min_size=0, max_size=3)) + GOOD[place + 1 :]
    read = read_certificate(changed)
    assert isinstance(read, Certificate | Unreadable)
    if isinstance(read, Certificate) and changed != GOOD:
        assert read.fingerprint != certificate(GOOD).fingerprint


@given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
@example("-----BEGIN CERTIFICATE-----")
@example(b"\x30\x80")
@example("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t")
def test_hostile_bytes_are_unreadable(data: str | bytes) -> None:
    assert isinstance(read_certificate(data), Unreadable)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16))
def test_any_name_comes_through(text: str) -> None:
    assert certificate(make(text).public_bytes(Encoding.DER)).common_name == text


def test_each_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes | str] = []

    def counted(data: bytes | str, issuers: Issuers) -> Certificate | Unreadable:
        read.append(data)
        return read_certificate(data, issuers)

    monkeypatch.setattr(module, "read_certificate", counted)
    certificates = Certificates()
    text = ways(make("alice"))["nginx"]
    assert certificates(text) is certificates(
        str(bytes(text, "ascii"), "ascii") if isinstance(text, str) else text
    )
    assert certificates("no") == certificates("no") == Unreadable("certificate-encoding")
    assert read == [text, "no"]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 10)
    certificates = Certificates()
    for number in range(100):
        assert isinstance(certificates(f"no certificate {number}"), Unreadable)
        assert len(certificates._known) <= 10
    long = "x" * 10_000
    certificates(long)
    assert long not in certificates._known
