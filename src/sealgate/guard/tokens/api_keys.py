"""Does an API key count? By what the keeper publishes, in the same time whether it is known or not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, NamedTuple

from sealgate.guard.client import Token
from sealgate.guard.tokens.refused import Refused
from sealgate.policy.api_keys import hashed, parts_of

__all__ = ["ApiKey", "api_keys_of", "verified"]

_FIELDS = {"id", "hash", "name", "scopes", "expires"}


class ApiKey(NamedTuple):
    """One that was issued, and not revoked.

    Attributes:
        id: its public part.
        hash: SHA-256 of the whole, hex.
        name: who has it.
        scopes: what it may be used for.
        expires: seconds since 1970; None: never by itself.
    """

    id: str
    hash: str
    name: str
    scopes: frozenset[str]
    expires: float | None


# Compared with where there is none of that name: a guess takes as long as one that is nearly right.
_NOBODYS = ApiKey("", "0" * 64, "", frozenset(), None)


def api_keys_of(published: object) -> Mapping[str, ApiKey]:
    """By their public parts.

    Args:
        published: a list of objects with the fields of :class:`ApiKey`.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(published, list):
        raise ValueError("no list of API keys")
    return {one.id: one for one in map(_api_key, published)}


def _api_key(value: Any) -> ApiKey:  # noqa: ANN401 - of JSON
    if not isinstance(value, dict) or value.keys() != _FIELDS:
        raise ValueError("fields of an API key are missing or unknown")
    texts = (value["id"], value["hash"], value["name"], *value["scopes"])
    expires = value["expires"]
    if not all(isinstance(one, str) and one for one in texts) or isinstance(expires, bool):
        raise ValueError("an API key's field is no text")
    if expires is not None and not isinstance(expires, int | float):
        raise ValueError("an API key's end is no time")
    return ApiKey(value["id"], value["hash"], value["name"], frozenset(value["scopes"]), expires)


def verified(text: str, known: Mapping[str, ApiKey], now: float) -> Token:
    """The token that a key is.

    Args:
        text: as it stood in the request.
        known: those that were issued.
        now: seconds since 1970.

    Raises:
        Refused: it does not count.
    """
    parts = parts_of(text)
    if parts is None:
        raise Refused("api-key-malformed")
    one = known.get(parts.id, _NOBODYS)
    same = compare_digest(hashed(parts.whole), one.hash)
    if not same:
        raise Refused("api-key-unknown")
    if one.expires is not None and one.expires <= now:
        raise Refused("api-key-expired")
    return Token(
        issuer="",
        subject=one.name,
        scopes=one.scopes,
        expires=one.expires,
        kind="api-key",
        id=one.id,
        mark=one.hash,
    )
