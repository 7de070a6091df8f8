"""Traps of Apache httpd. A virtual host inherits from the main server what it does not say itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sealgate.engines.configurations.apache import read_apache
from sealgate.engines.configurations.directive import Directive
from sealgate.engines.configurations.library import Library
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

REVOCATION_UNCHECKED = Known(
    "apache-revocation-unchecked",
    "client certificates, and nobody looks at revocation lists",
    "SSLCARevocationCheck is none unless it is set: a revoked certificate is good until it expires, "
    "even where SSLCARevocationFile names a list",
    "SSLCARevocationCheck chain, with a list of every authority of the chain",
)
NO_CA = Known(
    "apache-verify-no-ca",
    "SSLVerifyClient optional_no_ca",
    "a certificate of anybody's own making is accepted; only SSL_CLIENT_VERIFY says that it is not valid",
    "SSLVerifyClient require, or optional with `Require ssl-verify-client` where one is needed",
)
VERIFY_UNUSED = Known(
    "apache-verify-unused",
    "client certificates are asked for, and nobody looks at the answer",
    "with SSLVerifyClient optional a client without a certificate gets in like any other",
    "SSLVerifyClient require, or `Require ssl-verify-client` where a certificate is needed",
)
SESSIONS = Known(
    "apache-session-resumption",
    "sessions are resumed beside client certificates",
    "a session is resumed without another look at the certificate: one that was revoked or has expired "
    "since still counts",
    "SSLSessionTickets off and SSLSessionCache none (the default of tickets is on)",
)
HSTS_NOT_ALWAYS = Known(
    "apache-hsts-not-always",
    "HSTS is missing in errors",
    "without `always` Header is left out of errors that httpd makes itself",
    'Header always set Strict-Transport-Security "..."',
)
HEADER_ADDED = Known(
    "apache-client-header-passes",
    "a field that the app believes comes in from outside",
    "RequestHeader add, append, merge and setifempty keep what the client sent, and so does a condition"
    " (env=, expr=) that does not hold: a client can be anybody",
    "RequestHeader unset <field> first (early), then RequestHeader set",
)
UPGRADE_ANY = Known(
    "apache-upgrade-any",
    "any Upgrade is passed on",
    "not WebSocket alone: a backend that takes `Upgrade: h2c`, as Hypercorn does, then gets requests inside "
    "of the connection that no rule of httpd sees",
    "ProxyPass ... upgrade=websocket",
)

_VERIFYING = frozenset({"require", "optional", "optional_no_ca"})
_SETTING = frozenset({"set", "add", "append", "merge", "setifempty"})
_KEEPING = frozenset({"add", "append", "merge", "setifempty"})
_PLACES = frozenset(
    {"virtualhost", "directory", "location", "locationmatch", "directorymatch", "files", "proxy"}
)


def _find(main: str, library: Library) -> Found:
    configuration = read_apache(main, library)
    root = configuration.root
    traps: dict[Trap, None] = {}
    for host in root.own("virtualhost") or (root,):
        traps |= dict.fromkeys(_verifying(host, root))
    for one in root.walk():
        traps |= dict.fromkeys(_headers(one))
        if _upgrades(one):
            traps[UPGRADE_ANY.on(one)] = None
    return Found(tuple(traps), configuration.unread)


def _effective(name: str, host: Directive, root: Directive) -> Directive | None:
    return host.last(name) or root.last(name)


def _verifying(host: Directive, root: Directive) -> Iterator[Trap]:
    """Of one host, those of its folders and locations included."""
    inner = [one for each in host.inside if each.name in _PLACES - {"virtualhost"} for one in each.walk()]
    top = _effective("sslverifyclient", host, root)
    asked = [one for one in (top, *inner) if one is not None and one.name == "sslverifyclient"]
    verifying = [one for one in asked if one.value.lower() in _VERIFYING]
    if not verifying:
        return
    verify = verifying[0]
    check = _effective("sslcarevocationcheck", host, root)
    if check is None or check.value.lower() == "none":
        yield REVOCATION_UNCHECKED.on(check or verify)
    tickets, cache = _effective("sslsessiontickets", host, root), root.last("sslsessioncache")
    if tickets is None or tickets.value.lower() != "off":
        yield SESSIONS.on(tickets or verify)
    if cache is not None and cache.value.lower() not in {"none", "nonenotnull"}:
        yield SESSIONS.on(cache)
    for one in verifying:
        if one.value.lower() == "optional_no_ca":
            yield NO_CA.on(one)
    if all(one.value.lower() != "require" for one in verifying) and not _looked_at(host, root):
        yield VERIFY_UNUSED.on(verify)


def _looked_at(host: Directive, root: Directive) -> bool:
    """Does anything but a log use the answer? ``+StdEnvVars`` hands it to scripts."""
    around = (one for each in root.inside if each.name != "virtualhost" for one in each.walk())
    for one in (*host.walk(), *around):
        text = " ".join(one.args).lower()
        if one.name == "require" and "ssl-verify-client" in text:
            return True
        if one.name not in {"logformat", "customlog"} and "ssl_client_verify" in text:
            return True
        if one.name == "ssloptions" and re.search(r"\+?(stdenvvars|exportcertdata|fakebasicauth)", text):
            return True
    return False


def _headers(one: Directive) -> Iterator[Trap]:
    args = [arg.lower() for arg in one.args]
    if one.name == "header" and args[:1] != ["always"]:
        action, field = (args[1:] if args[:1] == ["onsuccess"] else args)[:2] if len(args) > 2 else ("", "")
        if field == "strict-transport-security" and action in _SETTING:
            yield HSTS_NOT_ALWAYS.on(one)
    if one.name == "requestheader" and len(args) > 2 and any("ssl_client_" in arg for arg in args[2:]):
        conditional = any(arg.startswith(("env=", "expr=")) for arg in args[3:])
        if args[0] in _KEEPING or conditional:
            yield HEADER_ADDED.on(one)


def _upgrades(one: Directive) -> bool:
    """Does a backend get an Upgrade to anything, or to HTTP/2?"""
    if one.name not in {"proxypass", "proxypassmatch", "balancermember", "proxyset"}:
        return False
    return any(arg.lower() in {"upgrade=any", "upgrade=h2c"} for arg in one.args)


def _suits(name: str, text: str) -> bool:
    if name.endswith((".py", ".json")):
        return False
    places = r"<(VirtualHost|IfModule|Directory|Location)\b"
    words = rf"(?im)^[ \t]*({places}|SSLEngine\s|ServerRoot\s|Listen\s+\S+\s*$)"
    return re.search(words, text) is not None


TRAPS = Server(
    id="apache",
    title="Apache",
    reads="apache2.conf or httpd.conf; what it includes is read as well",
    known=(REVOCATION_UNCHECKED, NO_CA, VERIFY_UNUSED, SESSIONS, HSTS_NOT_ALWAYS, HEADER_ADDED, UPGRADE_ANY),
    find=_find,
    suits=_suits,
)
