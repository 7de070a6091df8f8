"""Client certificates that count, and each way in which one does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate.pki.authority import Issuer
from sealgate.pki.issue import issue_client, issue_server
from sealgate.pki.keys import generate, to_pem
from sealgate.pki.state import State
from sealgate.pki.vault import Authorities, load_authorities
from tests.live.served import Served

KINDS = ("stranger", "self-signed", "expired", "not-yet", "server")
"""Certificates that do not count."""

_DATES = {"expired": (-3, -2), "not-yet": (2, 3)}


@dataclass(frozen=True)
class Shown:
    """Key and chain in one PEM file; what the app shall see of it."""

    path: Path
    fingerprint: str
    subject: str


def make(served: Served, kind: str) -> Shown:
    """A certificate: `good`, `ops` (in that group), or one of KINDS."""
    return _stranger(served) if kind == "stranger" else _private(served, kind)


def _private(served: Served, kind: str) -> Shown:
    made, key, now = _authorities(served), generate("ecdsa-p256"), datetime.now(UTC)
    day, public = timedelta(days=1), key.public_key()
    issuer = made.clients
    if kind == "server":  # by the same root, for another use
        issuer = made.servers
        leaf = issue_server(issuer, public, ["localhost"], now=now)
    elif kind == "self-signed":  # with the name of the authority that counts, and a key of one's own
        leaf = issue_client(type(issuer)(issuer.certificate, key), public, "alice", now=now)
    else:
        name = "Ann of ops" if kind == "ops" else "alice"
        leaf = issue_client(issuer, public, name, now=now, lifetime=day)
        if kind in _DATES:
            leaf = _redated(leaf, issuer, *(now + days * day for days in _DATES[kind]))
    chain = [leaf] if kind == "self-signed" else [leaf, issuer.certificate]
    return _written(served, kind, to_pem(key) + b"".join(c.public_bytes(Encoding.PEM) for c in chain), leaf)


def _redated(leaf: x509.Certificate, issuer: Issuer, begin: datetime, end: datetime) -> x509.Certificate:
    """The same, for another time; we ourselves would not issue it."""
    builder = (
        x509.CertificateBuilder(leaf.issuer, leaf.subject, leaf.public_key(), leaf.serial_number)
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    for extension in leaf.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(issuer.key, SHA256())


@cache
def _foreign_authority() -> trustme.CA:
    return trustme.CA()


def _stranger(served: Served) -> Shown:
    issued = _foreign_authority().issue_cert("alice@example.org")
    pem = issued.private_key_and_cert_chain_pem.bytes()
    leaf = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    return _written(served, "stranger", pem, leaf)


def _authorities(served: Served) -> Authorities:
    made = load_authorities(State.open(served.state, create=False))
    assert made is not None
    return made


def _written(served: Served, kind: str, pem: bytes, leaf: x509.Certificate) -> Shown:
    path = served.folder / f"{kind}.pem"
    path.write_bytes(pem)
    return Shown(path, leaf.fingerprint(SHA256()).hex(), leaf.subject.rfc4514_string())
