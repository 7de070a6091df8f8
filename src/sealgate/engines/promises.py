"""The rows that engines have in common, in the same words: who keeps which promise of a policy. Pure.

An engine's ``capabilities.py`` says what is its own and takes the rest from here, so that one promise reads
the same with every engine, and is one row of the table in the docs. What differs comes in: by whom, by what
means.
"""

from __future__ import annotations

from collections.abc import Iterator

from sealgate.engines.contract import ALWAYS, Capability, Enforcer, Refusal
from sealgate.policy.model import Policy, is_loopback_host
from sealgate.policy.profiles import load_profile
from sealgate.policy.published import PATH, list_url, publishes

__all__ = [
    "EARLY",
    "LOSSLESS",
    "NO_HTTP3",
    "UNANSWERED",
    "VERSION",
    "acme",
    "app_workers",
    "authorities",
    "body",
    "canonical_path",
    "certificate",
    "clients_mode",
    "few",
    "groups",
    "http",
    "http_versions",
    "joined",
    "judge",
    "key_type",
    "lists",
    "logged",
    "monitor",
    "names",
    "network",
    "plain_http",
    "proxy_protocol",
    "published",
    "size",
    "suites",
    "upstream",
    "url",
    "whole_milliseconds",
]

_ENGINE, _GUARD, _KEEPER, _OS = Enforcer.ENGINE, Enforcer.GUARD, Enforcer.KEEPER, Enforcer.OS

VERSION = Capability("version", "this policy is read as version 1", _KEEPER, "unknown keys are refused")
EARLY = "over HTTP/2 with a reset of the stream"
"""What a refusal before the end of the body comes to (RFC 9113 §8.1): some clients report only that."""

UNANSWERED = "over HTTP/2 no answer"
"""Of a header that an engine's HTTP/2 cannot take in: the stream or the connection ends."""

NO_HTTP3 = Capability("listen.http3", "HTTP/3 is off", _ENGINE, "no UDP port")

LOSSLESS = Capability(
    "certificate", "a renewal loses no request", _KEEPER, "tried under load: 20 in a row, none was lost"
)
"""What `tests/contract/test_life.py` asks of every engine; one that does not hold it says what does."""


def joined(values: tuple[object, ...]) -> str:
    """A list as people write it."""
    return ", ".join(map(str, values))


def size(value: int) -> str:
    """Bytes in the largest unit that divides them."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value} bytes"


def judge(policy: Policy, *, guard: str, engine: str) -> tuple[Enforcer, str]:
    """The guard where one stands behind the engine, else the engine: one place, never both."""
    return (_ENGINE, engine) if policy.site.upstream else (_GUARD, guard)


def few(values: tuple[str, ...]) -> str:
    """The first of many."""
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def names(policy: Policy, by: Enforcer, how: str) -> Capability:
    """Which Hosts are answered."""
    said = few(policy.site.names)
    return Capability("site.names", f"only {said}; any other Host is 421", by, how)


def url(policy: Policy) -> Capability:
    """What clients type."""
    return Capability(
        "site.url", f"clients reach it as {policy.public_url}", _ENGINE, "redirects lead to its port"
    )


def upstream(policy: Policy, one: str) -> Capability:
    """Where requests go; ``one`` says what keeps them from going elsewhere."""
    where = policy.site.upstream
    how = "verified TLS to it" if where.startswith("https:") else one
    return Capability("site.upstream", f"requests go to {where} and nowhere else", _ENGINE, how)


def app_workers(policy: Policy) -> Iterator[Capability]:
    """An app behind the engine, in workers of the keeper's."""
    site = policy.site
    app = site.app or "the app named to `serve`"
    yield Capability("site.app", f"{app} cannot read any private key", _OS, "Landlock; other users if root")
    count = f"{site.workers} worker{'s' if site.workers > 1 else ''}, {site.threads} threads each (WSGI)"
    yield Capability("site.workers", count, _KEEPER, "own process and socket each; restarted with back-off")
    at_once = f"at most {site.threads} requests at once per worker"
    yield Capability("site.threads", at_once, _KEEPER, "Granian")


