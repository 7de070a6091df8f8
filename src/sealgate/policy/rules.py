"""What single keys cannot say: combinations that contradict each other, or that no engine could honour.

A rule is a function from a policy to its findings, in the table at the end. A rule runs only when none of the
keys it reads is itself wrong, so that one mistake is reported once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from sealgate.policy import access_rules
from sealgate.policy.acme import Acme, Fallback
from sealgate.policy.findings import Finding, Rule
from sealgate.policy.model import Endpoint, Policy, is_address
from sealgate.policy.network import EVERYONE, shut_out
from sealgate.policy.positions import KeyPath
from sealgate.policy.profiles import closest_profile, load_profile, profile_ids
from sealgate.policy.quoting import shown
from sealgate.policy.values import is_public_name

__all__ = ["RULES", "Finding", "Rule", "name_matches"]

_YEAR = 31536000
_ACME = Acme()


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
    monitor = (("listen", policy.monitor.page), ("probes", policy.monitor.probe))
    places += [(("monitor", name), endpoint) for name, endpoint in monitor if endpoint is not None]
    told: set[KeyPath] = set()
    for (_, one), (where, other) in combinations(places, 2):
        if _overlap(one, other) and where not in told:
            told.add(where)
            fact = f"{other} a second time" if one == other else f"{other} is already covered by {one}"
            yield Finding(where, fact, "each address and port once, over https, http and monitor")


def _monitor(policy: Policy) -> Iterator[Finding]:
    page = policy.monitor.page
    if page is not None and not page.is_loopback:
        yield Finding(
            ("monitor", "listen"),
            f"{page} can be reached from elsewhere, and the page asks nobody who he is",
            f"a loopback address: 127.0.0.1:{page.port}",
            f"reach it from elsewhere through ssh -L {page.port}:127.0.0.1:{page.port}",
        )


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
    if policy.certificate.source != "files" and not profile.accepts_key(key_type):
        kinds = " or ".join(profile.certificate_types).upper()
        fact = f"{shown(key_type)} does not fit the profile {profile.id}"
        yield Finding(("certificate", "key_type"), fact, f"a key of the kind {kinds}")


def _second_key(policy: Policy) -> Iterator[Finding]:
    """Servers hold one certificate of each family (OpenSSL and BoringSSL choose by the kind of signature)."""
    certificate, where = policy.certificate, ("certificate", "second_key_type")
    second = certificate.second_key_type
    if not second or policy.tls.profile not in profile_ids():
        return
    profile, family = load_profile(policy.tls.profile), second.partition("-")[0]
    if certificate.source == "files":
        fact = 'is set while certificate.source is "files", which names one pair'
        remedy = 'take it out, or have both made here: certificate.source = "acme" or "private"'
        yield Finding(where, fact, '""', remedy)
    elif certificate.key_type.startswith(family):
        other = "rsa-3072" if family == "ecdsa" else "ecdsa-p256"
        fact = f"{shown(second)} beside {shown(certificate.key_type)}: servers hold one of each family"
        yield Finding(where, fact, f"a key of the other family, such as {other}, or none")
    elif not profile.accepts_key(second):
        fact = f"{shown(second)} does not fit the profile {profile.id}: no client could be shown it"
        remedy = 'take it out, or set tls.profile = "intermediate@6.0"'
        kinds = " or ".join(profile.certificate_types).upper()
        yield Finding(where, fact, f"a key of the kind {kinds}", remedy)


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
        if authority.crl != "auto" and not authority.file:
            yield Finding(
                ("clients", "authorities", index, "crl"),
                "another list for the private authority, which is judged by its own one, always",
                '"auto", or file for a foreign authority',
            )
        if authority.ocsp != "off" and not (authority.file and authority.crl == "auto"):
            yield Finding(
                ("clients", "authorities", index, "ocsp"),
                "OCSP where no certificate is asked for what it names: it stands in where that is no list",
                '"off", or crl = "auto" for a foreign authority',
            )
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
        if authority.grace and not (authority.listed or authority.fetched):
            yield Finding(
                ("clients", "authorities", index, "grace"),
                f"how long lists of {shown(authority.name)} still count, which has none here",
                '"0s", or crl with its lists',
            )
        if authority.name in {one.name for one in policy.clients.authorities[:index]}:
            yield Finding(
                ("clients", "authorities", index, "name"),
                f"there is an authority {shown(authority.name)} already",
                "another name",
            )


def _lists_need_a_guard(policy: Policy) -> Iterator[Finding]:
    """An engine judges by everyone's lists, without grace, or by none; the guard, which can, needs an app."""
    if not policy.site.upstream or policy.asks_guard or policy.engine_lists:
        return
    if not (policy.client_lists or policy.fetched_lists or policy.own_list):
        return
    for index, authority in enumerate(policy.clients.authorities):
        where = ("clients", "authorities", index)
        if authority.fetched:
            yield Finding(
                (*where, "crl"),
                f"lists of {shown(authority.name)} that would be fetched, before an upstream: the server "
                "judges by files that are there when it starts",
                'the path of its lists, or "off" where every authority has it',
                "have the lists fetched into a file, or serve an app by site.app: the guard judges by them",
            )
        elif authority.file and not authority.listed:
            yield Finding(
                (*where, "crl"),
                f"no lists of {shown(authority.name)} beside an authority with lists, before an upstream: "
                "the server could judge nobody by them",
                "the path of its lists",
                "name its lists, or serve an app by site.app: the guard judges each by its own authority",
            )
        elif authority.grace:
            yield Finding(
                (*where, "grace"),
                "grace before an upstream: the server would refuse past nextUpdate at once",
                '"0s"',
                "take it out, or serve an app by site.app: then the guard judges",
            )


