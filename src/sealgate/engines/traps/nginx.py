"""Traps of nginx.

Each is judged where nginx would apply it: a directive of the server, or the one it inherits; of
``add_header`` and ``proxy_set_header`` a level with any of its own inherits none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.library import Library
from sealgate.engines.configurations.nginx import read_nginx
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

SESSION_CACHE = Known(
    "nginx-session-cache",
    "shared session cache beside client certificates",
    "a session is resumed without another look at the certificate, and the cache outlives a reload: a "
    "client that was revoked since gets in",
    "ssl_session_cache off; ssl_session_tickets off; in servers with ssl_verify_client",
)
SESSION_TICKETS = Known(
    "nginx-session-tickets",
    "session tickets beside client certificates",
    "a session is resumed without another look at the certificate: one that has expired since still "
    "counts, a revoked one does where ticket keys outlive a reload (a shared cache or "
    "ssl_session_ticket_key), and before 1.26.3 and 1.27.4 a session of one name opened another "
    "(CVE-2025-23419)",
    "ssl_session_tickets off; in servers with ssl_verify_client (the default is on)",
)
CRL_MISSING = Known(
    "nginx-crl-missing",
    "client certificates without a revocation list",
    "a certificate that was revoked is good until it expires",
    "ssl_crl, with a list of every authority of the chain, and a reload after each new one",
)
VERIFY_UNUSED = Known(
    "nginx-verify-unused",
    "client certificates are asked for, and nobody looks at the answer",
    "with optional or optional_no_ca a client without a valid certificate gets in like any other",
    "ssl_verify_client on; or decide by $ssl_client_verify, in nginx or passed on to the app",
)
HSTS_NOT_ALWAYS = Known(
    "nginx-hsts-not-always",
    "HSTS is missing in errors",
    "without `always` add_header is left out of 4xx and 5xx answers, often the first that a browser sees",
    'add_header Strict-Transport-Security "..." always;',
)
HSTS_LOST = Known(
    "nginx-hsts-lost",
    "HSTS is lost by another add_header",
    "a level with an add_header of its own inherits none from above, Strict-Transport-Security included",
    "repeat it at this level (from nginx 1.29.3: add_header_inherit merge;)",
)
HEADER_PASSES = Known(
    "nginx-client-header-passes",
    "a field that the app believes comes in from outside",
    "elsewhere it is set from the client's certificate; here requests go to a backend and it is not "
    "set, so a client can send it itself and be anybody",
    "set or empty it here too: proxy_set_header <field> ''; a level with one of its own inherits none",
)
UNDERSCORES = Known(
    "nginx-underscores",
    "fields with underscores are let in",
    "X_Client and X-Client are one and the same to a WSGI app: what nginx sets can be imitated",
    "underscores_in_headers off; (the default)",
)
PATH_REWRITTEN = Known(
    "nginx-path-rewritten",
    "proxy_pass with a path",
    "nginx decodes, shortens and encodes the path anew before the app gets it: %2F, .. and // that a "
    "rule judged are not what the app sees",
    "proxy_pass without anything after the host, not even a slash",
)
MERGE_SLASHES = Known(
    "nginx-merge-slashes",
    "merge_slashes off",
    "//admin is not in location /admin: its rules are passed by",
    "take it out (the default is on), and let the app refuse empty segments",
)
UPGRADE_ANY = Known(
    "nginx-upgrade-any",
    "any Upgrade is passed on",
    "not WebSocket alone: a backend that takes `Upgrade: h2c`, as Hypercorn does, then gets requests inside "
    "of the connection that no rule of nginx sees",
    'map $http_upgrade $upgrade { websocket websocket; default ""; } and proxy_set_header Upgrade $upgrade;',
)

_VERIFYING = frozenset({"on", "optional", "optional_no_ca"})
_RULES = ("allow", "deny", "auth_basic", "auth_request", "auth_jwt", "satisfy", "if", "return", "limit_req")
_PASSING = ("proxy_pass", "grpc_pass")
_HSTS = "strict-transport-security"
_WITH_PATH = re.compile(r"https?://(?:unix:[^:]+:|(?!unix:)[^/$]+)(/.*)", re.IGNORECASE | re.DOTALL)


def _find(main: str, library: Library) -> Found:
    configuration = read_nginx(main, library)
    traps: dict[Trap, None] = {}
    for http in configuration.root.own("http") or (configuration.root,):
        traps |= dict.fromkeys(_in_http(http))
    return Found(tuple(traps), configuration.unread)


def _in_http(http: Directive) -> Iterator[Trap]:
    servers = http.own("server")
    for server in servers:
        yield from _client_certificates(server, http)
        yield from _passed(server)
    yield from _hsts(http, inherited=False)
    yield from _believed(http)
    for one in http.walk():
        if one.name == "underscores_in_headers" and one.value == "on":
            yield UNDERSCORES.on(one)
        if one.name == "proxy_set_header" and _passes_upgrade(one):
            yield UPGRADE_ANY.on(one)
    for off in (one for one in http.walk() if one.name == "merge_slashes" and one.value == "off"):
        if any(_ruled(one) for one in http.walk()):
            yield MERGE_SLASHES.on(off)


def _passes_upgrade(one: Directive) -> bool:
    return [arg.lower() for arg in one.args] in (["upgrade", "$http_upgrade"], ["upgrade", "${http_upgrade}"])


def _ruled(one: Directive) -> bool:
    """A location of some path, open to the outside, that has rules of its own."""
    last = one.args[-1] if one.args else "/"
    if one.name != "location" or last == "/" or last.startswith("@") or one.own("internal"):
        return False
    return bool(one.own(*_RULES))


def _effective(name: str, *levels: Directive) -> Directive | None:
    """The innermost that is there."""
    return next((found for level in levels if (found := level.last(name))), None)


def _client_certificates(server: Directive, http: Directive) -> Iterator[Trap]:
    verify = _effective("ssl_verify_client", server, http)
    if verify is None or verify.value not in _VERIFYING:
        return
    cache = _effective("ssl_session_cache", server, http)
    if cache is not None and any(arg.startswith(("shared:", "builtin")) for arg in cache.args):
        yield SESSION_CACHE.on(cache)
    tickets = _effective("ssl_session_tickets", server, http)
    if tickets is None or tickets.value != "off":
        yield SESSION_TICKETS.on(tickets or verify)
    if _effective("ssl_crl", server, http) is None:
        yield CRL_MISSING.on(verify)
    if verify.value != "on" and not _looked_at(server, http):
        yield VERIFY_UNUSED.on(verify)


def _looked_at(server: Directive, http: Directive) -> bool:
    """Does anything but the log use ``$ssl_client_verify``: in the server, or around all servers?"""
    around = (one for each in http.inside if each.name != "server" for one in each.walk())
    return any(
        one.name not in {"log_format", "access_log"} and any("ssl_client_verify" in arg for arg in one.args)
        for one in (*server.walk(), *around)
    )


def _passed(server: Directive) -> Iterator[Trap]:
    for one in server.walk():
        if one.name == "proxy_pass" and _WITH_PATH.fullmatch(one.value):
            yield PATH_REWRITTEN.on(one)


def _hsts(level: Directive, *, inherited: bool) -> Iterator[Trap]:
    """Down through the levels, with what each inherits."""
    headers = level.own("add_header")
    ours = [one for one in headers if one.value.lower() == _HSTS]
    for one in ours:
        if "always" not in one.args[2:]:
            yield HSTS_NOT_ALWAYS.on(one)
    merged = any(one.value == "merge" for one in level.own("add_header_inherit"))
    if headers and not ours and inherited and not merged:
        yield HSTS_LOST.on(headers[0])
    has = bool(ours) or (inherited and (not headers or merged))
    for one in level.inside:
        if one.block is not None and one.name in {"server", "location", "if", "limit_except"}:
            yield from _hsts(one, inherited=has)


def _believed(http: Directive) -> Iterator[Trap]:
    """Places that pass requests on without setting a field which others set from the certificate."""
    trusted = {
        one.value.lower()
        for one in http.walk()
        if one.name == "proxy_set_header" and any("$ssl_client_" in arg for arg in one.args[1:])
    }
    if trusted:
        yield from _unset(http, frozenset(trusted), frozenset())


def _unset(level: Directive, trusted: frozenset[str], inherited: frozenset[str]) -> Iterator[Trap]:
    own = frozenset(one.value.lower() for one in level.own("proxy_set_header"))
    fields = own or inherited
    for one in level.inside:
        if one.name in _PASSING and not trusted <= fields:
            yield HEADER_PASSES.on(one)
        if one.block is not None and one.name in {"server", "location", "if", "limit_except"}:
            yield from _unset(one, trusted, fields)


def _suits(name: str, text: str) -> bool:
    if name.endswith((".py", ".json")):
        return False
    return re.search(r"(?m)^[ \t]*(http|server|events|upstream[ \t]+\S+)\s{0,99}\{", text) is not None


TRAPS = Server(
    id="nginx",
    title="nginx",
    reads="nginx.conf; what it includes is read as well, and judged where nginx applies it",
    known=(
        SESSION_CACHE, SESSION_TICKETS, CRL_MISSING, VERIFY_UNUSED, HSTS_NOT_ALWAYS, HSTS_LOST, HEADER_PASSES,
        UNDERSCORES, PATH_REWRITTEN, MERGE_SLASHES, UPGRADE_ANY,
    ),
    find=_find,
    suits=_suits,
)  # fmt: skip