def canonical_path(by: Enforcer, how: str) -> Capability:
    """Paths that two programs could read differently."""
    return Capability(ALWAYS, "a path that is not canonical is 400", by, how)


def logged(how: str = "access log; hostile text escaped") -> Capability:
    """The access log."""
    return Capability(ALWAYS, "every request is one line of JSON", _ENGINE, how)


def plain_http(policy: Policy, *, opened: str, closed: str = "no listener") -> Capability:
    """The ports of plain HTTP, and by what means they are open or not."""
    listeners = policy.listen.http
    promise = f"plain HTTP on {joined(listeners)}" if listeners else "no plain HTTP port is open"
    return Capability("listen.http", promise, _ENGINE, opened if listeners else closed)


def proxy_protocol(policy: Policy, how: str) -> Capability:
    """Whether connections begin with the balancer's word."""
    on, off = "connections begin with the PROXY protocol", "the PROXY protocol is off"
    return Capability("listen.proxy_protocol", on if policy.listen.proxy_protocol else off, _ENGINE, how)


def acme(policy: Policy, *, title: str = "", renewed: str = "") -> Iterator[Capability | Refusal]:
    """Certificates from an ACME authority.

    Args:
        policy: its ``certificate``.
        title: of an engine that cannot answer tls-alpn-01; empty: this one can.
        renewed: when another is asked for, where no keeper runs; empty: one does.
    """
    asked = policy.certificate.acme
    if policy.certificate.source != "acme":
        said = "no certificate is asked of an ACME authority"
        yield Capability("certificate.acme", said, _KEEPER, f"source is {policy.certificate.source}")
        return
    promise = f"issued by {asked.directory}, proven by {asked.challenge}"
    how = "renewed when the authority says so (ARI), else at 2/3 of life"
    if renewed:
        promise, how = f"{promise}, renewed {renewed}", "nobody else does: call it daily, by a timer"
    yield Capability("certificate.source", promise, _KEEPER, how)
    yield Capability("certificate.files", "no files of yours are read", _KEEPER, "source is acme")
    if title and asked.challenge == "tls-alpn-01":
        reason = f"{title} cannot choose a certificate by what the client's ALPN offers"
        yield Refusal("certificate.acme.challenge", reason, '"http-01" or "dns-01", or site.engine = "envoy"')
    else:
        yield Capability("certificate.acme.challenge", *_challenge(policy))
    yield from _acme_rest(policy)


def _challenge(policy: Policy) -> tuple[str, Enforcer, str]:
    dns = policy.certificate.acme.dns
    by = f"updates sent to {dns.rfc2136.server}" if dns.rfc2136 else dns.hook
    return {
        "http-01": (
            "plain HTTP answers the authority's questions",
            _ENGINE,
            "the answers' files, nothing else",
        ),
        "tls-alpn-01": (
            "answers who offers acme-tls/1 and nothing else",
            _ENGINE,
            "own filter chain, no HTTP",
        ),
        "dns-01": (f"TXT records by {by}", _KEEPER, f"seen at {_seen_at(policy)} first"),
    }[policy.certificate.acme.challenge]


def _seen_at(policy: Policy) -> str:
    dns = policy.certificate.acme.dns
    if dns.seen_at == "resolver":
        return f"the resolver {dns.resolver}" if dns.resolver else "this machine's resolver"
    return "the zone's own servers" + (f", as {dns.resolver} names them," if dns.resolver else "")


