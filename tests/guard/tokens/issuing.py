"""Issuers of tests: keys, sets of them, and tokens, sound or not; signed by cryptography alone."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealgate.guard.tokens.issuer import Issuer
from sealgate.guard.tokens.verifier import Verifier

ISSUER = "https://issuer.test"
AUDIENCE = "https://api.test"
NOW = 1_900_000_000.0
HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
CURVES: dict[str, tuple[Callable[[], ec.EllipticCurve], str, int]] = {
    "ES256": (ec.SECP256R1, "P-256", 32),
    "ES384": (ec.SECP384R1, "P-384", 48),
    "ES512": (ec.SECP521R1, "P-521", 66),
}
ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


def text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int = 0) -> str:
    return text(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


@cache
def key_for(algorithm: str, which: str = "") -> Any:
    """A private key, always the same one."""
    if algorithm == "Ed25519":
        return key_for("EdDSA", which)
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm][0]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def jwk(algorithm: str, kid: str | None = None, which: str = "", **further: Any) -> dict[str, Any]:
    """The public key, as an issuer publishes it."""
    public = key_for("RSA" if algorithm[0] in "RP" else algorithm, which).public_key()
    made: dict[str, Any]
    if algorithm in CURVES:
        _, curve, size = CURVES[algorithm]
        numbers = public.public_numbers()
        made = {"kty": "EC", "crv": curve, "x": number(numbers.x, size), "y": number(numbers.y, size)}
    elif algorithm in {"EdDSA", "Ed25519"}:
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        made = {"kty": "OKP", "crv": "Ed25519", "x": text(raw)}
    else:
        numbers = public.public_numbers()
        made = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
    return made | ({} if kid is None else {"kid": kid}) | further


def signature(algorithm: str, message: bytes, which: str = "") -> bytes:
    key = key_for("RSA" if algorithm[0] in "RP" else algorithm, which)
    if algorithm in {"EdDSA", "Ed25519"}:
        return bytes(key.sign(message))
    digest = HASHES[algorithm[2:]]()
    if algorithm in CURVES:
        size = CURVES[algorithm][2]
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if algorithm[0] == "P":
        return bytes(key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest))
    return bytes(key.sign(message, padding.PKCS1v15(), digest))


def hmac(secret: bytes, message: bytes, size: str = "256") -> bytes:
    made = HMAC(secret, HASHES[size]())
    made.update(message)
    return made.finalize()


def claims(**further: Any) -> dict[str, Any]:
    """Of a sound token; None takes one out."""
    made = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "exp": NOW + 600,
        "iat": NOW - 5,
        "scope": "orders:read",
    } | further
    return {key: value for key, value in made.items() if value is not None}


def joined(
    header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, sign: Callable[[bytes], bytes]
) -> str:
    """A token of these parts, whatever they are."""
    parts = [text(one if isinstance(one, bytes) else json.dumps(one).encode()) for one in (header, payload)]
    message = ".".join(parts)
    return f"{message}.{text(sign(message.encode()))}"


def token(
    algorithm: str = "ES256", which: str = "", header: Mapping[str, Any] | None = None, **said: Any
) -> str:
    """A sound one, but for what is said; None in the header takes a member out."""
    head = {"alg": algorithm, "typ": "JWT", "kid": algorithm} | dict(header or {})
    head = {key: value for key, value in head.items() if value is not None}
    return joined(head, claims(**said), lambda message: signature(algorithm, message, which))


class Published:
    """What the keeper published."""

    def __init__(self, *jwks: dict[str, Any]) -> None:
        self.generation = 0
        self.document = b""
        self.publish(*jwks)

    def publish(self, *jwks: dict[str, Any]) -> None:
        self.raw(json.dumps({"issuers": {ISSUER: list(jwks)}}).encode())

    def raw(self, document: bytes) -> None:
        self.document, self.generation = document, self.generation + 1

    def read(self) -> tuple[int, bytes]:
        return self.generation, self.document


def everything() -> list[dict[str, Any]]:
    return [jwk(algorithm, algorithm) for algorithm in ("ES256", "ES384", "ES512", "EdDSA")] + [
        jwk(algorithm, algorithm, alg=algorithm) for algorithm in ALGORITHMS if algorithm[0] in "RP"
    ]


def verifier(*jwks: dict[str, Any], **rules: Any) -> Verifier:
    said = {"audience": (AUDIENCE,), "algorithms": ALGORITHMS} | rules
    return Verifier([Issuer(ISSUER, **said)], Published(*(jwks or everything())))
