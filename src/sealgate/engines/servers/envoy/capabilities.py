"""Who enforces what, with Envoy in front.

In front of an app, the guard in the app's process judges each request; in front of an upstream there is no
guard, so Envoy judges what the guard would.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sealgate.engines import callers, promises
from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.policy.model import Policy
from sealgate.policy.profiles import load_profile

__all__ = ["capabilities"]

_ENGINE, _GUARD, _KEEPER, _OS = Enforcer.ENGINE, Enforcer.GUARD, Enforcer.KEEPER, Enforcer.OS
_KIB = 1024


def capabilities(policy: Policy) -> tuple[Capability | Refusal, ...]:
    """Every promise of this policy, in the order of the file; refusals among them."""
    parts = (
        _site,
        _always,
        _listen,
        promises.certificate,
        _tls,
        promises.http,
        _clients,
        _network,
        _limits,
        _timeouts,
        partial(callers.access, asked=True),
        partial(callers.tokens, asked=True),
        partial(callers.rates, asked=True),
        callers.validation,
        promises.monitor,
        _refusals,
    )
    return tuple(row for part in parts for row in part(policy))


def _site(policy: Policy) -> Iterator[Capability]:
    by, how = promises.judge(
        policy, guard="compares Host in every request", engine="one pattern over all names"
    )
    yield promises.names(policy, by, how)
    yield promises.url(policy)
    if policy.site.upstream:
        yield promises.upstream(policy, "the one cluster there is")
        if policy.asks_guard:
            yield Capability(
                "site.upstream",
                "it gets only what the guard lets through, with Client-Cert and Sealgate-Client",
                Enforcer.GUARD,
                "asked for each request (ext_authz); 503 where it cannot be asked",
            )
    else:
        yield from promises.app_workers(policy)


def _always(policy: Policy) -> Iterator[Capability]:
    by, how = promises.judge(
        policy, guard="before the app sees the request", engine="path pattern before the route"
    )
    yield promises.canonical_path(by, how)
    by, how = promises.judge(
        policy, guard="sets scheme and address itself", engine="sets X-Forwarded-* itself"
    )
    yield Capability(ALWAYS, "no header from outside speaks for a proxy", by, f"takes them out; {how}")
    yield Capability(ALWAYS, "ambiguous HTTP (two lengths, odd bytes) is 400", _ENGINE, "Envoy's HTTP parser")
    yield promises.logged()
    yield Capability("site.engine", "Envoy runs as it was tested", _KEEPER, "SHA-256 of the program at start")
    yield promises.VERSION


def _listen(policy: Policy) -> Iterator[Capability]:
    listen = policy.listen
    yield Capability(
        "listen.https", f"HTTPS on {promises.joined(listen.https)}", _ENGINE, "one listener each"
    )
    yield promises.http_versions(both=True)
    yield promises.plain_http(policy, opened="one listener each")
    yield promises.proxy_protocol(policy, "listener filter")
    http3 = "HTTP/3 on the same ports, without early data" if listen.http3 else "HTTP/3 is off"
    yield Capability(
        "listen.http3",
        http3,
        _ENGINE,
        "QUIC listener, looked at by itself" if listen.http3 else "no UDP port",
    )


def _tls(policy: Policy) -> Iterator[Capability]:
    profile = load_profile(policy.tls.profile)
    yield promises.suites(policy)
    yield promises.groups(promises.joined(profile.groups), profile.id)


def _clients(policy: Policy) -> Iterator[Capability]:
    how = "in the TLS handshake" + ("" if policy.clients.mode == "off" else "; no session is resumed")
    yield promises.clients_mode(policy, how)
    yield promises.authorities(policy)
    yield promises.client_groups(policy)
    yield promises.lists(policy, "new handshakes; an expired list shuts all out")
    yield from promises.published(
        policy, "file server filter: pieces of 32 KiB as they are read; HTTP/1.1 alone"
    )


def _network(policy: Policy) -> Iterator[Capability | Refusal]:
    return promises.network(policy, _ENGINE, "the first HTTP filter, by a trie")


def _limits(policy: Policy) -> Iterator[Capability]:
    limits = policy.limits
    yield Capability("limits.body", promises.body(policy, http2=True), _ENGINE, "counted, chunked too")
    headers = f"request header at most {promises.size(limits.headers)}; more is 431, {promises.UNANSWERED}"
    yield Capability("limits.headers", headers, _ENGINE, "before anything is passed on")
    yield Capability(
        "limits.connections", f"at most {limits.connections} connections", _ENGINE, "all listeners"
    )


def _timeouts(policy: Policy) -> Iterator[Capability]:
    t = policy.timeouts
    for key, promise, by in (
        ("handshake", f"handshake done within {t.handshake:g} s", _ENGINE),
        ("headers", f"request header complete within {t.headers:g} s, else 408", _ENGINE),
        ("request", f"request complete, and answer begun, within {t.request:g} s", _ENGINE),
        ("idle", f"closed after {t.idle:g} s in which nothing moves", _ENGINE),
        ("drain", f"exchanges may finish for {t.drain:g} s on stop and reload", _KEEPER),
    ):
        yield Capability(
            f"timeouts.{key}", promise, by, "drains before it stops" if by is _KEEPER else "timer"
        )


def _refusals(policy: Policy) -> Iterator[Refusal]:
    if policy.limits.headers % _KIB:
        near = policy.limits.headers // _KIB
        yield Refusal(
            "limits.headers",
            f"{policy.limits.headers} bytes: Envoy counts headers in whole KiB",
            f'"{near}KiB" or "{near + 1}KiB"',
        )
    yield from promises.whole_milliseconds(policy, "Envoy")