def _acme_rest(policy: Policy) -> Iterator[Capability]:
    asked = policy.certificate.acme
    further = joined(tuple(one.directory for one in asked.fallback)) or "nobody"
    contact = joined(asked.contact) or "no address"
    account = f"key {asked.external_account.kid}" if asked.external_account else "no account"
    for key, promise, how in (
        ("directory", f"the account is made at {asked.directory}", "https alone; its key is never sent"),
        ("fallback", f"then {further} is asked", "in this order, before it is too late"),
        ("contact", f"the authority may write to {contact}", "part of the account"),
        ("profile", f"its profile is {asked.profile or 'its default'}", "named in the order"),
        (
            "preferred_chain",
            f"the chain taken is {asked.preferred_chain or 'its first'}",
            "by the issuer's name",
        ),
        ("ca_file", f"its own HTTPS is verified by {asked.ca_file or 'public roots'}", "at each connection"),
        ("external_account", f"bound to {account} of the authority's shop", "RFC 8555 §7.3.4"),
        ("dns", f"records may take {asked.dns.propagation:g} s to be seen", "where dns-01 is asked for"),
    ):
        yield Capability(f"certificate.acme.{key}", promise, _KEEPER, how)


def certificate(
    policy: Policy, *, inside: bool = False, title: str = "", renewal: Capability = LOSSLESS
) -> Iterator[Capability | Refusal]:
    """Where the certificate comes from, and what comes of its renewal.

    Args:
        policy: its ``certificate``.
        inside: the app's process holds a live copy of the key.
        title: see :func:`acme`.
        renewal: what becomes of requests meanwhile.
    """
    source = policy.certificate
    yield from acme(policy, title=title)
    if source.source == "files":
        promise, watched = "your certificate, checked before it is served", "watched, never written"
        yield Capability("certificate.source", promise, _KEEPER, "key, names, dates")
        chain = f"the chain is read from there: {source.files.chain}"
        yield Capability("certificate.files.chain", chain, _KEEPER, watched)
        reads = (
            "the app cannot read this file, only the live copy" if inside else "the app cannot read the key"
        )
        how = f"Landlock; {watched}" if inside else watched
        yield Capability("certificate.files.key", f"{reads}: {source.files.key}", _KEEPER, how)
    elif source.source == "private":
        promise = "issued by the private authority, renewed in time"
        yield Capability("certificate.source", promise, _KEEPER, "at 2/3 of 47 days")
        yield Capability("certificate.files", "no files of yours are read", _KEEPER, "source is private")
    kind = key_type(policy)
    yield kind
    second, whose = source.second_key_type, "the client's signature algorithms decide"
    both = f"a second certificate with {second} keys, beside the first" if second else "one certificate alone"
    yield Capability("certificate.second_key_type", both, _ENGINE, whose if second else kind.promise)
    alone = "authority keys are opened by one process alone"
    yield Capability("certificate", alone, _KEEPER, "0600, one owner")
    yield renewal


def key_type(policy: Policy) -> Capability:
    """What kind of key the certificate has, and who makes it."""
    source = policy.certificate
    if source.source == "files":
        return Capability("certificate.key_type", "the kind that your key is", _KEEPER, "no key is made here")
    return Capability("certificate.key_type", f"{source.key_type} keys", _KEEPER, "made here, never leave")


def suites(policy: Policy, *, by: str = "") -> Capability:
    """Protocol versions and suites; ``by`` names the library where it is not the engine's own."""
    profile = load_profile(policy.tls.profile)
    versions = " and ".join(p.replace("TLSv", "") for p in profile.protocols)
    count = len(profile.tls12_suites) + len(profile.tls13_suites)
    how = f"{profile.id}; {by}" if by else profile.id
    return Capability("tls.profile", f"TLS {versions} only; {count} suites", _ENGINE, how)


def groups(said: str, how: str) -> Capability:
    """Key exchange."""
    return Capability("tls.profile", f"key exchange {said}", _ENGINE, how)


def http(policy: Policy, *, hsts: str = "added to every answer") -> Iterator[Capability]:
    """Plain HTTP, and HSTS: also the less that is sent for loopback names where the site has both."""
    redirect = f"308 to HTTPS on the same name, port {policy.public_port}, path and query kept"
    plain = redirect if policy.http.mode == "redirect" else "403, as application/problem+json"
    plain = plain if policy.listen.http else "nothing answers"
    yield Capability("http.mode", f"plain HTTP: {plain}", _ENGINE, "the app never sees plain HTTP")
    values = dict.fromkeys(policy.hsts_value(n) for n in sorted(policy.site.names, key=is_loopback_host))
    said = " and, on loopback names, ".join(values)
    yield Capability("http.hsts", f"browsers use HTTPS only: {said}", _ENGINE, hsts)


