"""The policy as data: what `sealgate.toml` may say, and what it means when it says nothing.

Nothing here touches a file or the environment (``load.py`` does). Every value is normalised (``values.py``):
durations are seconds, sizes are bytes, DNS names are lower-case A-labels, addresses are
:class:`Endpoint`. Unknown keys are refused. A key exists when it works.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from sealgate.policy.access import Access
from sealgate.policy.acme import Acme
from sealgate.policy.base import Model
from sealgate.policy.groups import Groups, Member
from sealgate.policy.identity import SERVICE
from sealgate.policy.monitor import Monitor
from sealgate.policy.network import Admitted, Decided, admitted, decided
from sealgate.policy.rates import Rate, RateStore
from sealgate.policy.secrets import SecretRef
from sealgate.policy.tokens import Tokens
from sealgate.policy.validation import Validation
from sealgate.policy.values import (
    Address,
    App,
    Duration,
    Endpoint,
    Expected,
    File,
    Grace,
    List,
    Name,
    Network,
    Size,
    Upstream,
    Url,
    canonical_name,
    is_address,
    is_loopback_host,
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
    "Member",
    "Model",
    "Monitor",
    "Networks",
    "Policy",
    "Site",
    "Timeouts",
    "Tls",
    "canonical_name",
    "is_address",
    "is_loopback_host",
    "is_loopback_name",
]


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
    engine: Literal["envoy", "nginx", "apache", "gunicorn", "uvicorn"] = "envoy"
    """The server that does TLS and HTTP; gunicorn and uvicorn run the app inside of themselves."""
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

    source: Literal["private", "acme", "files"] = "private"
    """private: by Sealgate's own authority; acme: by a public one; files: watched, never written."""
    key_type: Literal["ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096"] = "ecdsa-p256"
    """Key of certificates issued here."""
    second_key_type: Literal["", "ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096"] = ""
    """Key of a second certificate for the same names, of the other family (RSA beside ECDSA); "": none."""
    acme: Acme = Acme()
    files: CertificateFiles = CertificateFiles()

    @property
    def key_types(self) -> tuple[Literal["ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096"], ...]:
        """Of each certificate that is wanted: one, or two of different families."""
        return (self.key_type, self.second_key_type) if self.second_key_type else (self.key_type,)


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
    crl: List = "auto"
    """Who is revoked. auto: by our own list, or by those that clients' certificates name, which are fetched.

    An address: of the authority's one list, fetched. A path: of its lists (PEM or DER), watched, never
    written. off: nobody is asked.
    """
    ocsp: Literal["off", "fallback"] = "off"
    """fallback: of a certificate that names no list, the responder that it names is asked."""
    grace: Grace = 0.0
    """How long a list still counts past its nextUpdate; then nobody of this authority comes in."""

    @property
    def own(self) -> bool:
        """Is it Sealgate's?"""
        return not self.file

    @property
    def listed(self) -> bool:
        """Does it come with files of lists, that somebody else publishes?"""
        return bool(self.file) and self.crl not in {"off", "auto"} and not self.url

    @property
    def fetched(self) -> bool:
        """Are its lists fetched?"""
        return bool(self.file) and (self.crl == "auto" or bool(self.url))

    @property
    def url(self) -> str:
        """Where its one list is; empty: elsewhere, or nowhere."""
        return self.crl if "://" in self.crl else ""


class Clients(Model):
    """Client certificates."""

    mode: Literal["off", "optional", "required"] = "off"
    """off: none asked; optional: verified if shown; required: no handshake without."""
    authorities: Annotated[tuple[Authority, ...], Field(min_length=1, max_length=64)] = (Authority(),)
    """Default: the private client authority. Each client is judged by its own authority's rule alone."""
    groups: Groups = Field(default={})
    """Lists of patterns by group, which may be empty; `client add --group` adds single certificates."""


class Networks(Model):
    """Who may come in, by address. On plain HTTP, ACME and the list of the revoked are for everyone."""

    allow: Annotated[tuple[Network, ...], Field(max_length=100_000)] = ()
    """Networks and addresses, IPv4 and IPv6, that may come in; []: everyone."""
    deny: Annotated[tuple[Network, ...], Field(max_length=100_000)] = ()
    """Networks and addresses that may not, even where allow names them."""
    trusted_proxies: Annotated[tuple[Network, ...], Field(max_length=1000)] = ()
    """Proxies of yours, whose word counts about whom they forward: Forwarded, or X-Forwarded-For."""
    fetch: Annotated[tuple[Network, ...], Field(max_length=1000)] = ()
    """Networks of your own that revocation lists may be fetched from; []: the whole internet's alone."""

    def admitted(self) -> Admitted:
        """Who may come in."""
        return admitted(self.allow, self.deny)

    def decided(self) -> Decided:
        """The same by the longest prefix."""
        return decided(self.allow, self.deny)

    def trusted(self) -> Admitted | None:
        """Proxies; None: there are none."""
        return admitted(self.trusted_proxies, ()) if self.trusted_proxies else None

    @property
    def ruled_by_peer(self) -> bool:
        """Are there rules that an engine can judge by whence a connection comes? Not behind proxies."""
        return bool(self.allow or self.deny) and not self.trusted_proxies


