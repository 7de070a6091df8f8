"""The policy as data: what `sealgate.toml` may say, and what it means when it says nothing.

Nothing here touches a file or the environment (``load.py`` does). Every value is normalised (``values.py``):
durations are seconds, sizes are bytes, DNS names are lower-case A-labels, addresses are
:class:`Endpoint`. Unknown keys are refused. A key exists when it works.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from sealgate.policy.values import (
    Address,
    App,
    Duration,
    Endpoint,
    Expected,
    File,
    Name,
    Size,
    Upstream,
    Url,
    canonical_name,
    is_address,
    is_loopback_name,
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


class Model(BaseModel):
    """Frozen, strict, and nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Site(Model):
    """What is served, under which names, by which server."""

    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1000)] = ("localhost",)
    """DNS names (wildcards too) and IP addresses; they are in the certificate, any other Host is 421."""
    url: Url = ""
    """What clients type where ports are mapped: "https://api.example.com"; default: first name and port."""
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
    """Seconds for which browsers use HTTPS only; 0: they forget. On loopback names at most 300 is sent."""
    include_subdomains: StrictBool = False
    """The same for every name below this one: only where all of them have HTTPS."""
    preload: StrictBool = False
    """May be built into browsers; needs include_subdomains and a year, and is hard to take back."""


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
    """The format of this file."""
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
