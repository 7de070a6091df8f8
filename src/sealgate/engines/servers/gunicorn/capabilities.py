"""Who enforces what, with Gunicorn around guard and app."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from sealgate.engines import callers, promises
from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.engines.tls_context import groups_known
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

__all__ = ["capabilities"]

_ENGINE, _GUARD, _KEEPER, _OS = Enforcer.ENGINE, Enforcer.GUARD, Enforcer.KEEPER, Enforcer.OS
_FRONT = "our worker's poller, before any thread of the app"


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
    site = policy.site
    yield promises.names(policy, _GUARD, "compares Host in every request")
    yield promises.url(policy)
    app = site.app or "the app named to `serve`"
    promise = f"{app} can read the server's private key, and no other"
    yield Capability("site.app", promise, _OS, "it runs in Gunicorn's own process; Landlock for the rest")
    count = f"{site.workers} worker{'s' if site.workers > 1 else ''}, {site.threads} threads each"
    yield Capability("site.workers", count, _ENGINE, "Gunicorn's arbiter; restarted with back-off")
    at_once = f"at most {site.threads} requests at once per worker"
    how = "threads that see whole requests only, and wait for no slow reader"
    yield Capability("site.threads", at_once, _ENGINE, how)
    yield Capability("site.engine", "Gunicorn of a tested version", _KEEPER, "asked for it at start")


def _always(policy: Policy) -> Iterator[Capability]:
    del policy
    yield promises.canonical_path(_GUARD, "before the app sees the request")
    how = "takes them out; sets scheme and address itself"
    yield Capability(ALWAYS, "no header from outside speaks for a proxy", _GUARD, how)
    yield Capability(ALWAYS, "ambiguous HTTP (two lengths, odd bytes) is 400", _ENGINE, "Gunicorn's parser")
    yield Capability(ALWAYS, "field names with underscores are 400", _ENGINE, 'header_map = "refuse"')
    yield promises.logged()
    yield promises.VERSION


def _listen(policy: Policy) -> Iterator[Capability]:
    listen = policy.listen
    https = f"HTTPS on {promises.joined(listen.https)}, HTTP/1.1"
    yield Capability("listen.https", https, _ENGINE, "one bind each")
    yield promises.http_versions(both=False)
    yield promises.plain_http(policy, opened="a small process beside it")
    if not listen.proxy_protocol:
        yield promises.proxy_protocol(policy, "not accepted")
    if not listen.http3:
        yield promises.NO_HTTP3


def _certificate(policy: Policy) -> Iterator[Capability | Refusal]:
    return promises.certificate(policy, inside=True, title="Gunicorn")


def _tls(policy: Policy) -> Iterator[Capability]:
    profile = load_profile(policy.tls.profile)
    yield promises.suites(policy, by=ssl.OPENSSL_VERSION)
    known = groups_known()
    groups = [group for group in profile.groups if group in known]
    lacking = [group for group in profile.groups if group not in known]
    how = (
        f"{', '.join(lacking)} only from OpenSSL 3.5 on; this is {ssl.OPENSSL_VERSION}"
        if lacking
        else profile.id
    )
    yield promises.groups(promises.joined(tuple(groups)), how)


def _clients(policy: Policy) -> Iterator[Capability]:
    how = "in the TLS handshake; then no session is resumed" if policy.clients.mode != "off" else "not asked"
    yield promises.clients_mode(policy, how)
    yield promises.authorities(policy)
    yield promises.client_groups(policy)
    yield promises.lists(policy, "new handshakes; an expired list shuts all out")
    yield from promises.published(policy, "the process beside it: one piece of 32 KiB for each reader")


def _network(policy: Policy) -> Iterator[Capability | Refusal]:
    return promises.network(policy, _GUARD, "one search in sorted bounds")


def _limits(policy: Policy) -> Iterator[Capability]:
    limits = policy.limits
    yield Capability("limits.body", promises.body(policy), _ENGINE, f"counted, chunked too; {_FRONT}")
    most = promises.size(limits.headers)
    headers = f"request header at most {most} and 100 fields, request line 8190 bytes; more is 431"
    yield Capability("limits.headers", headers, _ENGINE, _FRONT)
    connections = f"at most {limits.connections} connections"
    yield Capability("limits.connections", connections, _ENGINE, "all processes together; more are closed")


def _timeouts(policy: Policy) -> Iterator[Capability]:
    t = policy.timeouts
    for key, promise, how in (
        ("handshake", f"handshake done within {t.handshake:g} s", _FRONT),
        ("headers", f"request header complete within {t.headers:g} s, else 408", _FRONT),
        (
            "request",
            f"request complete within {t.request:g} s, and answer begun {t.request:g} s after that",
            "else 408 and 504; an app that takes longer keeps its thread until it ends",
        ),
        ("idle", f"closed after {t.idle:g} s in which nothing moves", "our worker"),
        ("drain", f"exchanges may finish for {t.drain:g} s on stop and reload", "drains before it stops"),
    ):
        yield Capability(f"timeouts.{key}", promise, _ENGINE if key != "drain" else _KEEPER, how)


def _refusals(policy: Policy) -> Iterator[Refusal]:
    front = 'site.engine = "envoy"'
    if policy.site.upstream:
        reason = "Gunicorn runs the app itself and passes nothing on"
        yield Refusal("site.upstream", reason, f"{front} for other backends, or site.app")
    if policy.listen.proxy_protocol:
        reason = "Gunicorn reads the PROXY protocol only inside of TLS, load balancers send it before"
        yield Refusal("listen.proxy_protocol", reason, front)
    if policy.listen.http3:
        yield Refusal("listen.http3", "Gunicorn has no HTTP/3", front)
