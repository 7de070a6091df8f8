"""Which of nginx's server blocks is the site, and where it listens under which names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from sealgate.engines.configurations.directive import Configuration, Directive
from sealgate.engines.proposals.proposal import Carried, Changed, Finding, Left
from sealgate.policy.values import Address, Endpoint, canonical_name

__all__ = ["Site", "choose", "listeners", "names", "plain_http", "server_names"]

_ADDRESS: TypeAdapter[Endpoint] = TypeAdapter(Address)
_REDIRECTS = frozenset({"301", "302", "303", "307", "308"})
_NO_NAMES = frozenset({"", "_", "__"})


@dataclass(frozen=True, slots=True)
class Site:
    """The server block that the policy is about, and what belongs to it.

    Attributes:
        http: the block that holds all servers.
        server: the one proposed.
        plain: servers of the same names over plain HTTP.
        others: all other servers.
    """

    http: Directive
    server: Directive
    plain: tuple[Directive, ...]
    others: tuple[Directive, ...]

    def effective(self, name: str) -> Directive | None:
        """The directive that counts for the server: its own, or the one it inherits."""
        return self.server.last(name) or self.http.last(name)

    def each(self, name: str) -> tuple[Directive, ...]:
        """Of directives that may stand several times: the server's own, or all that it inherits."""
        return self.server.own(name) or self.http.own(name)


def server_names(server: Directive) -> tuple[str, ...]:
    """All words of all its ``server_name``."""
    return tuple(word for one in server.own("server_name") for word in one.args)


def _is_tls(listen: Directive, server: Directive, http: Directive) -> bool:
    if {"ssl", "quic"} & set(listen.args[1:]):
        return True
    switch = server.last("ssl") or http.last("ssl")  # until nginx 1.25
    return switch is not None and switch.value == "on"


def _has_tls(server: Directive, http: Directive) -> bool:
    return any(_is_tls(listen, server, http) for listen in server.own("listen"))


def _has_backend(server: Directive) -> bool:
    return any(one.name == "proxy_pass" for one in server.walk())


def choose(configuration: Configuration, wanted: str) -> Site | None:
    """The server of the wanted name; else the first with TLS and a backend, with TLS, with a backend.

    None where there is no server block (of that name) at all.
    """
    https = [block for block in configuration.root.own("http") if block.own("server")]
    if not https:
        return None
    # nginx allows one http block only.
    http = https[0]
    servers = http.own("server")
    candidates = [one for one in servers if not wanted or wanted in server_names(one)]
    if not candidates:
        return None

    def rank(server: Directive) -> tuple[bool, bool]:
        return _has_tls(server, http), _has_backend(server)

    site = max(candidates, key=rank)
    rest = [one for one in servers if one is not site]
    own = set(server_names(site)) - _NO_NAMES
    plain = [one for one in rest if not _has_tls(one, http) and _same_site(one, own)]
    others = [one for one in rest if not any(one is each for each in plain)]
    return Site(http, site, tuple(plain), tuple(others))


def _same_site(server: Directive, own: set[str]) -> bool:
    """Does it answer for these names: by name, or because it answers for all?"""
    said = set(server_names(server)) - _NO_NAMES
    return bool(said & own) or not said


def names(site: Site) -> Iterator[Finding]:
    """``server_name`` as ``site.names``."""
    found: dict[str, None] = {}
    directives = site.server.own("server_name")
    for directive in directives:
        for word in directive.args:
            if word in _NO_NAMES:
                continue
            good, why = _name(word)
            found |= dict.fromkeys(good)
            if why:
                yield Left(directive, f"{word}: {why}")
    if found:
        yield Carried(("site", "names"), tuple(found), directives[0])
    elif directives:
        yield Left(
            directives[0], "names no host, and a policy answers only for names: the default is localhost"
        )


def _name(word: str) -> tuple[tuple[str, ...], str]:
    if word.startswith("~"):
        return (), "names by a regular expression are in no certificate; write them out"
    if word.endswith(".*"):
        return (), "a wildcard at the end is in no certificate; write the names out"
    if "\\" in word or "$" in word or "\ufffd" in word:
        return (), "has an escape or a variable; write it by hand"
    try:
        if word.startswith("."):
            return (canonical_name(word[1:]), canonical_name(f"*{word}")), ""
        return (canonical_name(word),), ""
    except ValueError as error:
        return (), str(error)


