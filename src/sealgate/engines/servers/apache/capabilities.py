"""Who enforces what, with Apache in front.

In front of an app, the guard in the app's process judges each request; in front of an upstream there is no
guard, so Apache judges what the guard would. Where Apache counts otherwise than the policy, the promise says
what holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from sealgate.engines import callers, promises
from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.engines.servers.apache.limits import ENDS, FIELDS, capacity
from sealgate.engines.servers.apache.tls import HYBRID, groups
from sealgate.policy.model import Policy, is_address
from sealgate.policy.profiles import load_profile

__all__ = ["capabilities"]

_ENGINE, _GUARD, _KEEPER, _OS = Enforcer.ENGINE, Enforcer.GUARD, Enforcer.KEEPER, Enforcer.OS
_WHOLE = ("handshake", "headers", "request")
_DAY = 86400
# Figures and why: docs/design/apache.md, "Renewal without a lost request".
_RENEWAL = Capability(
    "certificate",
    "a renewal or reload loses no request over HTTP/1.1; over HTTP/2 it may cut a connection with what is"
    " asked on it: measured 0 to 4 of 12,000 requests in 20 renewals, 0 of 86,500 in 330",
    _KEEPER,
    'graceful restart; mod_http2 may end one while answers are due; site.engine = "envoy" loses none',
)
_NO_SOCKET = re.compile(r"[#?|]|\$\{|[^\x20-\x7e]")


def capabilities(policy: Policy) -> tuple[Capability | Refusal, ...]:
    """Every promise of this policy, in the order of the file; refusals among them."""
    parts = (
        _site,
        _always,
        _listen,
        _certificate,
        _tls,
        _http,
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
    by, how = promises.judge(
        policy, guard="compares Host in every request", engine="RewriteCond over all names"
    )
    yield promises.names(policy, by, how)
    yield promises.url(policy)
    if policy.site.upstream:
        yield promises.upstream(policy, "the one ProxyPass there is")
    else:
        yield from promises.app_workers(policy)


def _always(policy: Policy) -> Iterator[Capability]:
    by, how = promises.judge(
        policy, guard="before the app sees the request", engine="RewriteCond on the request line"
    )
    yield promises.canonical_path(by, how)
    by, how = promises.judge(
        policy, guard="sets scheme and address itself", engine="sets X-Forwarded-* itself"
    )
    known = "takes out each family of them whole (mod_lua)" if policy.site.upstream else "takes them out"
    yield Capability(ALWAYS, "no header from outside speaks for a proxy", by, f"{known}; {how}")
    # It drops the length before any directive could see it.
    clear = "ambiguous HTTP (two lengths, odd bytes) is 400; of chunks and a length the chunks count"
    how = "HttpProtocolOptions Strict; after chunks with a length the connection is closed (RFC 9112 §6.3)"
    yield Capability(ALWAYS, clear, _ENGINE, how)
    yield promises.logged("CustomLog; hostile text escaped")
    yield Capability(
        "site.engine", "Apache runs in a tested version", _KEEPER, "2.4; the distribution's program"
    )
    yield promises.VERSION


def _listen(policy: Policy) -> Iterator[Capability]:
    listen = policy.listen
    yield Capability("listen.https", f"HTTPS on {promises.joined(listen.https)}", _ENGINE, "Listen, one each")
    yield promises.http_versions(both=True)
    yield promises.plain_http(policy, opened="Listen, one each", closed="no Listen")
    yield promises.proxy_protocol(policy, "mod_remoteip")
    yield promises.NO_HTTP3


def _certificate(policy: Policy) -> Iterator[Capability | Refusal]:
    return promises.certificate(policy, title="Apache", renewal=_RENEWAL)


def _tls(policy: Policy) -> Iterator[Capability]:
    profile = load_profile(policy.tls.profile)
    yield promises.suites(policy)
    known = ", ".join(groups(profile.groups, hybrid=False))
    hybrid = f"{HYBRID} first where OpenSSL has it (3.5); " if HYBRID in profile.groups else ""
    yield promises.groups(hybrid + known, profile.id)


def _http(policy: Policy) -> Iterator[Capability]:
    return promises.http(policy, hsts="Header always, on every status")


def _clients(policy: Policy) -> Iterator[Capability]:
    yield promises.clients_mode(policy, "in the TLS handshake")
    yield promises.authorities(policy)
    yield promises.client_groups(policy)
    yield promises.lists(policy, "new handshakes; an expired list shuts all out")
    yield from promises.published(policy, "mapped into memory once for all readers")


def _network(policy: Policy) -> Iterator[Capability | Refusal]:
    return promises.network(policy, _ENGINE, "the first rule, by an expression in the form of a tree")


def _limits(policy: Policy) -> Iterator[Capability]:
    limits = policy.limits
    body = promises.body(policy, http2=True)
    how = "its length; one without is counted by the guard; over 1 MiB beyond it: 503 from an ASGI app"
    if policy.site.upstream:
        body, how = f"{body}, and without a length 400", "its length"
    yield Capability("limits.body", body, _ENGINE, how)
    size = promises.size(limits.headers)
    if policy.site.upstream:
        fields = f"each request header field at most {size}, at most {FIELDS} of them; more is 431, {ENDS}"
        how = "Apache has no bound on all fields together but this product"
        yield Capability("limits.headers", fields, _ENGINE, how)
    else:
        fields = f"request header at most {size} and {FIELDS} fields; more is 431, {ENDS}"
        how = "counts all fields together; Apache bounds each of them, and their number"
        yield Capability("limits.headers", fields, _GUARD, how)
    connections = f"at most {limits.connections} connections are held; more wait in the kernel"
    threads = capacity(limits.connections, 2).threads
    how = f"event MPM; up to {threads} exchanges at once per process; a renewal begins a count of its own"
    yield Capability("limits.connections", connections, _ENGINE, how)


def _timeouts(policy: Policy) -> Iterator[Capability]:
    t = policy.timeouts
    pause = min(t.request, t.idle)
    for key, promise, by, how in (
        ("handshake", f"handshake done within {t.handshake:g} s", _ENGINE, "mod_reqtimeout, a total"),
        (
            "headers",
            f"request header complete within {t.headers:g} s of its first byte, else 408",
            _ENGINE,
            "mod_reqtimeout, a total; over HTTP/2 for each pause",
        ),
        (
            "request",
            f"request body complete within {t.request:g} s, answer begun within {pause:g} s",
            _ENGINE,
            "mod_reqtimeout, a total; over HTTP/2 for each pause; ProxyTimeout",
        ),
        (
            "idle",
            f"closed after {t.idle:g} s without a request; an answer that pauses for {pause:g} s is cut off",
            _ENGINE,
            "KeepAliveTimeout, ProxyTimeout",
        ),
        (
            "drain",
            f"exchanges may finish for {t.drain:g} s on stop, reload and renewal",
            _KEEPER,
            "graceful, then ended",
        ),
    ):
        yield Capability(f"timeouts.{key}", promise, by, how)


def _refusals(policy: Policy) -> Iterator[Refusal]:
    if policy.listen.http3:
        yield Refusal("listen.http3", "true: Apache does not speak HTTP/3", 'site.engine = "envoy"')
    upstream = policy.site.upstream
    if upstream.startswith("unix:") and _NO_SOCKET.search(upstream):
        # Apache parses the path as a URL: "#" and "?" would end it, at another socket.
        reason = "a path with #, ?, |, ${ or other than ASCII: Apache takes it for another"
        yield Refusal("site.upstream", reason, "another path")
    url = urlsplit(policy.site.upstream or "")
    if url.scheme == "https" and is_address(url.hostname or ""):
        reason = f"{policy.site.upstream}: Apache finds no addresses in certificates, names only"
        yield Refusal("site.upstream", reason, 'a name instead of the address, or site.engine = "envoy"')
    for name in _WHOLE:
        value = getattr(policy.timeouts, name)
        if value % 1 or value > _DAY:
            yield Refusal(
                f"timeouts.{name}",
                f"{value:g} s: Apache's timer counts whole seconds, up to a day",
                "whole seconds",
            )
    for name in ("idle", "drain"):
        value = getattr(policy.timeouts, name)
        if value < 1:
            yield Refusal(f"timeouts.{name}", f"{value:g} s: Apache's timer begins at 1 s", '"1s" or more')
