"""What becomes of a request: refused, redirected, or passed on with the fields that say who called."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.addresses import STRANGE, address_rules
from sealgate.engines.servers.apache.answers import CLEAR, location
from sealgate.engines.servers.apache.challenges import challenge_rules
from sealgate.engines.servers.apache.facts import CLOSING, condition, quoted, refuse, unless
from sealgate.engines.servers.apache.hosts import LOOPBACK, site_hosts
from sealgate.engines.servers.apache.published import list_rules
from sealgate.engines.servers.apache.spoofing import REFUSED_NAMES
from sealgate.policy import identity
from sealgate.policy.path import CANONICAL_PATH_RE2, CARRIED_PATH_RE2

__all__ = ["PATH", "TARGET", "https_rules", "plain_rules"]

TARGET = "SEALGATE_TARGET"
"""Environment variable: path and query as received."""

PATH = "SEALGATE_PATH"
"""Environment variable: the path as received."""

_ODD = "SEALGATE_ODD"
_PORT = "SEALGATE_PORT"
_LENGTHLESS = "^[^/]|^/HTTP/2.0/(?!GET$|HEAD$|OPTIONS$|DELETE$)"
_HSTS = "Strict-Transport-Security"
# Of an absolute target (RFC 9112 §3.2.2) the path alone; Apache has taken Host from it already.
_REQUEST_LINE = r"m|^[^ ]+ (?:https?://[^/?# ]*)?(([^ ?]*)[^ ]*) HTTP/|i"
_IDENTITY = (identity.ADDRESS, identity.PATH, identity.PROOF, identity.VERIFIED, identity.CERTIFICATE)


def _target() -> str:
    """Keep the target as it was received: Apache's own variables have it decoded."""
    return f"SetEnvIfExpr {quoted('%{THE_REQUEST} =~ ' + _REQUEST_LINE)} {TARGET}=$1 {PATH}=$2"


def _answers() -> list[str]:
    """Requests that Apache makes of itself, for an ErrorDocument; outside ones never have that variable."""
    ours = condition("%{ENV:REDIRECT_STATUS}", ".")
    return [
        ours,
        condition("%{ENV:REDIRECT_ERROR_NOTES}", "request header fields?( |$)"),
        _answered("headers-too-large"),
        ours,
        condition("%{ENV:REDIRECT_ERROR_NOTES}", "Error during SSL Handshake"),
        _answered("app-unavailable"),
        condition("%{ENV:REDIRECT_STATUS}", "^40[04]$"),
        condition(f"%{{ENV:REDIRECT_{TARGET}}}", "."),  # without: nothing that could be read as a request
        unless(f"%{{ENV:REDIRECT_{TARGET}}}", _whole(CANONICAL_PATH_RE2)),
        _answered("path-not-canonical"),
        # Of unknown length, and more than a temporary file may hold (`instance.py`).
        condition("%{ENV:REDIRECT_STATUS} %{HTTP:Content-Length}", "^500 $"),
        condition("%{ENV:REDIRECT_SEALGATE_METHOD}", "^(?!GET$|HEAD$|OPTIONS$)."),
        _answered("body-too-large"),
        ours,
        'RewriteRule "^" "-" [E=no-proxy:1,END]',
    ]


def _answered(slug: str) -> str:
    return f'RewriteRule "^" {quoted(location(slug), rewrite=True)} [E=no-proxy:1,END]'


def _whole(pattern: str) -> str:
    return rf"\A(?:{pattern})\z"


def _spellings(name: str) -> list[str]:
    """With every hyphen as it is or as an underscore: in a CGI variable they are the same."""
    parts = name.split("-")
    choices = itertools.product("-_", repeat=len(parts) - 1)
    return ["".join(itertools.chain(*zip(parts, (*joints, ""), strict=True))) for joints in choices]


def _unset(names: Iterable[str]) -> list[str]:
    return [f"RequestHeader unset {spelling}" for name in names for spelling in _spellings(name)]


def https_rules(facts: RenderFacts, *, strange: int = STRANGE) -> list[str]:
    """Directives of the HTTPS virtual host: judging, request fields, response fields.

    ``strange``: the status whose ErrorDocument is for addresses that may not come in.
    """
    return [
        _target(),
        # A generation that ends closes what is idle, be a request on its way or not (`instance.py`).
        "SetEnvIfExpr " + quoted(f"-f '{CLOSING}'") + " nokeepalive",
        # With the names of fields as regular expressions; an underscore is refused, as Envoy does.
        f"SetEnvIfNoCase {quoted(REFUSED_NAMES)} . {_ODD}=field",
        "RewriteEngine on",
        "RewriteOptions AllowAnyURI",
        *_answers(),
        *address_rules(facts, tls=True, status=strange),
        unless("%{SERVER_PROTOCOL}", r"^HTTP/(?:1\.1|2\.0)$"),
        refuse(505),
        # "OPTIONS *" too: it is about Apache, not about the app.
        condition("%{REQUEST_METHOD} %{REQUEST_URI}", r"^(?:CONNECT|TRACE) |^\S+ (?!/)"),
        refuse(400),
        condition(f"%{{ENV:{_ODD}}}", "."),
        refuse(400),
        # Fields named in Connection end at the hop (RFC 9110 §7.6.1): not those that are set here.
        condition(
            "%{HTTP:Connection}", r"(?i)(?:^|[^a-z0-9_-])(?:sealgate|x-request-id|x-forwarded|host|content)"
        ),
        refuse(400),
        *_judged(facts),
        # LimitRequestBody does not count for requests that are passed on.
        f'RewriteCond expr "%{{HTTP:Content-Length}} -gt {facts.policy.limits.body}"',
        refuse(413),
        *_request_fields(facts),
        *_response_fields(facts),
    ]


