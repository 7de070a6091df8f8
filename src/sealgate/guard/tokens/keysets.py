"""Keys that issuers sign with (JWK Set, RFC 7517 §5): which of them count, and for which algorithms.

A key counts for what it is and for nothing else: its kind fixes its algorithms, ``alg``, ``use`` and
``key_ops`` narrow them, and a symmetric key is none at all, so that no public key is ever taken for a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["MOST_KEYS", "Key", "KeySetError", "keys_of", "read_key_set"]

MOST_KEYS = 100
"""Of one set; further ones are not looked at."""

_LARGEST_SET = 1024 * 1024
_CURVES = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EDWARDS = ("EdDSA", "Ed25519")  # RFC 8037 §3.1; RFC 9864 §2.2 names the second
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_SMALLEST_RSA, _LARGEST_RSA = 2048, 8192
_SMALLEST_EXPONENT = 3
# CVE-2017-15361 (ROCA): of a key by the flawed library, n modulo each of these lies among powers of 65537.
_ROCA = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)


class KeySetError(ValueError):
    """No set of keys; the text is a part of a sentence."""


class Key(NamedTuple):
    """A public key.

    Attributes:
        kid: its name in the set; empty: it has none.
        algorithms: it may verify.
        key: joserfc's.
        mark: its thumbprint (RFC 7638, SHA-256).
    """

    kid: str
    algorithms: frozenset[str]
    key: Any
    mark: str


def read_key_set(data: bytes) -> list[dict[str, Any]]:
    """The keys of a set as an issuer publishes it; none of them judged yet.

    Raises:
        KeySetError: it is no set.
    """
    if len(data) > _LARGEST_SET:
        raise KeySetError(f"is larger than {_LARGEST_SET} bytes")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise KeySetError("is no JSON") from None
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list) or not all(isinstance(one, dict) for one in keys):
        raise KeySetError('is no JWK Set: an object with a list "keys" of objects')
    return keys


def keys_of(jwks: list[dict[str, Any]]) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    """The keys that count, and why each of the others does not."""
    found, others = [], []
    for number, jwk in enumerate(jwks[:MOST_KEYS]):
        try:
            found.append(_key(jwk))
        except KeySetError as error:
            others.append(f"key {number} {error}")
    if len(jwks) > MOST_KEYS:
        others.append(f"{len(jwks) - MOST_KEYS} keys are beyond the first {MOST_KEYS}")
    return tuple(found), tuple(others)


def _key(jwk: Mapping[str, Any]) -> Key:
    kind = jwk.get("kty")
    if not isinstance(kind, str) or kind not in _PUBLIC:
        raise KeySetError("is of a kind that verifies nothing here")
    if _SECRET & jwk.keys():
        raise KeySetError("is a private key, which its issuer should replace: it was published")
    if jwk.get("use", "sig") != "sig" or "verify" not in _list(jwk.get("key_ops", ["verify"])):
        raise KeySetError("is not for signatures")
    kid = jwk.get("kid", "")
    if not isinstance(kid, str):
        raise KeySetError("has a name that is no text")
    algorithms = frozenset(_algorithms(kind, jwk))
    if "alg" in jwk:
        algorithms &= {jwk["alg"]} if isinstance(jwk["alg"], str) else set()
    if not algorithms:
        raise KeySetError("is for an algorithm that is not used here")
    return Key(kid, algorithms, *_imported(kind, jwk))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _algorithms(kind: str, jwk: Mapping[str, Any]) -> tuple[str, ...]:
    if kind == "RSA":
        return _RSA
    if kind == "EC":
        return _CURVES.get(str(jwk.get("crv")), ())
    return _EDWARDS if jwk.get("crv") == "Ed25519" else ()


def _imported(kind: str, jwk: Mapping[str, Any]) -> tuple[Any, str]:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from joserfc.jwk import import_key

    members = {name: jwk[name] for name in _PUBLIC[kind] if isinstance(jwk.get(name), str)}
    try:
        key: Any = import_key({"kty": kind, **members})
        public = key.public_key
        mark = key.thumbprint()
    except Exception as error:  # of several libraries
        raise KeySetError("cannot be read") from error
    if isinstance(public, RSAPublicKey):
        _check_rsa(public.key_size, public.public_numbers().e, public.public_numbers().n)
    return key, mark


def _check_rsa(size: int, exponent: int, modulus: int) -> None:
    if not _SMALLEST_RSA <= size <= _LARGEST_RSA:
        raise KeySetError(f"is RSA of {size} bits, and {_SMALLEST_RSA} to {_LARGEST_RSA} are used")
    if exponent < _SMALLEST_EXPONENT or exponent % 2 == 0:
        raise KeySetError("is RSA with an exponent by which anybody signs")
    if all(modulus % prime in _powers(prime) for prime in _ROCA):
        raise KeySetError("is by a generator whose keys can be computed (CVE-2017-15361)")


def _powers(prime: int) -> frozenset[int]:
    found, value = set(), 1
    while value not in found:
        found.add(value)
        value = value * 65537 % prime
    return frozenset(found)