class Limits(Model):
    """What one client may cost."""

    body: Size = 1024**2
    """Largest request body; more is 413."""
    headers: Annotated[Size, Field(ge=1024, le=96 * 1024)] = 16 * 1024
    """All request header fields together; more is 431."""
    connections: Annotated[StrictInt, Field(ge=1, le=10_000_000)] = 10000
    """Open connections of all listeners together."""
    rates: Annotated[
        tuple[Annotated[Rate, Expected('{ by = "address", rate = "100/min" }')], ...], Field(max_length=16)
    ] = ()
    """How often one caller may call; one budget for all workers; more is 429."""
    rate_store: RateStore = "memory"
    """memory: one budget for all workers of this machine; redis://..., rediss://...: for all machines."""
    rate_store_password: SecretRef | None = None
    """What the server asks for."""
    rate_store_failure: Literal["local", "deny"] = "local"
    """While it cannot be asked. local: each machine counts alone, and says so; deny: 503."""


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

    version: Annotated[
        StrictInt, Field(ge=1, le=1), Expected("the format that this version of Sealgate reads", "1")
    ] = 1
    """The format of this file."""
    site: Site = Site()
    listen: Listen = Listen()
    certificate: Certificate = Certificate()
    tls: Tls = Tls()
    http: Http = Http()
    clients: Clients = Clients()
    network: Networks = Networks()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    tokens: Tokens = Tokens()
    access: Access = Access()
    validation: Validation = Validation()
    monitor: Monitor = Monitor()

    @property
    def first_name(self) -> str:
        """The name used where one is needed: the first that is no wildcard."""
        for name in self.site.names:
            if not name.startswith("*."):
                return name
        return "www." + self.site.names[0][2:]

    @property
    def client_lists(self) -> bool:
        """Are client certificates checked against files of revocation lists?"""
        return self.clients.mode != "off" and any(one.listed for one in self.clients.authorities)

    @property
    def fetched_lists(self) -> bool:
        """Are client certificates checked against lists that are fetched?"""
        return self.clients.mode != "off" and any(one.fetched for one in self.clients.authorities)

    @property
    def own_list(self) -> bool:
        """Do client certificates of the private authority count? Its own list of the revoked does, too."""
        return self.clients.mode != "off" and any(one.own for one in self.clients.authorities)

    @property
    def engine_lists(self) -> bool:
        """Can the engine judge by lists in the handshake?

        It takes all authorities' lists together: of one without a list it would refuse everyone, and it knows
        no grace. Then the guard judges alone.
        """
        return self.clients.mode != "off" and all(
            one.own or (one.listed and not one.grace) for one in self.clients.authorities
        )

    @property
    def asks_guard(self) -> bool:
        """Is a guard asked for each request before another backend? Where something needs one."""
        needed = self.clients.mode != "off" or self.tokens.asked or self.judges_access or self.limits.rates
        return bool(self.site.upstream and needed) and self.site.engine == "envoy"

    @property
    def worker_app(self) -> str:
        """What workers run: the app, or what answers for the guard that is asked; empty: there are none."""
        return SERVICE if self.asks_guard else self.site.app

    @property
    def authenticates(self) -> bool:
        """Can callers show who they are?"""
        return self.clients.mode != "off" or self.tokens.asked

    @property
    def access_default(self) -> Literal["none", "authenticated", "deny"]:
        """Who may do what no rule speaks of."""
        if self.access.default == "auto":
            return "authenticated" if self.authenticates else "none"
        return self.access.default

    @property
    def judges_access(self) -> bool:
        """Must somebody judge who may do what? Who gets no handshake without a certificate is known."""
        if self.access.rules or self.access_default == "deny":
            return True
        return self.access_default == "authenticated" and self.clients.mode != "required"

    @property
    def credential_fields(self) -> tuple[str, ...]:
        """Header fields, lower-case, in which callers show tokens; none: nobody's count."""
        if not self.tokens.asked:
            return ()
        field = self.tokens.api_key_header
        return ("authorization", field) if field else ("authorization",)

    def judges_addresses(self, *, tls: bool) -> bool:
        """Does a listener ask whence a request comes? Plain HTTP that refuses everyone need not."""
        return self.network.ruled_by_peer and (tls or self.http.mode == "redirect")

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
        if is_loopback_host(name):
            return f"max-age={min(hsts.max_age, 300)}"
        value = f"max-age={hsts.max_age}"
        value += "; includeSubDomains" if hsts.include_subdomains else ""
        return value + ("; preload" if hsts.preload else "")
