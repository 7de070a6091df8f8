"""Who enforces what when the server is installed by somebody else and a backend stands behind it. Pure.

What the main configuration alone can say is its owner's; where that would break a promise silently it is a
refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from sealgate.engines.callers import access, rates, tokens, validation
from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.engines.promises import EARLY, acme, key_type, monitor, network
from sealgate.policy.model import Endpoint, Policy
from sealgate.policy.profiles import load_profile

__all__ = ["Words", "promises", "second_key", "unseen", "watching"]

_ENGINE, _KEEPER = Enforcer.ENGINE, Enforcer.KEEPER
_WATCH = "`sealgate watch` beside it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What differs from one server to the next: by what means, and what exactly holds.

    Attributes:
        title: as people say it.
        host, path, addresses, spoofed, body, headers: means.
        long: what becomes of a header that is longer, beside 431.
        connections: what holds about open connections, with a place for the number.
        handshake, header, request, idle: what holds about the timeouts, with places for seconds by the
            policy's names, and for the shorter of two: ``{first}`` of handshake and headers, ``{pause}`` of
            request and idle.
        groups: key exchange that it can be told.
        reload: what one costs requests, with figures.
        seconds: what its timers make of a number of seconds.
    """

    title: str
    host: str
    path: str
    addresses: str
    spoofed: str
    body: str
    headers: str
    long: str
    connections: str
    handshake: str
    header: str
    request: str
    idle: str
    groups: tuple[str, ...]
    reload: str
    seconds: Callable[[float], float] = float


def promises(policy: Policy, words: Words) -> tuple[Capability | Refusal, ...]:
    """Every promise of this policy, in the order of the file; refusals among them."""
    parts = (_site, _always, _listen, _certificate, _tls, _http, _network, _limits, _timeouts)
    rows = [row for part in parts for row in part(policy, words)]
    return (
        *rows,
        *access(policy),
        *tokens(policy),
        *rates(policy),
        *validation(policy),
        *watching(policy),
        *_refusals(policy, words),
        *unseen(policy),
    )


def watching(policy: Policy) -> Iterator[Capability]:
    """Nothing of ours runs by itself: what is shown and told needs somebody who starts `sealgate watch`."""
    for row in monitor(policy, _WATCH):
        started = row.how.startswith(_WATCH)
        yield replace(row, promise=f"once you start `sealgate watch`: {row.promise}") if started else row


def _site(policy: Policy, words: Words) -> Iterator[Capability]:
    site = policy.site
    names = ", ".join(site.names[:3]) + (f" and {len(site.names) - 3} more" if len(site.names) > 3 else "")
    yield Capability("site.names", f"only {names}; any other Host is 421", _ENGINE, words.host)
    yield Capability(
        "site.url", f"clients reach it as {policy.public_url}", _ENGINE, "redirects lead to its port"
    )
    how = "verified TLS to it" if site.upstream.startswith("https:") else "the one backend there is"
    yield Capability("site.upstream", f"requests go to {site.upstream} and nowhere else", _ENGINE, how)


def _always(_policy: Policy, words: Words) -> Iterator[Capability]:
    title = words.title
    yield Capability(ALWAYS, "a path that is not canonical is 400", _ENGINE, words.path)
    yield Capability(ALWAYS, "what is known to speak for a proxy is not passed on", _ENGINE, words.spoofed)
    yield Capability(ALWAYS, "ambiguous HTTP (two lengths, odd bytes) is 400", _ENGINE, f"{title}'s parser")
    how = "said anew in our file, or apply refuses it with its line"
    yield Capability(ALWAYS, "nothing that you say for all sites decides here", _ENGINE, how)
    yield Capability(ALWAYS, "requests are logged as you told the server", _ENGINE, "your own access log")
    how = "its check before, handshakes after each change; `sealgate observe`"
    yield Capability("site.engine", f"your {title} serves what is meant", _KEEPER, how)
    yield Capability("version", "this policy is read as version 1", _KEEPER, "unknown keys are refused")


def _listen(policy: Policy, _words: Words) -> Iterator[Capability]:
    listen = policy.listen
    https, http = (", ".join(map(str, listeners)) for listeners in (listen.https, listen.http))
    yield Capability("listen.https", f"HTTPS on {https}", _ENGINE, "one listener each")
    plain = f"plain HTTP on {http}" if http else "no plain HTTP port of ours is open"
    yield Capability("listen.http", plain, _ENGINE, "one listener each" if http else "no listener")
    proxy = "begin with the PROXY protocol" if listen.proxy_protocol else "begin without the PROXY protocol"
    yield Capability("listen.proxy_protocol", f"connections {proxy}", _ENGINE, "parameter of the listener")
    yield Capability("listen.http3", "HTTP/3 is off", _ENGINE, "no UDP port")


def _certificate(policy: Policy, words: Words) -> Iterator[Capability | Refusal]:
    certificate = policy.certificate
    yield from acme(policy, title=words.title, renewed="at each apply that finds it due")
    if certificate.source == "files":
        how = "key, names, dates, at each apply"
        yield Capability("certificate.source", "your certificate, checked before it is served", _KEEPER, how)
        for key in ("chain", "key"):
            path = getattr(certificate.files, key)
            yield Capability(f"certificate.files.{key}", f"the {key} comes from {path}", _KEEPER, "copied")
    elif certificate.source == "private":
        promise = "issued by the private authority, renewed at each apply that finds it due"
        yield Capability("certificate.source", promise, _KEEPER, "from 2/3 of 47 days on")
        yield Capability("certificate.files", "no files of yours are read", _KEEPER, "source is private")
    kind = key_type(policy)
    yield kind
    yield from second_key(policy)
    if not certificate.second_key_type:
        yield Capability("certificate.second_key_type", "one certificate alone", _KEEPER, kind.promise)


