"""What an app is told of its connection's TLS: the ASGI TLS extension."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from sealgate.runtime.inside.cycle import peer_text

__all__ = ["told_by_tls"]

_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def told_by_tls(
    tls: ssl.SSLObject | None, client: tuple[str, int] | None, *, asked: bool, suites: Mapping[str, int]
) -> tuple[dict[str, Any], str]:
    """The ASGI TLS extension, version 0.2, and what the log says of the connection.

    Args:
        tls: the connection's.
        client: its other end.
        asked: client certificates are asked for.
        suites: OpenSSL's name of a suite to its number.
    """
    if tls is None:
        raise ValueError("a connection without TLS")
    cipher = tls.cipher()
    chain = _client_chain(tls) if asked else []
    name, version = cipher[0] if cipher else "", tls.version() or ""
    peer = peer_text(client[0] if client else "", version, name, chain[0] if chain else b"")
    extension = {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der) for der in chain],
        "client_cert_name": _subject(chain[0]) if chain else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(version),
        "cipher_suite": suites.get(name),
    }
    return extension, peer


def _client_chain(tls: ssl.SSLObject) -> list[bytes]:
    """What the client sent, its own certificate first; before Python 3.13 only that one is public."""
    if hasattr(tls, "get_unverified_chain"):
        return list(tls.get_unverified_chain() or ())
    leaf = tls.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def _subject(der: bytes) -> str | None:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError:  # the guard refuses what it cannot read
        return None
