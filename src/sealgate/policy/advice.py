"""What is allowed and still worth a second look: a policy may say it, ``sealgate check`` mentions it.

Nothing here refuses. Each piece of advice is a pure function in the table at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sealgate.policy.model import Policy, is_loopback_name
from sealgate.policy.values import is_public_name

__all__ = ["Advice", "advise"]

_YEAR = 31536000


@dataclass(frozen=True, slots=True)
class Advice:
    """A key, what it leads to, and what to do about it."""

    key: str
    fact: str
    remedy: str


def advise(policy: Policy) -> tuple[Advice, ...]:
    """Everything worth a second look in a valid policy."""
    return tuple(advice for judge in _JUDGES for advice in judge(policy))


def _opened(policy: Policy) -> bool:
    """Can another machine connect?"""
    return any(not endpoint.is_loopback for endpoint in policy.listen.https)


def _no_backend(policy: Policy) -> Iterator[Advice]:
    if not policy.site.app and not policy.site.upstream:
        yield Advice(
            "site.app", "there is nothing to serve yet", "set it, or name one: sealgate serve module:app"
        )


def _reach(policy: Policy) -> Iterator[Advice]:
    only_local = all(is_loopback_name(name) for name in policy.site.names)
    if only_local and _opened(policy):
        yield Advice(
            "site.names",
            "other machines can connect, but every Host they would send is 421",
            "add the names that they type",
        )
    if not only_local and not _opened(policy):
        yield Advice(
            "listen.https",
            "only this machine can connect, though the names are for others",
            'listen on "0.0.0.0:443", unless something here forwards to it',
        )


def _private_root(policy: Policy) -> Iterator[Advice]:
    public = [name for name in policy.site.names if is_public_name(name)]
    if policy.certificate.source == "private" and public:
        yield Advice(
            "certificate.source",
            f"clients of {public[0]} must trust the private root first",
            '`sealgate trust --print` gives it, or use a public certificate: source = "acme"',
        )


def _port_80(policy: Policy) -> Iterator[Advice]:
    """RFC 8555 §8.3: the authority connects to port 80, and to no other."""
    certificate, plain = policy.certificate, policy.listen.http
    if certificate.source != "acme" or certificate.acme.challenge != "http-01" or not plain:
        return
    if not any(endpoint.port == 80 and not endpoint.is_loopback for endpoint in plain):
        yield Advice(
            "listen.http",
            "the ACME authority asks on port 80 of each name, and nothing here listens there for others",
            f'listen on "0.0.0.0:80", or forward port 80 to {plain[0]}',
        )


def _hsts(policy: Policy) -> Iterator[Advice]:
    age = policy.http.hsts.max_age
    if age < _YEAR and not all(is_loopback_name(name) for name in policy.site.names):
        after = f"after {age} s" if age else "at once"
        yield Advice("http.hsts.max_age", f"browsers forget HTTPS {after}", "63072000 is two years")


def _plain_http(policy: Policy) -> Iterator[Advice]:
    opened = [endpoint for endpoint in policy.listen.http if not endpoint.is_loopback]
    if opened and policy.http.mode == "redirect":
        yield Advice(
            "http.mode",
            f"a program that calls http:// on {opened[0]} sends its token in the clear, then is redirected",
            'mode = "refuse" where the callers are programs, or listen.http = []',
        )


def _proxy_protocol(policy: Policy) -> Iterator[Advice]:
    if policy.listen.proxy_protocol and _opened(policy):
        yield Advice(
            "listen.proxy_protocol",
            "whoever reaches the port past the load balancer can claim any client address",
            "let a firewall admit the load balancer only",
        )


def _plain_upstream(policy: Policy) -> Iterator[Advice]:
    match = re.fullmatch(r"http://(\[[^\]]*\]|[^:]*)(?::\d+)?", policy.site.upstream)
    if match and not is_loopback_name(match[1].strip("[]")):
        yield Advice(
            "site.upstream", "requests leave this machine unencrypted", "use https:// or a unix socket"
        )


def _rsa(policy: Policy) -> Iterator[Advice]:
    if policy.certificate.source == "private" and policy.certificate.key_type.startswith("rsa"):
        yield Advice(
            "certificate.key_type",
            "an RSA handshake costs this server ten times as much",
            '"ecdsa-p256", unless a client is older than 2014',
        )


def _clients(policy: Policy) -> Iterator[Advice]:
    clients = policy.clients
    if clients.mode == "off" and "authorities" in clients.model_fields_set:
        yield Advice("clients.authorities", "has no effect while clients.mode is off", 'mode = "required"')
    if clients.groups and (clients.mode == "off" or not policy.worker_app):
        why = "while clients.mode is off" if clients.mode == "off" else "for an upstream, which is not told"
        yield Advice("clients.groups", f"has no effect {why}", "take it out, or name the app in site.app")
    if clients.mode != "off" and not any(authority.file for authority in clients.authorities):
        yield Advice(
            "clients.authorities",
            "who calls needs a certificate of the private client authority",
            '`sealgate client add NAME` makes one; your own: authorities = [{ name = "...", file = "..." }]',
        )
    if clients.mode == "optional":
        yield Advice(
            "clients.mode",
            "whoever shows no certificate gets in as well",
            '"required", unless the app asks who called',
        )


def _upstream_only(policy: Policy) -> Iterator[Advice]:
    if not policy.site.upstream:
        return
    for key in ("threads",) if policy.asks_guard else ("workers", "threads"):
        if key in policy.site.model_fields_set:
            yield Advice(f"site.{key}", "has no effect in front of an upstream", "take it out")


def _unnamed_claims(policy: Policy) -> Iterator[Advice]:
    """By their whole names nginx takes fields out; every other engine, or the guard, by how they begin."""
    if policy.site.upstream and policy.site.engine == "nginx":
        yield Advice(
            "site.engine",
            "nginx keeps back the fields that are known to speak for a proxy, and passes on what resembles "
            "them (X-Forwarded-Foo)",
            "have the backend believe X-Forwarded-For, -Proto, -Host and -Port alone, or use another engine",
        )


def _patience(policy: Policy) -> Iterator[Advice]:
    for key, most in (("handshake", 30), ("headers", 60), ("request", 600), ("idle", 3600)):
        value = getattr(policy.timeouts, key)
        if value > most:
            fact = f"each slow client may hold a connection for {value:g} s"
            yield Advice(f"timeouts.{key}", fact, f"at most {most} s, unless clients are known to need it")


_JUDGES: tuple[Callable[[Policy], Iterator[Advice]], ...] = (
    _no_backend,
    _upstream_only,
    _plain_upstream,
    _unnamed_claims,
    _reach,
    _proxy_protocol,
    _private_root,
    _rsa,
    _plain_http,
    _port_80,
    _hsts,
    _clients,
    _patience,
)
