"""By what callers are known: header fields of the engine in front, and the keys of revoked certificates.

The fields tell the guard what the engine knows, over a private unix socket.

Every engine that speaks to app workers removes these from outside requests, in any spelling, and sets them.
Other local processes could reach the workers' sockets, so each engine adds a proof: a random text that only
the server and the workers know. Without it, nothing of a request is believed.
"""

from __future__ import annotations

from hashlib import sha256

__all__ = [
    "ADDRESS",
    "CERTIFICATE",
    "PATH",
    "PREFIX",
    "PROOF",
    "SERVICE",
    "VERIFIED",
    "api_key_key",
    "blocked_key",
    "lapsed_key",
    "listed_key",
    "membership_key",
    "revocation_key",
    "stale_key",
    "status_key",
]

PREFIX = "sealgate-"
"""No field that begins so comes from outside."""

ADDRESS = "sealgate-address"
"""The client's address and port: ``192.0.2.1:50000`` or ``[2001:db8::1]:50000``."""

PATH = "sealgate-path"
"""The target as received, query included."""

PROOF = "sealgate-proof"
"""The deployment's proof."""

VERIFIED = "sealgate-verified"
"""What became of the client's certificate: ``SUCCESS``, ``NONE`` or ``FAILED:reason``.

Set on every request, so that a worker that still asks for it while a reload turns it off need not guess.
"""

CERTIFICATE = "sealgate-certificate"
"""The client's certificate, PEM; percent-encoded as a whole, or the base64 of the PEM. Empty: none."""


SERVICE = "sealgate.runtime.vouching:app"
"""What workers run where a guard is asked before another backend."""


def revocation_key(issuer_key: bytes, serial: int) -> bytes:
    """By what a revoked certificate is known: 16 bytes of a hash.

    Of the issuer's key and the serial number, never of the certificate: whoever has a certificate can give it
    another fingerprint and keep it valid (of an ECDSA signature (r, s), (r, n - s) is one too).

    Args:
        issuer_key: SHA-256 of the issuer's SubjectPublicKeyInfo.
        serial: of the certificate.
    """
    return sha256(issuer_key + serial.to_bytes((serial.bit_length() + 7) // 8 or 1, "big")).digest()[:16]


def blocked_key(fingerprint: str) -> bytes:
    """By what a blocked certificate of somebody else's authority is known.

    Args:
        fingerprint: SHA-256, lower-case hex.
    """
    return sha256(b"blocked\0" + bytes.fromhex(fingerprint)).digest()[:16]


def lapsed_key(authority: str) -> bytes:
    """By what it is known that no list of an authority counts any more, so that none of its clients does.

    Args:
        authority: the name.
    """
    return sha256(b"lapsed\0" + authority.encode()).digest()[:16]


def listed_key(issuer_key: bytes, point: bytes) -> bytes:
    """By what it is known that a list is in force: of one issuer, from one distribution point.

    Args:
        issuer_key: SHA-256 of the issuer's SubjectPublicKeyInfo.
        point: :attr:`~sealgate.policy.points.Point.mark`.
    """
    return sha256(b"listed\0" + issuer_key + point).digest()[:16]


def status_key(issuer_key: bytes, serial: int) -> bytes:
    """By what it is known that a responder calls one certificate good (OCSP).

    Args:
        issuer_key: SHA-256 of the issuer's SubjectPublicKeyInfo.
        serial: of the certificate.
    """
    return sha256(b"status\0" + revocation_key(issuer_key, serial)).digest()[:16]


def stale_key(listed: bytes) -> bytes:
    """By what it is known that there was such a list, and that it counts no more.

    Args:
        listed: of :func:`listed_key`.
    """
    return sha256(b"stale\0" + listed).digest()[:16]


def api_key_key(mark: str) -> bytes:
    """By what it is told that an API key was revoked.

    Args:
        mark: its public part.
    """
    return sha256(b"api-key\0" + mark.encode()).digest()[:16]


def membership_key(certificate: bytes, group: str) -> bytes:
    """By what it is known that a single certificate is in a group: 16 bytes of a hash.

    Args:
        certificate: of :func:`revocation_key`.
        group: the name.
    """
    return sha256(b"group\0" + certificate + group.encode()).digest()[:16]
