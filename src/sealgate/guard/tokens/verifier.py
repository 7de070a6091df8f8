"""Does a JWT count? By its issuer's keys, its claims, the client's certificate (RFC 7519, 8725, 8705). Pure.

A signature is verified once: what it was good for is remembered by the token's hash for as long as the same
keys are in force. Dates and the binding to a certificate are judged at each request.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from sealgate.guard.client import Token
from sealgate.guard.tokens.api_keys import ApiKey, api_keys_of, verified
from sealgate.guard.tokens.compact import Compact, Malformed, take_apart
from sealgate.guard.tokens.issuer import Issuer
from sealgate.guard.tokens.keysets import Key, keys_of
from sealgate.guard.tokens.refused import KeysUnknown, Refused

__all__ = ["LEEWAY", "Documents", "Refused", "Verifier"]

LEEWAY = 60.0
"""Seconds by which clocks may differ."""

_MOST_REMEMBERED = 4096
_LATEST = 253402300800.0  # the year 10000
_THUMBPRINT = "x5t#S256"


class Documents(Protocol):
    """What the keeper publishes while requests are served (``_system/board.BoardReader``)."""

    @property
    def generation(self) -> int:
        """Rises with each document."""

    def read(self) -> tuple[int, bytes]:
        """The newest, and its generation; empty: there was none yet."""


class _State(NamedTuple):
    """What goes together: a token that was verified by some keys is remembered with those, and no others."""

    generation: int
    keys: Mapping[str, tuple[Key, ...]]
    known: dict[bytes, _Known]
    api_keys: Mapping[str, ApiKey]


class _Known(NamedTuple):
    token: Token
    not_before: float
    thumbprint: str


class Verifier:
    """For the issuers of one policy.

    Args:
        issuers: whose tokens count.
        documents: their keys, and API keys: ``{"issuers": {"<iss>": [JWK, ...]}, "api_keys": [...]}``.
        wanted: told of an issuer whose token names a key that is not known.
    """

    def __init__(
        self, issuers: Iterable[Issuer], documents: Documents, wanted: Callable[[str], None] | None = None
    ) -> None:
        self._issuers = {one.name: one for one in issuers}
        self._documents, self._wanted = documents, wanted
        self._state = _State(-1, {}, {}, {})
        for module in ("joserfc.jwk", "joserfc.jws") if self._issuers else ():
            importlib.import_module(module)  # now: at a request another version may lie there

    def verify(self, text: str, fingerprint: str, now: float) -> Token:
        """The token.

        Args:
            text: as it stood in the request.
            fingerprint: of the client's certificate, SHA-256 in hex; empty: none was shown.
            now: seconds since 1970.

        Raises:
            Refused: it does not count.
        """
        state = self._newest()
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        known = state.known.get(digest)
        if known is None:
            known = self._verified(text, state.keys)
            if len(state.known) >= _MOST_REMEMBERED:
                state.known.clear()
            state.known[digest] = known
        token = known.token
        if token.expires is None or token.expires + LEEWAY <= now:
            raise Refused("token-expired")
        if known.not_before - LEEWAY > now:
            raise Refused("token-not-yet")
        if known.thumbprint and known.thumbprint != _thumbprint(fingerprint):
            raise Refused("token-binding")
        return token

    def api_key(self, text: str, now: float) -> Token:
        """The token that an API key is.

        Raises:
            Refused: it does not count.
        """
        return verified(text, self._newest().api_keys, now)

    def stands(self, token: Token, now: float) -> bool:
        """Does one that counted still: is it in date, and the key that signed it still its issuer's?"""
        if token.kind == "api-key":
            one = self._newest().api_keys.get(token.id)
            return one is not None and one.hash == token.mark and (one.expires is None or now < one.expires)
        keys = self._newest().keys.get(token.issuer, ())
        in_date = token.expires is not None and now < token.expires + LEEWAY
        return in_date and any(key.mark == token.mark for key in keys)

    def _newest(self) -> _State:
        """With the newest keys; what cannot be read leaves none."""
        state = self._state
        generation = self._documents.generation
        if generation == state.generation:
            return state
        keys: dict[str, tuple[Key, ...]] = {}
        api_keys: Mapping[str, ApiKey] = {}
        try:
            generation, document = self._documents.read()
            published = json.loads(document or b"{}")
            sets = published.get("issuers", {})
            keys = {name: keys_of(sets.get(name, []))[0] for name in self._issuers}
            api_keys = api_keys_of(published.get("api_keys", []))
        except (OSError, ValueError, AttributeError, TypeError):  # half a document is nobody's key
            keys = {}
        self._state = state = _State(generation, keys, {}, api_keys)
        return state

    def _verified(self, text: str, keys: Mapping[str, tuple[Key, ...]]) -> _Known:
        try:
            parts = take_apart(text)
        except Malformed as error:
            raise Refused(str(error)) from None
        issuer = self._issuers.get(_text(parts.claims, "iss"))
        if issuer is None:
            raise Refused("token-issuer")
        if parts.algorithm not in _allowed(issuer):
            raise Refused("token-algorithm")
        key = self._key(issuer, parts, keys)
        _check_signature(text, key, parts.algorithm)
        return _claimed(issuer, key, parts.claims)

    def _key(self, issuer: Issuer, parts: Compact, keys: Mapping[str, tuple[Key, ...]]) -> Key:
        fitting = [
            key
            for key in keys.get(issuer.name, ())
            if parts.algorithm in key.algorithms and (not parts.key or key.kid == parts.key)
        ]
        if not fitting and self._wanted is not None:
            self._wanted(issuer.name)
        if not keys.get(issuer.name):
            raise KeysUnknown("token-keys-unknown")
        if len(fitting) != 1:
            raise Refused("token-key-ambiguous" if fitting else "token-key-unknown")
        return fitting[0]


