"""``[tokens]``: whose tokens count, and for what."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictStr

from sealgate.policy.base import Model
from sealgate.policy.claims import FAMILIES, NAMES, OWN
from sealgate.policy.values import Expected, File

__all__ = ["Algorithm", "Issuer", "Tokens", "is_https"]

_LONGEST = 1000
_FIELD = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_TAKEN = frozenset(
    {
        *("accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length"),
        *("content-type", "cookie", "date", "expect", "host", "keep-alive", "origin", "proxy-authorization"),
        *("range", "referer", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-request-id"),
    }
)

Algorithm = Literal[
    "ES256", "ES384", "ES512", "EdDSA", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"
]  # fmt: skip
"""Signatures that whoever checks them cannot make: no HMAC, whose key every service would have."""


def _plain(value: str) -> str:
    """A StringOrURI (RFC 7519 §2) that reads the same in a log."""
    if not value or len(value) > _LONGEST or not value.isprintable() or value != value.strip():
        raise ValueError("empty, too long, or with characters that cannot be printed")
    return value


def _is_claim(name: str) -> bool:
    """One that the guard takes out of every request, since an app might take it for a proxy's word."""
    return name in NAMES or any(name.startswith(family) for family in (*OWN, *FAMILIES))


def _field(value: str) -> str:
    """A field of its own: of others, servers and apps already make something else (RFC 9110 §5.1)."""
    name = value.lower()
    if value and (not _FIELD.fullmatch(name) or _is_claim(name) or name in _TAKEN):
        raise ValueError("no header field that could be a key's alone")
    return name


def _issuer(value: str) -> str:
    _plain(value)
    if re.match(r"(?i)http:", value):
        raise ValueError("an issuer over plain HTTP, whose keys anybody on the way may replace")
    return value


_HTTPS = re.compile(
    r"https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]{1,255})(:[0-9]{1,5})?(/[!-~]{0,1700})?", re.ASCII
)


def is_https(value: str) -> bool:
    """An https address with a host, in plain characters."""
    return _HTTPS.fullmatch(value) is not None and "@" not in value and "#" not in value


def _key_address(value: str) -> str:
    if value and not is_https(value):
        plain = value.startswith("http://")
        raise ValueError("plain http, over which anybody could answer" if plain else "not an https address")
    return value


_Audience = Annotated[
    StrictStr, AfterValidator(_plain), Expected("a name of this service", "https://api.example.com")
]
_SUCH = '{ issuer = "https://...", jwks_file = "keys.json", audience = ["..."] }'


class Issuer(Model):
    """Whose JSON Web Tokens (RFC 7519) count."""

    issuer: Annotated[StrictStr, AfterValidator(_issuer), Expected("an issuer", "https://login.example.com")]
    """The `iss` of its tokens, character by character."""
    jwks_uri: Annotated[
        StrictStr,
        AfterValidator(_key_address),
        Expected("an https address", "https://login.example.com/jwks"),
    ] = ""
    """Where it publishes its keys, a JWK Set (RFC 7517); empty, and no jwks_file: where its metadata say."""
    jwks_file: File = ""
    """The same as a file; watched, never written."""
    ca_file: File = ""
    """Roots by which the issuer's server is believed, PEM; empty: the system's."""
    audience: Annotated[tuple[_Audience, ...], Field(min_length=1, max_length=64)]
    """Names of this service: one of them must be in `aud`, or a token for another service would count."""
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("ES256", "EdDSA", "RS256")
    """Of signatures; each key is used for its own kind only."""
    certificate_bound: Literal["off", "optional", "required"] = "optional"
    """Tokens that a client certificate goes with (RFC 8705). optional: where one is; required: all are."""

    @property
    def fetched(self) -> bool:
        """Does the issuer publish its keys?"""
        return not self.jwks_file


class Tokens(Model):
    """Bearer tokens (RFC 6750): `Authorization: Bearer ...`."""

    api_keys: StrictBool = False
    """Keys issued by `sealgate token add` count, as bearer tokens or in the field named next."""
    api_key_header: Annotated[
        StrictStr, AfterValidator(_field), Expected("the name of a header field", "x-api-key")
    ] = ""
    """The header field that carries the key; empty: `Authorization: Bearer`."""
    issuers: Annotated[tuple[Annotated[Issuer, Expected(_SUCH)], ...], Field(max_length=64)] = ()
    """None: nobody's tokens count."""

    @property
    def asked(self) -> bool:
        """Can callers show one?"""
        return self.api_keys or bool(self.issuers)
