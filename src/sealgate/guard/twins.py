"""The other form of a certificate that its holder can make, and that verifies as well.

Of an ECDSA signature (r, s), (r, n - s) is one too (SEC 1 §4.1.4), and nothing of what was signed changes: so
whoever has a certificate has two, with two fingerprints. Who is kept out by one is kept out by both.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

__all__ = ["fingerprints", "orders"]

_CURVES = (
    ec.SECP256R1,
    ec.SECP384R1,
    ec.SECP521R1,
    ec.BrainpoolP256R1,
    ec.BrainpoolP384R1,
    ec.BrainpoolP512R1,
)
_ORDERS = tuple(curve.group_order for curve in _CURVES)


def orders(issuer: x509.Certificate) -> tuple[int, ...]:
    """Of the curve of an issuer's key; none where it is no ECDSA key."""
    key = issuer.public_key()
    return (key.curve.group_order,) if isinstance(key, ec.EllipticCurvePublicKey) else ()


def fingerprints(
    certificate: x509.Certificate, der: bytes, by: tuple[int, ...] | None = None
) -> tuple[str, ...]:
    """SHA-256 (hex) of a certificate, and of each other form that may verify.

    Args:
        certificate: as parsed.
        der: its bytes.
        by: :func:`orders` of its issuer; None: who signed it is not known, and any curve may be his.
    """
    found = [hashlib.sha256(der).hexdigest()]
    try:
        r, s = decode_dss_signature(certificate.signature)
    except ValueError:  # RSA, Ed25519: one form
        return tuple(found)
    for order in _ORDERS if by is None else by:
        if 0 < r < order and 0 < s < order:
            other = _signed(certificate, encode_dss_signature(r, order - s))
            found.append(hashlib.sha256(other).hexdigest())
    return tuple(found)


def _signed(certificate: x509.Certificate, signature: bytes) -> bytes:
    """The same with another signature (RFC 5280 §4.1)."""
    tbs, old = certificate.tbs_certificate_bytes, certificate.signature
    whole = certificate.public_bytes(Encoding.DER)
    algorithm = whole[whole.index(tbs) + len(tbs) : len(whole) - len(_element(3, b"\0" + old))]
    return _element(0x30, tbs + algorithm + _element(3, b"\0" + signature))


def _element(tag: int, content: bytes) -> bytes:
    """DER of one element (X.690 §8.1, §10.1)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