def _groups(policy: Policy) -> Iterator[Finding]:
    """A pattern of an authority that nobody counts by would let nobody in, and look as if it did."""
    known = [authority.name for authority in policy.clients.authorities]
    for group, members in policy.clients.groups.items():
        for index, member in enumerate(members):
            if member.authority not in known:
                yield Finding(
                    ("clients", "groups", group, index, "authority"),
                    f"there is no authority {shown(member.authority)} in clients.authorities",
                    " or ".join(map(shown, known)),
                )


def _network(policy: Policy) -> Iterator[Finding]:
    """What would do nothing, and what would let nobody in."""
    network = policy.network
    for index in shut_out(network.allow, network.deny):
        fact = f"{shown(network.allow[index])} lies in network.deny as a whole, which wins"
        remedy = "take it out here, or name in network.deny only what shall be shut out"
        yield Finding(("network", "allow", index), fact, "networks that may come in", remedy)
    if not network.allow and network.admitted().nobody:
        yield Finding(
            ("network", "deny"), "nobody is left who may come in", "networks that shall be shut out"
        )


def _proxies(policy: Policy) -> Iterator[Finding]:
    """Whoever is trusted says himself from where he calls."""
    trusted = policy.network.trusted()
    if trusted is not None and (trusted.four == EVERYONE.four or trusted.six == EVERYONE.six):
        yield Finding(
            ("network", "trusted_proxies"),
            "every address is a trusted proxy, so each caller could choose his own address",
            "the networks of your proxies alone",
        )


def _acme_unused(policy: Policy) -> Iterator[Finding]:
    """A table that nothing reads: whoever wrote it means a certificate that he does not get."""
    source = policy.certificate.source
    if source == "acme":
        return
    for name in Acme.model_fields:
        if getattr(policy.certificate.acme, name) != getattr(_ACME, name):
            fact = f"is set while certificate.source is {shown(source)}"
            remedy = 'set certificate.source = "acme", or take this out'
            yield Finding(("certificate", "acme", name), fact, "nothing", remedy)


def _acme_challenge(policy: Policy) -> Iterator[Finding]:
    """What one way of proving names cannot prove (RFC 8555 §8.3, §8.4; RFC 8738 §4, §7)."""
    if policy.certificate.source != "acme":
        return
    challenge, where = policy.certificate.acme.challenge, ("certificate", "acme", "challenge")
    if challenge == "http-01" and not policy.listen.http:
        fact = "http-01 while listen.http is closed: the authority asks on port 80"
        remedy = 'open listen.http = ["0.0.0.0:80"], or set challenge = "tls-alpn-01" (Envoy) or "dns-01"'
        yield Finding(where, fact, "a way that needs no port 80", remedy)
    for index, name in enumerate(policy.site.names):
        if name.startswith("*.") and challenge != "dns-01":
            fact = f"{shown(name)} cannot be proven by {challenge}"
            remedy = 'set certificate.acme.challenge = "dns-01"'
            yield Finding(("site", "names", index), fact, "no wildcards", remedy)
        if is_address(name) and challenge == "dns-01":
            fact = f"{shown(name)} cannot be proven by dns-01: an address has no zone"
            remedy = 'set certificate.acme.challenge = "http-01"'
            yield Finding(("site", "names", index), fact, "DNS names", remedy)


