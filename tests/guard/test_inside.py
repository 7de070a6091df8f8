"""Facts from a server in whose process guard and app run: from the connection, never from a field."""

from __future__ import annotations

from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealgate.guard.sources import InsideSource, source

PEM = trustme.CA().issue_cert("alice@example.org").cert_chain_pems[0].bytes()
DER = x509.load_pem_x509_certificate(PEM).public_bytes(Encoding.DER)


def environ(**other: object) -> dict[str, Any]:
    told = {
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "5000",
        "RAW_URI": "/a?b",
        "sealgate.peer_certificate": b"",
    }
    return {**told, **other}


def scope(**other: object) -> dict[str, Any]:
    return {
        "client": ("192.0.2.1", 5000),
        "raw_path": b"/a",
        "query_string": b"b",
        "extensions": {"tls": {"client_cert_chain": []}},
        "headers": [],
        **other,
    }


@pytest.mark.parametrize("clients", [False, True])
def test_address_port_and_target(clients: bool) -> None:
    told = source("inside", clients=clients)
    for found in (told.from_environ(environ()), told.from_scope(scope())):
        assert found is not None
        origin, target = found
        assert (origin.client.address, origin.port, target) == ("192.0.2.1", 5000, "/a?b")
        assert origin.client.certificate is None
        assert origin.refusal is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [("2001:db8::1", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("fe80::1%eth0", "fe80::1")],
)
def test_addresses(address: str, shown: str) -> None:
    found = InsideSource().from_environ(environ(REMOTE_ADDR=address))
    assert found is not None
    assert found[0].client.address == shown


def test_the_certificate_that_the_handshake_saw() -> None:
    told = InsideSource(clients=True)
    chain = {"tls": {"client_cert_chain": [PEM.decode()]}}
    variables = environ(**{"sealgate.peer_certificate": DER})
    for found in (told.from_environ(variables), told.from_scope(scope(extensions=chain))):
        assert found is not None
        assert found[0].client.certificate is not None
        assert found[0].client.certificate.emails == ("alice@example.org",)
    assert "sealgate.peer_certificate" not in variables, "the app sees the client, not how it is known"


def test_without_client_certificates_in_the_policy_none_is_read() -> None:
    found = InsideSource().from_environ(environ(**{"sealgate.peer_certificate": DER}))
    assert found is not None
    assert found[0].client.certificate is None


def test_an_unreadable_certificate_is_never_none() -> None:
    found = InsideSource(clients=True).from_environ(environ(**{"sealgate.peer_certificate": b"\x30junk"}))
    assert found is not None
    assert found[0].refusal is not None


@pytest.mark.parametrize("name", ["REMOTE_ADDR", "RAW_URI", "sealgate.peer_certificate"])
def test_a_server_that_does_not_say_it_is_not_ours(name: str) -> None:
    variables = environ()
    del variables[name]
    assert InsideSource(clients=True).from_environ(variables) is None


@pytest.mark.parametrize(
    "other", [{"extensions": {}}, {"client": None}, {"raw_path": None}, {"extensions": None}]
)
def test_the_same_for_asgi(other: dict[str, Any]) -> None:
    assert InsideSource(clients=True).from_scope(scope(**other)) is None


def test_no_field_becomes_a_fact() -> None:
    forged = environ(HTTP_REMOTE_ADDR="10.0.0.1", HTTP_SEALGATE_ADDRESS="10.0.0.1:1", HTTP_SEALGATE_PATH="/z")
    found = InsideSource(clients=True).from_environ(forged)
    assert found is not None
    assert (found[0].client.address, found[1]) == ("192.0.2.1", "/a?b")