def second_key(policy: Policy) -> Iterator[Refusal]:
    """A second certificate, which `apply` puts into no server yet."""
    if policy.certificate.second_key_type:
        reason = "a second certificate is served by the servers of `sealgate serve` alone, for now"
        way = '"" here, or have `sealgate serve` run the server'
        yield Refusal("certificate.second_key_type", reason, way)


def _tls(policy: Policy, words: Words) -> Iterator[Capability]:
    profile = load_profile(policy.tls.profile)
    versions = " and ".join(p.replace("TLSv", "") for p in profile.protocols)
    suites = len(profile.tls12_suites) + len(profile.tls13_suites)
    yield Capability("tls.profile", f"TLS {versions} only; {suites} suites", _ENGINE, profile.id)
    groups = ", ".join(name for name in profile.groups if name in words.groups)
    yield Capability("tls.profile", f"key exchange {groups}", _ENGINE, "what every supported OpenSSL has")


def _http(policy: Policy, _words: Words) -> Iterator[Capability]:
    redirect = f"308 to HTTPS on the same name, port {policy.public_port}, path and query kept"
    plain = redirect if policy.http.mode == "redirect" else "403, as application/problem+json"
    plain = plain if policy.listen.http else "nothing of ours answers"
    yield Capability("http.mode", f"plain HTTP: {plain}", _ENGINE, "the backend never sees plain HTTP")
    values = dict.fromkeys(policy.hsts_value(name) for name in policy.site.names)
    yield Capability(
        "http.hsts", f"browsers use HTTPS only: {' or '.join(values)}", _ENGINE, "added to every answer"
    )
    yield Capability("clients", "no client certificate is asked for", _ENGINE, "in the TLS handshake")


def _network(policy: Policy, words: Words) -> Iterator[Capability | Refusal]:
    for row in network(policy, _ENGINE, words.addresses):
        if row.key == "network.trusted_proxies" and policy.network.trusted_proxies:
            reason = "there is no guard behind it that could read whom proxies forward for"
            yield Refusal(row.key, reason, "listen.proxy_protocol, or `sealgate serve`")
        else:
            yield row


def unseen(policy: Policy) -> Iterator[Refusal]:
    """Looks come from this machine: where it may not come in, none would see more than that."""
    admitted = policy.network.admitted()
    looking = dict.fromkeys(map(_looking, (*policy.listen.https, *policy.listen.http)))
    lacking = [address for address in looking if not admitted.admits(address)]
    if lacking:
        reason = f"{lacking[0]} may not come in, and from there is looked whether the site is served as meant"
        key = "network.allow" if policy.network.allow else "network.deny"
        yield Refusal(key, reason, f"{lacking[0]} among those who may, or `sealgate serve`")


def _looking(endpoint: Endpoint) -> str:
    """From where the kernel lets this machine look at a listener of its own."""
    if endpoint.is_loopback or endpoint.host in {"0.0.0.0", "::"}:  # noqa: S104 - compared
        return "::1" if ":" in endpoint.host else "127.0.0.1"
    return endpoint.host


def _limits(policy: Policy, words: Words) -> Iterator[Capability]:
    limits = policy.limits
    body = f"request body at most {limits.body} bytes; more is 413, {EARLY}"
    yield Capability("limits.body", body, _ENGINE, words.body)
    headers = f"request header at most {limits.headers} bytes; more is 431, {words.long}"
    yield Capability("limits.headers", headers, _ENGINE, words.headers)
    connections = words.connections.format(limits.connections)
    yield Capability("limits.connections", connections, _ENGINE, "in our file; the rest is yours")


def _timeouts(policy: Policy, words: Words) -> Iterator[Capability]:
    t, timer = policy.timeouts, words.seconds
    values = {
        "handshake": timer(t.handshake),
        "headers": timer(t.headers),
        "first": timer(min(t.handshake, t.headers)),
        "request": timer(t.request),
        "pause": timer(min(t.request, t.idle)),
        "idle": t.idle,
    }
    said = {name: f"{value:g} s" for name, value in values.items()}
    for key, words_of in (
        ("handshake", words.handshake),
        ("headers", words.header),
        ("request", words.request),
        ("idle", words.idle),
    ):
        promise = words_of.format(**said)
        yield Capability(f"timeouts.{key}", promise, _ENGINE, "timer")
    drain = "on a reload, exchanges end as your server's own settings say"
    yield Capability("timeouts.drain", drain, _ENGINE, "graceful reload")
    how = "a graceful reload, of which nobody tells clients before: RFC 9112 §9.3.1 has them ask again"
    yield Capability("timeouts.drain", words.reload, _ENGINE, how)


def _refusals(policy: Policy, words: Words) -> Iterator[Refusal]:
    if policy.site.app or not policy.site.upstream:
        fact = f"an installed {words.title} passes requests to a backend that runs; it starts no app"
        way = 'site.upstream = "http://127.0.0.1:9000" for an app that is served there, or `sealgate serve`'
        yield Refusal("site.app", fact, way)
    if policy.listen.http3:
        yield Refusal("listen.http3", "HTTP/3 on an installed server is not offered", "http3 = false")
    if policy.clients.mode != "off":
        fact = "no guard stands behind an installed server, so a revoked certificate could not be refused"
        yield Refusal("clients.mode", fact, "`sealgate serve` for client certificates")
    if not policy.limits.body:
        fact = f'{words.title} reads a limit of 0 as "no limit"'
        yield Refusal("limits.body", fact, 'a size of at least "1B"')
