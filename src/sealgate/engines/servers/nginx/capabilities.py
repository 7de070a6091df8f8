"""Who enforces what, with nginx in front.

In front of an app, the guard in the app's process judges each request; in front of an upstream there is no
guard, so nginx judges what the guard would. Where nginx counts or waits in its own way, the promise says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from sealgate.engines import callers, promises
from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.engines.servers.nginx.spoofing import KNOWN
from sealgate.engines.servers.nginx.tls import POST_QUANTUM
from sealgate.engines.servers.nginx.versions import TESTED
from sealgate.policy.model import Policy, is_address
from sealgate.policy.profiles import load_profile

__all__ = ["capabilities"]

_ENGINE, _GUARD, _KEEPER, _OS = Enforcer.ENGINE, Enforcer.GUARD, Enforcer.KEEPER, Enforcer.OS
_FEWEST = 16


def capabilities(policy: Policy) -> tuple[Capability | Refusal, ...]:
    """Every promise of this policy, in the order of the file; refusals among them."""
    parts = (
        _site,
        _always,
        _listen,
        _certificate,
        _tls,
        promises.http,
        _clients,
        _network,
        _limits,
        _timeouts,
        callers.access,
        callers.tokens,
        callers.rates,
        callers.validation,
        promises.monitor,
        _refusals,
    )
    return tuple(row for part in parts for row in part(policy))


def _site(policy: Policy) -> Iterator[Capability]:
    by, how = promises.judge(policy, guard="compares Host in every request", engine="a map of all names")
    yield promises.names(policy, by, how)
    yield promises.url(policy)
    if policy.site.upstream:
        yield promises.upstream(policy, "the one upstream there is")
    else:
        yield from promises.app_workers(policy)


def _always(policy: Policy) -> Iterator[Capability]:
    by, how = promises.judge(
        policy, guard="before the app sees the request", engine="path pattern before the route"
    )
    yield promises.canonical_path(by, how)
    if policy.site.upstream:
        known = f"none of {len(KNOWN)} known headers from outside speaks for a proxy; others are passed on"
        yield Capability(ALWAYS, known, _ENGINE, "takes them out, underscores too; sets X-Forwarded-* itself")
    else:
        how = "takes them out; sets scheme and address itself"
        yield Capability(ALWAYS, "no header from outside speaks for a proxy", _GUARD, how)
    yield Capability(ALWAYS, "ambiguous HTTP (two lengths, odd bytes) is 400", _ENGINE, "nginx's HTTP parser")
    yield promises.logged()
    yield Capability(
        "site.engine",
        f"nginx is {TESTED[0]}, {TESTED[-1]} or of a version between them, with TLS and HTTP/2",
        _KEEPER,
        "asked at start",
    )
    yield promises.VERSION


def _listen(policy: Policy) -> Iterator[Capability | Refusal]:
    listen = policy.listen
    yield Capability(
        "listen.https", f"HTTPS on {promises.joined(listen.https)}", _ENGINE, "one listener each"
    )
    yield promises.http_versions(both=True)
    yield promises.plain_http(policy, opened="one listener each")
    yield promises.proxy_protocol(policy, "option of each listener")
    if listen.http3:
        way_out = 'site.engine = "envoy" for it, or listen.http3 = false'
        yield Refusal("listen.http3", "HTTP/3: most builds of nginx lack it", way_out)
    else:
        yield promises.NO_HTTP3


def _certificate(policy: Policy) -> Iterator[Capability | Refusal]:
    return promises.certificate(policy, title="nginx")


def _tls(policy: Policy) -> Iterator[Capability]:
    profile = load_profile(policy.tls.profile)
    yield promises.suites(policy)
    groups = ", ".join(f"{g} (from OpenSSL 3.5 on)" if g == POST_QUANTUM else g for g in profile.groups)
    yield promises.groups(groups, profile.id)


def _clients(policy: Policy) -> Iterator[Capability]:
    how = "by the TLS handshake's result" + (
        "" if policy.clients.mode == "off" else "; no session is resumed"
    )
    yield promises.clients_mode(
        policy,
        how,
        required="no request without a valid client certificate: 403, as nginx ends no handshake for it",
    )
    yield promises.authorities(policy)
    yield promises.client_groups(policy)
    yield promises.lists(
        policy,
        "new handshakes; an expired list shuts all out",
        listed="whoever is on the list gets 403 for each request",
    )
    yield from promises.published(policy, "two buffers of 32 KiB for each reader")


def _network(policy: Policy) -> Iterator[Capability | Refusal]:
    return promises.network(policy, _ENGINE, "geo, by a trie")


def _limits(policy: Policy) -> Iterator[Capability]:
    limits = policy.limits
    yield Capability("limits.body", promises.body(policy, http2=True), _ENGINE, "counted, chunked too")
    most = f"request header at most {promises.size(limits.headers)}, the request line included"
    headers = f"{most}; more is 431, {promises.UNANSWERED}"
    yield Capability("limits.headers", headers, _ENGINE, "before anything is passed on")
    connections = f"at most {limits.connections} connections, those to the app included"
    how = "a share for each process; one that waits for its next request is closed for a new one"
    yield Capability("limits.connections", connections, _ENGINE, how)


def _timeouts(policy: Policy) -> Iterator[Capability]:
    t = policy.timeouts
    first, pause = min(t.handshake, t.headers), min(t.request, t.idle)
    for key, promise, how in (
        (
            "handshake",
            f"handshake and first request header done within {first:g} s, else closed",
            "one timer",
        ),
        ("headers", f"request header complete within {first:g} s, else closed", "nginx sends no 408"),
        (
            "request",
            f"no pause in a request, nor before or in an answer, is longer than {pause:g} s",
            "nginx bounds each pause, not the whole; a WebSocket may pause as long as timeouts.idle",
        ),
        ("idle", f"a connection without a request is closed after {t.idle:g} s", "timer"),
    ):
        yield Capability(f"timeouts.{key}", promise, _ENGINE, how)
    drain = f"exchanges may finish for {t.drain:g} s on stop and reload"
    yield Capability("timeouts.drain", drain, _KEEPER, "drains before it stops")


def _refusals(policy: Policy) -> Iterator[Refusal]:
    upstream = policy.site.upstream
    if upstream.startswith("https:") and is_address(urlsplit(upstream).hostname or ""):
        yield Refusal(
            "site.upstream",
            "a certificate for an IP address: nginx compares names only",
            'a name in site.upstream, or site.engine = "envoy"',
        )
    if "$" in upstream:
        yield Refusal("site.upstream", "a $ in a path: nginx has no escape for it", "another path")
    if policy.limits.connections < _FEWEST:
        yield Refusal(
            "limits.connections",
            f"{policy.limits.connections}: nginx counts its own connections to the app among them",
            f"{_FEWEST} or more",
        )
    yield from promises.whole_milliseconds(policy, "nginx")