def listeners(site: Site) -> Iterator[Finding]:
    """``listen`` of the site as ``listen.https``, of it and its plain HTTP blocks as ``listen.http``."""
    taken: dict[Endpoint, Directive] = {}
    https: list[str] = []
    http: list[str] = []
    first: dict[str, Directive] = {}
    for server in (site.server, *site.plain):
        for listen in server.own("listen"):
            kind = "https" if _is_tls(listen, server, site.http) else "http"
            if "quic" in listen.args:
                yield Carried(("listen", "http3"), value=True, source=listen)
                continue
            endpoint, why = _endpoint(listen.value)
            if endpoint is None:
                yield Left(listen, why)
                continue
            if (before := _covered(endpoint, taken)) is not None:
                if before != endpoint:
                    yield Changed(listen, f"{endpoint} is covered by {before}")
                continue
            taken[endpoint] = listen
            first.setdefault(kind, listen)
            (https if kind == "https" else http).append(str(endpoint))
            if "proxy_protocol" in listen.args:
                yield Carried(("listen", "proxy_protocol"), value=True, source=listen)
    if https:
        yield Carried(("listen", "https"), tuple(https), first["https"])
    elif http:
        # Nothing says where HTTPS would be: beside plain HTTP, as the defaults are beside each other.
        yield from _beside(http, first["http"])
    if https or http:
        source = first.get("http") or first["https"]
        yield Carried(("listen", "http"), tuple(http), source)


def _beside(http: list[str], source: Directive) -> Iterator[Finding]:
    host, _, port = http[0].rpartition(":")
    other = {"80": "443", "8080": "8443"}.get(port, "8443")
    yield Carried(("listen", "https"), (f"{host}:{other}",), source)
    yield Changed(source, f"there was no HTTPS; {host}:{other} is proposed for it")


def _endpoint(word: str) -> tuple[Endpoint | None, str]:
    if word.startswith("unix:"):
        return None, "a policy listens on TCP addresses only"
    text = word
    if re.fullmatch(r"\d{1,5}", word, re.ASCII):
        text = f"0.0.0.0:{word}"
    elif re.fullmatch(r"\[[^\]]*\]|[^:\[\]]+", word):
        text = f"{word}:80"
    try:
        return _ADDRESS.validate_python(text), ""
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        return None, f"{said}; write an IP address and a port by hand"


def _covered(endpoint: Endpoint, taken: dict[Endpoint, Directive]) -> Endpoint | None:
    """An address before it that takes the same connections (``policy.rules`` refuses both)."""
    for other in taken:
        same_family = (":" in other.host) == (":" in endpoint.host)
        wild = {other.host, endpoint.host} & {"0.0.0.0", "::"}  # noqa: S104 - compared
        if other.port == endpoint.port and same_family and (other.host == endpoint.host or wild):
            return other
    return None


def plain_http(site: Site) -> Iterator[Finding]:
    """What plain HTTP answers, as ``http.mode``."""
    blocks = list(site.plain)
    if any(not _is_tls(listen, site.server, site.http) for listen in site.server.own("listen")):
        blocks.append(site.server)
    modes = [mode for block in blocks for mode in _answer(block)]
    for finding in modes:
        if isinstance(finding, Carried) and finding.value == "redirect":
            yield finding
            break
    else:
        yield from (finding for finding in modes[:1] if isinstance(finding, Carried))
    yield from (finding for finding in modes if not isinstance(finding, Carried))


def _answer(server: Directive) -> Iterator[Finding]:
    """The first thing it says to everybody; a redirect to HTTPS wherever it stands."""
    returns = [one for one in server.walk() if one.name in {"return", "rewrite"}]
    for one in returns:
        if any(word.startswith("https://") for word in one.args):
            yield Carried(("http", "mode"), "redirect", one)
            if one.name == "return" and one.value in _REDIRECTS - {"308"}:
                yield Changed(one, f"308 instead of {one.value}: method and body are kept")
            return
    for one in returns:
        if one.name == "return" and re.fullmatch(r"4\d\d", one.value):
            yield Carried(("http", "mode"), "refuse", one)
            return
    if server.own("location", "root"):
        yield Changed(server, "answered requests over plain HTTP; now they are redirected to HTTPS")
