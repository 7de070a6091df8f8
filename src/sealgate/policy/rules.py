"""What single keys cannot say: combinations that contradict each other, or that no engine could honour.

A rule is a function from a policy to its findings, in the table at the end. A rule runs only when none of the
keys it reads is itself wrong, so that one mistake is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.positions import KeyPath
from sealgate.policy.profiles import closest_profile, load_profile, profile_ids
from sealgate.policy.quoting import shown

__all__ = ["RULES", "Finding", "Rule", "name_matches"]

_YEAR = 31536000


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction, at the key where people would mend it."""

    key: KeyPath
    fact: str
    expected: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A judge, and the keys it reads (dotted)."""

    reads: tuple[str, ...]
    judge: Callable[[Policy], Iterator[Finding]]


def _one_backend(policy: Policy) -> Iterator[Finding]:
    if policy.site.app and policy.site.upstream:
        yield Finding(("site", "upstream"), "app and upstream are both set", "one of them", "take one out")


def _http3(policy: Policy) -> Iterator[Finding]:
    if not policy.listen.http3:
        return
    where = ("listen", "http3")
    if policy.clients.mode != "off":
        yield Finding(
            where, "HTTP/3 together with client certificates", 'false while clients.mode is not "off"'
        )
    if policy.listen.proxy_protocol:
        yield Finding(
            where,
            "HTTP/3 together with the PROXY protocol, which is for TCP",
            "one of http3 and proxy_protocol",
        )


def _certificate_files(policy: Policy) -> Iterator[Finding]:
    files = policy.certificate.files
    given = {"chain": files.chain, "key": files.key}
    for name, value in given.items():
        where = ("certificate", "files", name)
        if policy.certificate.source == "files" and not value:
            yield Finding(where, 'is missing while certificate.source is "files"', "the path of a PEM file")
        if policy.certificate.source != "files" and value:
            source = policy.certificate.source
            fact = f"is set while certificate.source is {shown(source)}"
            yield Finding(where, fact, "no files", 'set certificate.source = "files", or take this out')


def name_matches(pattern: str, host: str) -> bool:
    """Does a name of the site cover this host? A wildcard stands for exactly one label (RFC 9525 §6.3)."""
    if pattern.startswith("*."):
        return host.partition(".")[2] == pattern[2:] and not host.startswith("*")
    return pattern == host


def _url_host(policy: Policy) -> Iterator[Finding]:
    if not policy.site.url:
        return
    match = re.fullmatch(r"https://(\[[^\]]*\]|[^:]*)(?::\d+)?", policy.site.url)
    host = match[1].strip("[]") if match else ""
    if not any(name_matches(name, host) for name in policy.site.names):
        yield Finding(
            ("site", "url"),
            f"its host {shown(host)} is none of site.names",
            "a host that is in the certificate",
            f"add {shown(host)} to site.names",
        )


def _duplicate_names(policy: Policy) -> Iterator[Finding]:
    names = policy.site.names
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Finding(("site", "names", index), f"{shown(name)} a second time", "each name once")


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    """Would both take the same connections? IPv4 and IPv6 sockets are kept apart."""
    if one.port != other.port or (":" in one.host) != (":" in other.host):
        return False
    return one.host == other.host or bool({one.host, other.host} & {"0.0.0.0", "::"})  # noqa: S104 - compared


def _listeners(policy: Policy) -> Iterator[Finding]:
    places: list[tuple[KeyPath, Endpoint]] = [
        (("listen", kind, index), endpoint)
        for kind, endpoints in (("https", policy.listen.https), ("http", policy.listen.http))
        for index, endpoint in enumerate(endpoints)
    ]
    told: set[KeyPath] = set()
    for (_, one), (where, other) in combinations(places, 2):
        if _overlap(one, other) and where not in told:
            told.add(where)
            fact = f"{other} a second time" if one == other else f"{other} is already covered by {one}"
            yield Finding(where, fact, "each address and port once, over https and http")


def _preload(policy: Policy) -> Iterator[Finding]:
    hsts = policy.http.hsts
    if not hsts.preload:
        return
    where = ("http", "hsts", "preload")
    if not hsts.include_subdomains:
        yield Finding(
            where, "preload without include_subdomains", "http.hsts.include_subdomains = true with it"
        )
    if hsts.max_age < _YEAR:
        yield Finding(
            where, f"preload with max_age = {hsts.max_age}", f"http.hsts.max_age of at least {_YEAR} (a year)"
        )


def _profile(policy: Policy) -> Iterator[Finding]:
    name = policy.tls.profile
    if name in profile_ids():
        return
    close = closest_profile(name)
    remedy = f'did you mean "{close}"?' if close else ""
    yield Finding(
        ("tls", "profile"), f"there is no profile {shown(name)}", " or ".join(profile_ids()), remedy
    )


def _key_type(policy: Policy) -> Iterator[Finding]:
    if policy.tls.profile not in profile_ids():
        return
    profile, key_type = load_profile(policy.tls.profile), policy.certificate.key_type
    if policy.certificate.source == "private" and not profile.accepts_key(key_type):
        kinds = " or ".join(profile.certificate_types).upper()
        fact = f"{shown(key_type)} does not fit the profile {profile.id}"
        yield Finding(("certificate", "key_type"), fact, f"a key of the kind {kinds}")


def _timeouts(policy: Policy) -> Iterator[Finding]:
    timeouts = policy.timeouts
    if timeouts.headers > timeouts.request:
        yield Finding(
            ("timeouts", "headers"),
            f"{timeouts.headers:g} s is longer than timeouts.request ({timeouts.request:g} s)",
            "at most timeouts.request, which includes the headers",
        )


def _authorities(policy: Policy) -> Iterator[Finding]:
    for index, authority in enumerate(policy.clients.authorities):
        where = ("clients", "authorities", index, "file")
        if authority.name == "private" and authority.file:
            yield Finding(
                where,
                'a file for the authority "private", which is Sealgate\'s own',
                "none",
                "give it another name",
            )
        if authority.name != "private" and not authority.file:
            yield Finding(
                where, f"no file for the authority {shown(authority.name)}", "the path of a PEM file"
            )


RULES: tuple[Rule, ...] = (
    Rule(("site.app", "site.upstream"), _one_backend),
    Rule(("listen.http3", "clients.mode", "listen.proxy_protocol"), _http3),
    Rule(("certificate.source", "certificate.files"), _certificate_files),
    Rule(("site.url", "site.names"), _url_host),
    Rule(("site.names",), _duplicate_names),
    Rule(("listen.https", "listen.http"), _listeners),
    Rule(("http.hsts",), _preload),
    Rule(("tls.profile",), _profile),
    Rule(("tls.profile", "certificate.key_type", "certificate.source"), _key_type),
    Rule(("timeouts.headers", "timeouts.request"), _timeouts),
    Rule(("clients.authorities",), _authorities),
)