def clients_mode(
    policy: Policy, how: str, *, required: str = "no handshake without a valid client certificate"
) -> Capability:
    """Whether client certificates are asked for, and what ``required`` comes to."""
    said = {
        "off": "no client certificate is asked for",
        "optional": "a client certificate is verified where one is shown",
        "required": required,
    }
    return Capability("clients.mode", said[policy.clients.mode], _ENGINE, how)


def authorities(policy: Policy) -> Capability:
    """Whose client certificates count."""
    names = tuple(authority.name for authority in policy.clients.authorities)
    several = len(names) > 1
    counts = ("count" if several else "counts") + " for clients"
    if policy.clients.mode == "off":
        counts = "would count for clients; not asked"
    named = f"only the {'authorities' if several else 'authority'} {joined(names)} {counts}"
    return Capability("clients.authorities", named, _ENGINE, "trust.pem")


def client_groups(policy: Policy) -> Capability:
    """Which groups of clients there are, for the app and for rules."""
    named = joined(tuple(policy.clients.groups))
    told = policy.clients.groups and policy.clients.mode != "off" and policy.worker_app
    if not told:
        return Capability("clients.groups", "clients are in no groups", _KEEPER, "none are asked for")
    promise = f"the {'app' if policy.site.app else 'backend'} is told who is in {named}"
    return Capability("clients.groups", promise, _GUARD, "by the verified certificate")


def lists(
    policy: Policy, how: str, *, listed: str = "whoever is on the list gets no handshake"
) -> Capability:
    """What a revocation list does."""
    if not policy.engine_lists and (policy.client_lists or policy.fetched_lists or policy.own_list):
        # The engine would refuse everyone whose authority has none, and everyone past nextUpdate.
        promise = "whoever is on the list of the own authority gets 403 for each request"
        how = "each request; an expired list shuts out its clients"
        return Capability("clients.authorities", promise, _GUARD, how)
    if policy.own_list:
        # A Gunicorn on its own command line reads the lists that the policy names, and no other.
        how += "; the private authority's own list, under `sealgate serve`"
    promise = listed if policy.engine_lists else "no revocation list is read"
    return Capability("clients.authorities", promise, _ENGINE, how)


def published(policy: Policy, how: str) -> Iterator[Capability]:
    """That others may fetch our own list of the revoked; ``how``: by what means it is bounded."""
    if not policy.own_list:
        return
    if not publishes(policy):
        said = "the own list of the revoked is not published: no plain HTTP port is open"
        yield Capability("clients.authorities", said, _KEEPER, "listen.http is empty")
        return
    said = f"the own list of the revoked is at {PATH} on plain HTTP, for every address, as DER"
    yield Capability("clients.authorities", said, _ENGINE, how)
    url = list_url(policy)
    named = f"client certificates name {url}" if url else "client certificates name no address of it"
    how = "CRL distribution point" if url else "no public name, or its port of plain HTTP is not known"
    yield Capability("clients.authorities", named, _KEEPER, how)


def http_versions(*, both: bool) -> Capability:
    """Which versions of HTTP are spoken over TLS."""
    if both:
        return Capability("listen.https", "HTTP/1.1 and HTTP/2, as the client's ALPN asks", _ENGINE, "ALPN")
    return Capability("listen.https", "HTTP/1.1 only: no HTTP/2, whatever ALPN offers", _ENGINE, "ALPN")


def body(policy: Policy, *, http2: bool = False) -> str:
    """The promise about request bodies; ``http2``: spoken too, where a 413 does not wait for the rest."""
    limit = policy.limits.body
    promise = "request body " + (
        f"at most {size(limit)}; more is 413" if limit else "no body at all; any is 413"
    )
    return f"{promise}, {EARLY}" if http2 else promise