def _judged(facts: RenderFacts) -> list[str]:
    """Where no guard stands behind: Host and path, as the guard would judge them.

    Where one does: what a worker's parser would refuse before the guard could say why.
    """
    target = f"%{{ENV:{TARGET}}}"
    if facts.guarded:
        return [unless(target, _whole(CARRIED_PATH_RE2)), refuse(400)]
    return [
        unless("%{HTTP_HOST}", site_hosts(facts.policy, plain=False)),
        refuse(421),
        unless(target, _whole(CANONICAL_PATH_RE2)),
        refuse(400),
        # Nobody would count a body without a length. Over HTTP/2 it cannot be seen whether one comes.
        condition("%{HTTP:Content-Length}", "^$"),
        condition("%{HTTP:Transfer-Encoding}/%{SERVER_PROTOCOL}/%{REQUEST_METHOD}", _LENGTHLESS),
        refuse(411),
    ]


def _request_fields(facts: RenderFacts) -> list[str]:
    fresh = [*_unset(["x-request-id"]), "RequestHeader set x-request-id expr=%{env:UNIQUE_ID}"]
    if facts.guarded:
        return [*_unset(_IDENTITY), *fresh, *_identity(facts)]
    address = "%{REMOTE_ADDR}"
    return [
        *_unset(_IDENTITY),
        *fresh,
        f"RequestHeader set x-forwarded-for expr={address}",
        "RequestHeader set x-forwarded-proto https",
        "RequestHeader set x-forwarded-host expr=%{HTTP_HOST}",
        f"RequestHeader set x-forwarded-port {facts.policy.public_port}",
    ]


def _identity(facts: RenderFacts) -> list[str]:
    """The fields of ``policy/identity.py``, each exactly once."""
    six = '"expr=%{REMOTE_ADDR} =~ /:/"'
    four = '"expr=%{REMOTE_ADDR} !~ /:/"'
    port = f"%{{env:{_PORT}}}"
    lines = [
        # mod_rewrite's REMOTE_PORT is the one that the PROXY protocol told, others' the connection's.
        f'RewriteRule "^" "-" [E={_PORT}:%{{REMOTE_PORT}}]',
        f'RequestHeader set {identity.ADDRESS} "expr=%{{REMOTE_ADDR}}:{port}" {four}',
        f'RequestHeader set {identity.ADDRESS} "expr=[%{{REMOTE_ADDR}}]:{port}" {six}',
        f'RequestHeader set {identity.PATH} "expr=%{{env:{TARGET}}}"',
        f"RequestHeader set {identity.PROOF} {quoted(facts.proof)}",
    ]
    if facts.policy.clients.mode == "off":
        # Said always: workers of a policy that still asks are not left guessing while a reload ends that.
        return [*lines, f"RequestHeader set {identity.VERIFIED} NONE"]
    return [
        *lines,
        f'RequestHeader set {identity.VERIFIED} "expr=%{{SSL_CLIENT_VERIFY}}"',
        f'RequestHeader set {identity.CERTIFICATE} "expr=%{{base64:%{{SSL_CLIENT_CERT}}}}"',
    ]


def _response_fields(facts: RenderFacts) -> list[str]:
    """What an app says under these names is replaced: the tables "onsuccess" and "always" are both sent."""
    lines = [
        *(f"Header onsuccess unset {name}" for name in (_HSTS, "X-Powered-By", "Server")),
        # Apache's own offer of h2, which clients learn by ALPN.
        "Header onsuccess unset Upgrade \"expr=%{resp:Upgrade} == 'h2'\"",
        f"Header always set {_HSTS} {quoted(facts.hsts)}",
    ]
    if facts.hsts_local:
        local = quoted(f"expr=%{{HTTP_HOST}} =~ m#{LOOPBACK}#")
        lines.append(f"Header always set {_HSTS} {quoted(facts.hsts_local)} {local}")
    return lines


def plain_rules(facts: RenderFacts, *, strange: int = STRANGE) -> list[str]:
    """Directives of the plain HTTP virtual host: a redirect to a configured name only, or a refusal.

    Before both come the answers to an authority's questions, and the list of revoked clients, whatever the
    Host and the address.
    """
    policy = facts.policy
    lines = [
        _target(),
        "RewriteEngine on",
        *_answers(),
        *challenge_rules(f"%{{ENV:{TARGET}}}"),
        *list_rules(facts, f"%{{ENV:{TARGET}}}"),
        *address_rules(facts, tls=False, status=strange),
        *(
            line
            for name in policy.credential_fields
            for line in (condition(f"%{{HTTP:{name}}}", "."), refuse(CLEAR))
        ),
        unless("%{HTTP_HOST}", site_hosts(policy, plain=True)),
        refuse(421),
    ]
    if policy.http.mode == "refuse":
        return [*lines, refuse(403)]
    if policy.public_port == 443:  # the usual port is left out where the client left it out too
        lines += [
            condition("%{HTTP_HOST}", site_hosts(policy, plain=True, ports=False)),
            _redirect("%{HTTP_HOST}"),
        ]
    return [
        *lines,
        condition("%{HTTP_HOST}", r"\A(\[[^\]]*\]|[^:]*)"),
        _redirect(f"%1:{policy.public_port}"),
    ]


def _redirect(authority: str) -> str:
    """The query is appended by itself, as it was received."""
    return f'RewriteRule "^" {quoted(f"https://{authority}%{{ENV:{PATH}}}", rewrite=True)} [R=308,NE,L]'
