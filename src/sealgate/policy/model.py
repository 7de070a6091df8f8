"""The policy as data: what `sealgate.toml` may say, and what it means when it says nothing.

Nothing here touches a file or the environment (``load.py`` does). Every value is normalised once, here:
durations are seconds, sizes are bytes, DNS names are lower-case A-labels, addresses are
:class:`Endpoint`. Unknown keys are refused. A key exists when it works.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import idna
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)

__all__ = [
    "Authority",
    "Certificate",
    "CertificateFiles",
    "Clients",
    "Endpoint",
    "Expected",
    "Hsts",
    "Http",
    "Limits",
    "Listen",
    "Model",
    "Policy",
    "Site",
    "Timeouts",
    "Tls",
    "canonical_name",
    "is_address",
    "is_loopback_name",
]

# Bounded digits: int() refuses more than 4300 with a message of its own.
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d{1,15})(B|KiB|MiB|GiB)?", re.ASCII)
_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_APP = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*(\(\))?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_LONGEST_NAME = 253  # RFC 1035 §2.3.4, without the final dot
# Bytes that would have to be escaped in one or the other server's configuration or in a URL.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Expected:
    """What a value should have been, in words for people; stands in a field's annotation.

    ``bounds`` says how limits of the value are written: as they are, as durations or as sizes.
    """

    noun: str
    example: str = ""
    bounds: Literal["plain", "duration", "size"] = "plain"


def _duration(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("no text with a unit")
    match = _DURATION.fullmatch(value)
    if not match:
        raise ValueError("not a duration")
    return float(match[1]) * _SECONDS[match[2]]


def _size(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("no text with a unit")
    match = _SIZE.fullmatch(value)
    if not match:
        raise ValueError("not a size")
    return int(match[1]) * _BYTES[match[2]]


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    Field(ge=0.01, le=366 * 86400),
    Expected("a duration", "30s", "duration"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "examples": ["30s", "5m"]}),
]
"""Seconds; written as ``"500ms"``, ``"30s"``, ``"5m"``, ``"12h"``, ``"90d"``."""

Size = Annotated[
    int,
    BeforeValidator(_size),
    Field(ge=0, le=2**40),
    Expected("a size", "1MiB", "size"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB)?$", "examples": ["1MiB"]}),
]
"""Bytes; written as ``"16KiB"``, ``"1MiB"``."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """A host (IP address, normalised) and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Reachable from this machine only."""
        return ipaddress.ip_address(self.host).is_loopback


_HOSTS = {"localhost": "127.0.0.1", "*": "0.0.0.0"}  # noqa: S104 - the user's own word


def _endpoint(value: object) -> object:
    if isinstance(value, Endpoint):
        return value
    if not isinstance(value, str):
        raise ValueError("no text")
    host, colon, port = value.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
        raise ValueError("no port from 1 to 65535 after the last colon")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets before the port")
    try:
        address = ipaddress.ip_address(_HOSTS.get(host, host))
    except ValueError:
        raise ValueError("not an IP address before the port") from None
    if "%" in str(address):
        raise ValueError("an address with a zone is not supported")
    # ::ffff:127.0.0.1 is the same listener as 127.0.0.1, and must compare as such.
    return Endpoint(str(getattr(address, "ipv4_mapped", None) or address), int(port))


Address = Annotated[
    Endpoint,
    BeforeValidator(_endpoint),
    Expected("an IP address and a port", "127.0.0.1:8443"),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:8443", "[::1]:8443", "0.0.0.0:443"]}),
]


def is_address(name: str) -> bool:
    """Is this name of a site an IP address (and not a DNS name)?"""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback_name(name: str) -> bool:
    """Names that never leave the machine: localhost, *.localhost (RFC 6761 §6.3), loopback addresses."""
    if is_address(name):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost" or name.endswith(".localhost")


def canonical_name(value: str) -> str:
    """A DNS name as lower-case A-labels (wildcard ``*.`` allowed), or an IP address in its shortest form.

    Raises:
        ValueError: what is wrong, as a sentence part.
    """
    if not value:
        raise ValueError("an empty name")
    if _UNSAFE.search(value) or value != value.strip():
        raise ValueError("blank or control characters in a name")
    if len(value) > _LONGEST_NAME:
        # Before idna sees it: its work grows faster than its input.
        raise ValueError("longer than 253 characters")
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if is_address(bare):
        address = ipaddress.ip_address(bare)
        if "%" in bare or address.is_unspecified or address.is_multicast:
            raise ValueError("not an address that a client can type")
        return str(address)
    if re.fullmatch(r"[\d.]+", value, re.ASCII):
        raise ValueError("neither an IPv4 address nor a DNS name")
    wild, rest = ("*.", value[2:]) if value.startswith("*.") else ("", value)
    try:
        labels = idna.encode(rest.removesuffix("."), uts46=True, std3_rules=False).decode().lower().split(".")
    except (idna.IDNAError, UnicodeError):
        raise ValueError("not a DNS name") from None
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("not a DNS name (letters, digits and inner hyphens)")
    if wild and len(labels) < 2:
        raise ValueError("a wildcard needs at least two labels after it")
    name = wild + ".".join(labels)
    if len(name) > _LONGEST_NAME:
        raise ValueError("longer than 253 characters")
    return name


Name = Annotated[
    StrictStr, AfterValidator(canonical_name), Expected("a DNS name or an IP address", "api.example.com")
]


def _app(value: str) -> str:
    if value and not _APP.fullmatch(value):
        raise ValueError("not of the form module:attribute")
    return value


def _no_controls(value: str) -> str:
    if _UNSAFE.search(value):
        raise ValueError("control characters")
    return value


def _upstream(value: str) -> str:
    """``http://host:port``, ``https://host:port`` or ``unix:/path``; no path, query or user."""
    if not value:
        return value
    _no_controls(value)
    if value.startswith("unix:"):
        if not value.startswith("unix:/"):
            raise ValueError("a unix socket needs an absolute path: unix:/run/app.sock")
        if len(value.encode()) - 5 > 107:
            raise ValueError("a unix socket path is at most 107 bytes long")
        return value
    match = re.fullmatch(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[^/\[\]:@?#\s]+)(?::(\d{1,5}))?/?", value, re.ASCII)
    if not match:
        raise ValueError("not of the form http://host:port, https://host:port or unix:/path")
    host = canonical_name(match[2])
    port = int(match[3] or (443 if match[1] == "https" else 80))
    if not 1 <= port <= 65535 or host.startswith("*"):
        raise ValueError("not a host and a port from 1 to 65535")
    return f"{match[1]}://{f'[{host}]' if ':' in host else host}:{port}"


def _url(value: str) -> str:
    if not value:
        return value
    match = re.fullmatch(r"https://(\[[0-9A-Fa-f:.]+\]|[^/\[\]:@?#\s]+)(?::(\d{1,5}))?/?", value, re.ASCII)
    if not match:
        raise ValueError("not of the form https://name or https://name:port")
    port = int(match[2] or 443)
    if not 1 <= port <= 65535:
        raise ValueError("no port from 1 to 65535")
    host = canonical_name(match[1])
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}" + ("" if port == 443 else f":{port}")


App = Annotated[StrictStr, AfterValidator(_app), Expected("a module and its attribute", "orders:app")]
File = Annotated[StrictStr, AfterValidator(_no_controls), Expected("a path", "certs/site.pem")]
Upstream = Annotated[
    StrictStr,
    AfterValidator(_upstream),
    Expected('"http://host:port", "https://host:port" or "unix:/path"', "http://127.0.0.1:9000"),
]
Url = Annotated[
    StrictStr,
    AfterValidator(_url),
    Expected("https:// and a name, without a path", "https://api.example.com"),
]


class Model(BaseModel):
    """Frozen, strict, and nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Site(Model):
    """What is served, under which names, by which server."""

    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)] = ("localhost",)
    """DNS names (wildcards too) and IP addresses; they are in the certificate, any other Host is 421."""
    url: Url = ""
    """What clients type where ports are mapped: "https://api.example.com"; default: first name and listener."""
    app: App = ""
    """The application, "module:attribute", WSGI or ASGI (detected)."""
    upstream: Upstream = ""
    """Or any other backend: "http://127.0.0.1:9000", "https://...", "unix:/run/app.sock"."""
    engine: Literal["envoy"] = "envoy"
    """The server that does TLS and HTTP."""
    workers: Annotated[StrictInt, Field(ge=1, le=256)] = 1
    """App worker processes."""
    threads: Annotated[StrictInt, Field(ge=1, le=1024)] = 8
    """Threads of each WSGI worker."""


class Listen(Model):
    """Where the site is reached."""

    https: Annotated[tuple[Address, ...], Field(min_length=1, max_length=64)] = (Endpoint("127.0.0.1", 8443),)
    """Addresses for HTTPS."""
    http: Annotated[tuple[Address, ...], Field(max_length=64)] = (Endpoint("127.0.0.1", 8080),)
    """Addresses for plain HTTP (see http.mode); [] closes it."""
    proxy_protocol: StrictBool = False
    """A load balancer in front speaks the PROXY protocol (v1 or v2) on every connection."""
    http3: StrictBool = False
    """Also HTTP/3 on the UDP ports of listen.https; refused together with client certificates for now."""


class CertificateFiles(Model):
    """A certificate that somebody else obtains and renews."""

    chain: File = ""
    """PEM file: the certificate first, then its issuers."""
    key: File = ""
    """PEM file with the private key, readable by nobody else."""


class Certificate(Model):
    """Where the server's certificate comes from."""

    source: Literal["private", "files"] = "private"
    """private: issued and renewed by Sealgate's own authority; files: watched, never written."""
    key_type: Literal["ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096"] = "ecdsa-p256"
    """Key of certificates issued here."""
    files: CertificateFiles = CertificateFiles()


class Tls(Model):
    """Protocol versions, cipher suites and groups, by a dated profile."""

    profile: Annotated[StrictStr, Expected("a profile", "intermediate@6.0")] = "intermediate@6.0"
    """modern@6.0 | intermediate@6.0: dated data; a newer guideline is a new name, never a silent change."""


class Hsts(Model):
    """Strict-Transport-Security (RFC 6797)."""

    max_age: Annotated[StrictInt, Field(ge=0, le=10 * 366 * 86400)] = 63072000
    """Seconds; 0 tells browsers to forget. On loopback names at most 300 is sent."""
    include_subdomains: StrictBool = False
    preload: StrictBool = False


class Http(Model):
    """Plain HTTP."""

    mode: Literal["redirect", "refuse"] = "redirect"
    """redirect: 308 to a configured name only; refuse: 403."""
    hsts: Hsts = Hsts()


class Authority(Model):
    """An authority whose client certificates count."""

    name: Annotated[
        StrictStr,
        Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$"),
        Expected("a name of lower-case letters, digits, dots and hyphens", "partners"),
    ] = "private"
    """How rules and logs call it; "private" is Sealgate's own."""
    file: File = ""
    """PEM file of a foreign authority; empty for the private one."""


class Clients(Model):
    """Client certificates."""

    mode: Literal["off", "optional", "required"] = "off"
    """off: none asked; optional: verified if shown; required: no handshake without."""
    authorities: Annotated[tuple[Authority, ...], Field(min_length=1, max_length=1)] = (Authority(),)
    """Default: the private client authority."""


class Limits(Model):
    """What one client may cost."""

    body: Size = 1024**2
    """Largest request body; more is 413."""
    headers: Annotated[Size, Field(ge=1024, le=96 * 1024)] = 16 * 1024
    """All request header fields together; more is 431."""
    connections: Annotated[StrictInt, Field(ge=1, le=10_000_000)] = 10000
    """Open connections of all listeners together."""


class Timeouts(Model):
    """How long a slow peer is waited for."""

    handshake: Duration = 5.0
    """From accept to a finished TLS handshake."""
    headers: Duration = 10.0
    """From the first byte of a request to the end of its header."""
    request: Duration = 30.0
    """From the first byte of a request to its last; and for the app's answer to begin."""
    idle: Duration = 60.0
    """A connection without a request, or an exchange in which nothing moves."""
    drain: Duration = 30.0
    """How long exchanges may go on after a stop, a reload or a renewal of the listener."""


class Policy(Model):
    """One site's whole policy. ``Policy()`` is valid and strict."""

    version: Annotated[StrictInt, Field(ge=1, le=1)] = 1
    site: Site = Site()
    listen: Listen = Listen()
    certificate: Certificate = Certificate()
    tls: Tls = Tls()
    http: Http = Http()
    clients: Clients = Clients()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()

    @property
    def first_name(self) -> str:
        """The name used where one is needed: the first that is no wildcard."""
        for name in self.site.names:
            if not name.startswith("*."):
                return name
        return "www." + self.site.names[0][2:]

    @property
    def public_url(self) -> str:
        """What a client types, without a final slash."""
        if self.site.url:
            return self.site.url
        host, port = self.first_name, self.listen.https[0].port
        host = f"[{host}]" if ":" in host else host
        return f"https://{host}" + ("" if port == 443 else f":{port}")

    @property
    def public_port(self) -> int:
        """The HTTPS port that clients type: of ``site.url``, else of the first HTTPS listener."""
        if self.site.url:
            match = re.search(r":(\d+)$", self.site.url)
            return int(match[1]) if match else 443
        return self.listen.https[0].port

    def hsts_value(self, name: str) -> str:
        """The Strict-Transport-Security value for a name of the site; at most 300 s on loopback names."""
        hsts = self.http.hsts
        if is_loopback_name(name):
            return f"max-age={min(hsts.max_age, 300)}"
        value = f"max-age={hsts.max_age}"
        value += "; includeSubDomains" if hsts.include_subdomains else ""
        return value + ("; preload" if hsts.preload else "")