def monitor(policy: Policy, by: str = "a process of its own, without keys") -> Iterator[Capability]:
    """What is shown and told; ``by`` says by whom."""
    page, probes, hooks = policy.monitor.listen, policy.monitor.probes, policy.monitor.alerts
    shown = f"page and metrics on {page}, for this machine only" if page else "there is no page"
    yield Capability("monitor.listen", shown, _KEEPER, f"{by}; Host checked" if page else "no listener")
    told = f"health and readiness on {probes}, and nothing else" if probes else "no probe is answered"
    yield Capability("monitor.probes", told, _KEEPER, by if probes else "no listener")
    # Without their paths, in which tokens may stand.
    who = joined(tuple(one.webhook.split("/")[2] for one in hooks)) or "nobody"
    how = f"{by}; HMAC-SHA256, tried again for a day" if hooks else "alerts stand in the log"
    yield Capability("monitor.alerts", f"alerts are told to {who}", _KEEPER, how)


def network(policy: Policy, by: Enforcer, how: str) -> Iterator[Capability | Refusal]:
    """Who may come in, by address."""
    allow, deny, proxies = policy.network.allow, policy.network.deny, policy.network.trusted_proxies
    answered = "after the handshake; for plain HTTP too, but for what an ACME authority asks there"
    if proxies:
        by, how = Enforcer.GUARD, "one search in sorted bounds"
        answered = "of whom a trusted proxy names; plain HTTP is not asked whence"
    may = f"only {few(allow)} may come in; other addresses get 403" if allow else "any address may come in"
    no_one = "no address is shut out"
    may_not = f"{few(deny)} may not come in, whatever allow says: 403" if deny else no_one
    for key, promise, named in (("allow", may, allow), ("deny", may_not, deny)):
        yield Capability(f"network.{key}", promise, by, f"{how}; {answered}" if named else "no rule")
    yield _proxies(policy)
    yield _fetched(policy)


def _proxies(policy: Policy) -> Capability | Refusal:
    """Whose word counts about whom they forward."""
    key, proxies = "network.trusted_proxies", policy.network.trusted_proxies
    if not proxies:
        by = _ENGINE if policy.site.upstream else _GUARD
        return Capability(key, "no header field says who called", by, "they reach no backend")
    if policy.site.upstream:
        reason = "there is no guard before an upstream that could read whom proxies forward for"
        return Refusal(key, reason, "site.app, or listen.proxy_protocol")
    promise = f"{few(proxies)} may say whom they forward; what they say and cannot be read is 400"
    return Capability(
        key,
        promise,
        Enforcer.GUARD,
        "Forwarded or X-Forwarded-For, from the right; the access log has the peer",
    )


def _fetched(policy: Policy) -> Capability:
    """Which lists are fetched, and where nobody is sent."""
    lists = tuple(one.name for one in policy.clients.authorities if one.fetched)
    sets = tuple(one.issuer for one in policy.tokens.issuers if one.fetched)
    what = [f"revocation lists of {joined(lists)}"] if policy.fetched_lists else []
    what += [f"keys of {few(sets)}"] if sets else []
    if not what:
        return Capability("network.fetch", "nothing is fetched", _KEEPER, "nothing is named")
    own = policy.network.fetch
    promise = f"{' and '.join(what)} are fetched" + (
        f", from the whole internet and {few(own)}" if own else ", never from a network of your own"
    )
    how = "a process without keys; who cannot be judged yet gets 503"
    return Capability("network.fetch", promise, _KEEPER, how)


def whole_milliseconds(policy: Policy, title: str) -> Iterator[Refusal]:
    """For servers whose timers are in whole milliseconds."""
    for name, value in policy.timeouts:
        if round(value * 1000, 6) % 1:
            yield Refusal(
                f"timeouts.{name}", f"{value:g} s: {title}'s timers are in whole ms", "whole milliseconds"
            )
