"""``[certificate.acme]``: whom certificates are asked of, and how the names are proven."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictStr, model_validator

from sealgate.policy.base import Model
from sealgate.policy.secrets import SecretRef
from sealgate.policy.values import Duration, Expected, File

__all__ = ["Acme", "Challenge", "Dns", "ExternalAccount", "Fallback", "Rfc2136", "resolver_of"]

Challenge = Literal["http-01", "tls-alpn-01", "dns-01"]

_DIRECTORY = re.compile(r"https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?/[!-~]*", re.ASCII)
_RESOLVER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(\d{1,5}))?", re.ASCII)
_CONTACT = re.compile(r"(?:mailto:)?([^@\s,?&]+@[A-Za-z0-9.-]+)", re.ASCII)


def _directory(value: str) -> str:
    if value and not _DIRECTORY.fullmatch(value):
        plain = value.startswith("http://")
        raise ValueError("plain http, over which anybody could answer" if plain else "not an https address")
    return value


def _contact(value: str) -> str:
    match = _CONTACT.fullmatch(value)
    if match is None:
        raise ValueError("not one address of a mailbox")
    return match[1]


def _token(value: str) -> str:
    if re.search(r"[^!-~]", value):
        raise ValueError("characters other than printable ASCII")
    return value


def resolver_of(value: str) -> tuple[str, int]:
    """Address and port of a name server: ``address``, ``address:port`` or ``[address]:port``.

    Raises:
        ValueError: it is none of these, as a sentence part.
    """
    match = _RESOLVER.fullmatch(value)
    host, port = (match[1] or match[2], match[3] or "53") if match else (value, "53")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("not an IP address, nor one with a port") from None
    if not 1 <= int(port) <= 65535:
        raise ValueError("no port from 1 to 65535")
    return str(address), int(port)


def _resolver(value: str) -> str:
    if value:
        resolver_of(value)
    return value


DirectoryUrl = Annotated[
    StrictStr,
    AfterValidator(_directory),
    Expected("the https address of an ACME directory", "https://acme-v02.api.letsencrypt.org/directory"),
]
Contact = Annotated[StrictStr, AfterValidator(_contact), Expected("a mail address", "ops@example.com")]
Resolver = Annotated[
    StrictStr, AfterValidator(_resolver), Expected("an IP address, or address:port", "192.0.2.53")
]
Plain = Annotated[StrictStr, AfterValidator(_token), Expected("printable characters without spaces")]


class ExternalAccount(Model):
    """An account at the authority's shop that the ACME account is bound to (RFC 8555 §7.3.4)."""

    kid: Annotated[Plain, Field(min_length=1)]
    """Key identifier that the authority gave out."""
    hmac: SecretRef
    """Its key, base64url, as the authority gave it out."""


class Rfc2136(Model):
    """Records are set by signed DNS updates (RFC 2136, TSIG RFC 8945)."""

    server: Annotated[Plain, Field(min_length=1), Expected("an address, or address:port", "192.0.2.53")]
    """The zone's primary server; port 53 unless told."""
    key_name: Annotated[Plain, Field(min_length=1), Expected("the name of a TSIG key", "sealgate.")]
    """Name of the TSIG key."""
    key: SecretRef
    """The TSIG key, base64."""
    algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    """Of the TSIG key."""


class Dns(Model):
    """How TXT records of dns-01 come into the zone."""

    rfc2136: Rfc2136 | None = None
    """By DNS updates."""
    hook: File = ""
    """By a program of yours: `hook add|remove`, see the guide for what it is told."""
    propagation: Duration = 120.0
    """How long the zone's own servers may take to show a record, before the authority is asked."""
    resolver: Resolver = ""
    """Name server that is asked instead of this machine's, which may have other answers than the world."""
    seen_at: Literal["zone", "resolver"] = "zone"
    """Who must show a record: all of the zone's own servers, or the resolver where those are out of reach."""


class Fallback(Model):
    """Another authority, asked where the ones before it cannot be had. A text is its directory alone."""

    directory: Annotated[DirectoryUrl, Field(min_length=1)]
    """Address of its directory."""
    profile: Plain = ""
    """Profile of certificates there."""
    ca_file: File = ""
    """PEM file of the root of the authority's own HTTPS, for private ones."""
    external_account: ExternalAccount | None = None
    """Where this authority asks for one."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"directory": value} if isinstance(value, str) else value


class Acme(Model):
    """Certificates from an ACME authority (RFC 8555)."""

    directory: Annotated[DirectoryUrl, Field(min_length=1)] = "https://acme-v02.api.letsencrypt.org/directory"
    """Address of the authority's directory."""
    fallback: Annotated[tuple[Fallback, ...], Field(max_length=8)] = ()
    """Further authorities, tried in order."""
    contact: Annotated[tuple[Contact, ...], Field(max_length=10)] = ()
    """Mail addresses that the authority may write to."""
    challenge: Challenge = "http-01"
    """How names are proven; wildcards need dns-01; tls-alpn-01 is Envoy's alone."""
    profile: Plain = ""
    """Certificate profile of the authority, such as "shortlived"; empty: its default."""
    preferred_chain: StrictStr = ""
    """Common name of the root or issuer whose chain is taken where several are offered."""
    ca_file: File = ""
    """PEM file of the root of the authority's own HTTPS, for test servers and private ones."""
    external_account: ExternalAccount | None = None
    """Where the authority asks for one."""
    dns: Dns = Dns()