def _allowed(issuer: Issuer) -> tuple[str, ...]:
    """RFC 9864 calls EdDSA by another name, with the curve that alone counts here."""
    return (*issuer.algorithms, "Ed25519") if "EdDSA" in issuer.algorithms else issuer.algorithms


def _check_signature(text: str, key: Key, algorithm: str) -> None:
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry

    signed, _, signature = text.rpartition(".")
    raw = urlsafe_b64decode(signature + "=" * (-len(signature) % 4))  # `take_apart` has looked at it
    try:
        good = JWSRegistry.algorithms[algorithm].verify(signed.encode("ascii"), raw, key.key)
    except (JoseError, ValueError) as error:
        raise Refused("token-signature") from error
    if good is not True:
        raise Refused("token-signature")


def _claimed(issuer: Issuer, key: Key, claims: Mapping[str, Any]) -> _Known:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not any(one in issuer.audience for one in audiences if isinstance(one, str)):
        raise Refused("token-audience")
    expires = _date(claims, "exp")
    if expires is None:
        raise Refused("token-claims")
    not_before = max(_date(claims, "nbf") or 0.0, _date(claims, "iat") or 0.0)
    token = Token(
        issuer=issuer.name,
        subject=_text(claims, "sub"),
        scopes=_scopes(claims),
        claims=MappingProxyType(dict(claims)),
        expires=expires,
        id=_text(claims, "jti"),
        mark=key.mark,
    )
    return _Known(token, not_before, _bound_to(issuer, claims))


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise Refused("token-claims")
    return value


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    """NumericDate (RFC 7519 §2); None: it is not there."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("token-claims")
    if not 0 <= value <= _LATEST or not isfinite(value):  # an int may be larger than any float
        raise Refused("token-claims")
    return float(value)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """``scope`` (RFC 8693 §4.2), or ``scp`` as others call it."""
    said = claims.get("scope", claims.get("scp", ""))
    if isinstance(said, str):
        return frozenset(said.split(" ")) - {""}
    if isinstance(said, list) and all(isinstance(one, str) for one in said):
        return frozenset(said)
    raise Refused("token-claims")


def _bound_to(issuer: Issuer, claims: Mapping[str, Any]) -> str:
    """The thumbprint of the certificate that it is bound to; empty: to none."""
    if issuer.bound == "off":
        return ""
    if "cnf" not in claims:
        if issuer.bound == "required":
            raise Refused("token-binding")
        return ""
    cnf = claims["cnf"]
    # Bound to something else as well (RFC 9449 §6.1: jkt): nobody here looks whether the caller has that.
    if not isinstance(cnf, dict) or cnf.keys() != {_THUMBPRINT} or not isinstance(cnf[_THUMBPRINT], str):
        raise Refused("token-binding")
    return cnf[_THUMBPRINT] or "none"


def _thumbprint(fingerprint: str) -> str:
    """RFC 8705 §3.1: base64url of the SHA-256."""
    return urlsafe_b64encode(bytes.fromhex(fingerprint)).rstrip(b"=").decode()
