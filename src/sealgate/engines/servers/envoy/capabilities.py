"""Who enforces what, with Envoy in front.

In front of an app, the guard in the app's process judges each request; in front of an upstream there is no
guard, so Envoy judges what the guard would.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.policy.model import Policy, is_loopback_name
from sealgate.policy.profiles import load_profile

__all__ = ["capabilities"]

_ENGINE, _GUARD, _KEEPER, _OS = Enforcer.ENGINE, Enforcer.GUARD, Enforcer.KEEPER, Enforcer.OS
_KIB = 1024


def capabilities(policy: Policy) -> tuple[Capability | Refusal, ...]:
    """Every promise of this policy, in the order of the file; refusals among them."""
    parts = (_site, _always, _listen, _certificate, _tls, _http, _clients, _limits, _timeouts, _refusals)
    return tuple(row for part in parts for row in part(policy))


def _site(policy: Policy) -> Iterator[Capability]:
    site = policy.site
    names = ", ".join(site.names[:3]) + (f" and {len(site.names) - 3} more" if len(site.names) > 3 else "")
    by, how = _judge(policy, "compares Host in every request", "one pattern over all names")
    yield Capability("site.names", f"only {names}; any other Host is 421", by, how)
    url = policy.public_url
    yield Capability("site.url", f"clients reach it as {url}", _ENGINE, "redirects lead to its port")
    if site.upstream:
        how = "verified TLS to it" if site.upstream.startswith("https:") else "the one cluster there is"
        yield Capability("site.upstream", f"requests go to {site.upstream} and nowhere else", _ENGINE, how)
        return
    app = site.app or "the app named to `serve`"
    yield Capability("site.app", f"{app} cannot read any private key", _OS, "Landlock; other users if root")
    count = f"{site.workers} worker{'s' if site.workers > 1 else ''}, {site.threads} threads each (WSGI)"
    yield Capability("site.workers", count, _KEEPER, "own process and socket each; restarted with back-off")
    yield Capability(
        "site.threads", f"at most {site.threads} requests at once per worker", _KEEPER, "Granian"
    )


def _judge(policy: Policy, guard: str, engine: str) -> tuple[Enforcer, str]:
    """The guard where one stands behind the engine, else the engine: one place, never both."""
    return (_ENGINE, engine) if policy.site.upstream else (_GUARD, guard)


def _always(policy: Policy) -> Iterator[Capability]:
    by, how = _judge(policy, "before the app sees the request", "path pattern before the route")
    yield Capability(ALWAYS, "a path that is not canonical is 400", by, how)
    by, how = _judge(policy, "sets scheme and address itself", "sets X-Forwarded-* itself")
    yield Capability(ALWAYS, "no header from outside speaks for a proxy", by, f"takes them out; {how}")
    yield Capability(ALWAYS, "ambiguous HTTP (two lengths, odd bytes) is 400", _ENGINE, "Envoy's HTTP parser")
    yield Capability(ALWAYS, "every request is one line of JSON", _ENGINE, "access log; hostile text escaped")
    yield Capability("site.engine", "Envoy runs as it was tested", _KEEPER, "SHA-256 of the program at start")
    yield Capability("version", "this policy is read as version 1", _KEEPER, "unknown keys are refused")


def _listen(policy: Policy) -> Iterator[Capability]:
    listen = policy.listen
    yield Capability("listen.https", f"HTTPS on {_joined(listen.https)}", _ENGINE, "one listener each")
    plain = f"plain HTTP on {_joined(listen.http)}" if listen.http else "no plain HTTP port is open"
    yield Capability("listen.http", plain, _ENGINE, "one listener each" if listen.http else "no listener")
    proxy = (
        "connections begin with the PROXY protocol" if listen.proxy_protocol else "the PROXY protocol is off"
    )
    yield Capability("listen.proxy_protocol", proxy, _ENGINE, "listener filter")
    http3 = "HTTP/3 on the same ports, without early data" if listen.http3 else "HTTP/3 is off"
    yield Capability("listen.http3", http3, _ENGINE, "QUIC listener" if listen.http3 else "no UDP port")


def _joined(values: tuple[object, ...]) -> str:
    return ", ".join(map(str, values))


def _certificate(policy: Policy) -> Iterator[Capability]:
    certificate = policy.certificate
    if certificate.source == "files":
        yield Capability(
            "certificate.source",
            "your certificate, checked before it is served",
            _KEEPER,
            "key, names, dates",
        )
        for key, what in (("chain", "the chain is read from there"), ("key", "the app cannot read the key")):
            path = getattr(certificate.files, key)
            yield Capability(f"certificate.files.{key}", f"{what}: {path}", _KEEPER, "watched, never written")
    else:
        yield Capability(
            "certificate.source",
            "issued by the private authority, renewed in time",
            _KEEPER,
            "at 2/3 of 47 days",
        )
        yield Capability("certificate.files", "no files of yours are read", _KEEPER, "source is private")
    yield Capability(
        "certificate.key_type", f"{certificate.key_type} keys", _KEEPER, "made here, never leave"
    )
    yield Capability(
        "certificate", "authority keys are opened by one process alone", _KEEPER, "0600, one owner"
    )


def _tls(policy: Policy) -> Iterator[Capability]:
    profile = load_profile(policy.tls.profile)
    versions = " and ".join(p.replace("TLSv", "") for p in profile.protocols)
    suites = len(profile.tls12_suites) + len(profile.tls13_suites)
    yield Capability("tls.profile", f"TLS {versions} only; {suites} suites", _ENGINE, profile.id)
    yield Capability("tls.profile", f"key exchange {', '.join(profile.groups)}", _ENGINE, profile.id)


def _http(policy: Policy) -> Iterator[Capability]:
    redirect = f"308 to HTTPS on the same name, port {policy.public_port}, path and query kept"
    plain = redirect if policy.http.mode == "redirect" else "403, as application/problem+json"
    plain = plain if policy.listen.http else "nothing answers"
    yield Capability("http.mode", f"plain HTTP: {plain}", _ENGINE, "the app never sees plain HTTP")
    yield Capability(
        "http.hsts", f"browsers use HTTPS only: {_hsts(policy)}", _ENGINE, "added to every answer"
    )


def _hsts(policy: Policy) -> str:
    """What is sent, and the less that is sent for loopback names where the site has both."""
    values = dict.fromkeys(policy.hsts_value(n) for n in sorted(policy.site.names, key=is_loopback_name))
    return " and, on loopback names, ".join(values)


def _clients(policy: Policy) -> Iterator[Capability]:
    said = {
        "off": "no client certificate is asked for",
        "optional": "a client certificate is verified where one is shown",
        "required": "no handshake without a valid client certificate",
    }
    yield Capability("clients.mode", said[policy.clients.mode], _ENGINE, "in the TLS handshake")
    names = _joined(tuple(authority.name for authority in policy.clients.authorities))
    counts = "counts for clients" if policy.clients.mode != "off" else "would count for clients; not asked"
    yield Capability("clients.authorities", f"only the authority {names} {counts}", _ENGINE, "trust.pem")


def _limits(policy: Policy) -> Iterator[Capability]:
    limits = policy.limits
    body = f"at most {_size(limits.body)}; more is 413" if limits.body else "no body at all; any is 413"
    yield Capability("limits.body", f"request body {body}", _ENGINE, "counted, chunked too")
    headers = f"request header at most {_size(limits.headers)}; more is 431"
    yield Capability("limits.headers", headers, _ENGINE, "before anything is passed on")
    yield Capability(
        "limits.connections", f"at most {limits.connections} connections", _ENGINE, "all listeners"
    )


def _size(value: int) -> str:
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value} bytes"


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
    for name, value in policy.timeouts:
        if round(value * 1000, 6) % 1:
            yield Refusal(
                f"timeouts.{name}", f"{value:g} s: Envoy's timers are in whole ms", "whole milliseconds"
            )