def _acme_dns(policy: Policy) -> Iterator[Finding]:
    acme, where = policy.certificate.acme, ("certificate", "acme", "dns")
    if policy.certificate.source != "acme":
        return
    if acme.challenge != "dns-01":
        if acme.dns != _ACME.dns:
            fact = f"is set while certificate.acme.challenge is {shown(acme.challenge)}"
            yield Finding(where, fact, "nothing", 'set challenge = "dns-01", or take this out')
        return
    given = [name for name, value in (("rfc2136", acme.dns.rfc2136), ("hook", acme.dns.hook)) if value]
    if len(given) != 1:
        fact = "rfc2136 and hook are both set" if given else "nothing says how records come into the zone"
        yield Finding(where, fact, "one of rfc2136 and hook", "take one out" if given else "")


def _acme_names(policy: Policy) -> Iterator[Finding]:
    """Names that a public authority refuses, and the whole order with them (BR §4.2.2)."""
    acme = policy.certificate.acme
    directories: list[Acme | Fallback] = [acme, *acme.fallback]
    public = [one.directory for one in directories if not one.ca_file and _is_public_directory(one.directory)]
    if policy.certificate.source != "acme" or not public:
        return
    for index, name in enumerate(policy.site.names):
        if not is_public_name(name):
            fact = f"no public authority signs {shown(name)}, and {_host(public[0])} would refuse all names"
            remedy = 'name others, or use source = "private", or name your own authority with its ca_file'
            told = "names" in policy.site.model_fields_set
            where: KeyPath = ("site", "names", index) if told else ("certificate", "source")
            yield Finding(where, fact, "site.names that others can reach", remedy)


def _host(url: str) -> str:
    match = re.match(r"https://(\[[^\]]*\]|[^/:]*)", url)
    return match[1].strip("[]").lower() if match else ""


def _is_public_directory(url: str) -> bool:
    return is_public_name(_host(url))


RULES: tuple[Rule, ...] = (
    Rule(("site.app", "site.upstream"), _one_backend),
    Rule(("listen.http3", "clients.mode", "listen.proxy_protocol"), _http3),
    Rule(("certificate.source", "certificate.files"), _certificate_files),
    Rule(("certificate.source", "certificate.acme"), _acme_unused),
    Rule(("certificate.source", "certificate.acme.challenge", "listen.http", "site.names"), _acme_challenge),
    Rule(("certificate.source", "certificate.acme.challenge", "certificate.acme.dns"), _acme_dns),
    Rule(("certificate.source", "certificate.acme", "site.names"), _acme_names),
    Rule(("site.url", "site.names"), _url_host),
    Rule(("site.names",), _duplicate_names),
    Rule(("listen.https", "listen.http", "monitor.listen", "monitor.probes"), _listeners),
    Rule(("monitor.listen",), _monitor),
    Rule(("http.hsts",), _preload),
    Rule(("tls.profile",), _profile),
    Rule(("tls.profile", "certificate.key_type", "certificate.source"), _key_type),
    Rule(
        ("tls.profile", "certificate.key_type", "certificate.second_key_type", "certificate.source"),
        _second_key,
    ),
    Rule(("timeouts.headers", "timeouts.request"), _timeouts),
    Rule(("clients.authorities",), _authorities),
    Rule(("clients.mode", "clients.authorities", "site.upstream"), _lists_need_a_guard),
    Rule(("clients.groups", "clients.authorities"), _groups),
    Rule(("network.allow", "network.deny"), _network),
    Rule(("network.trusted_proxies",), _proxies),
    Rule(("access.default", "clients.mode", "tokens"), access_rules.unauthenticated),
    Rule(("tokens", "clients.mode"), access_rules.issuers),
    Rule(("limits", "tokens", "clients.mode"), access_rules.rates),
    Rule(
        ("access.rules", "clients.mode", "clients.groups", "clients.authorities", "tokens"),
        access_rules.requirements,
    ),
    Rule(("access.rules",), access_rules.shadowed),
)
