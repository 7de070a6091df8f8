"""Traps of Gunicorn, in its configuration file (Python: parsed, never run) or its command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from sealgate.engines.configurations.calls import Call, calls, variables
from sealgate.engines.configurations.library import Library
from sealgate.engines.configurations.settings import Setting, assigned, parsed
from sealgate.engines.traps._contexts import changed_in_place
from sealgate.engines.traps._python import found
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

OWN_TLS = Known(
    "gunicorn-own-tls",
    "certfile and keyfile",
    "Gunicorn makes a new TLS context for each connection, and a handshake may take for ever: four "
    "clients that send half a ClientHello hold all four threads of a worker",
    "an ssl_context hook with one prepared context and a handshake timeout, which Sealgate's engine "
    "gunicorn brings; or a server in front",
)
FORWARDED_ANY = Known(
    "gunicorn-forwarded-any",
    'forwarded_allow_ips = "*"',
    "whoever reaches the port can say that the request came by HTTPS, and in frameworks that look, from"
    " where",
    "the addresses of the proxy in front, or a unix socket between them",
)
PROXY_ANY = Known(
    "gunicorn-proxy-any",
    'proxy_allow_ips = "*"',
    "whoever reaches the port can claim any client address by the PROXY protocol",
    "the addresses of the load balancer",
)
SSL_VERSION = Known(
    "gunicorn-ssl-version",
    "ssl_version is ignored",
    "since Gunicorn 21 it does nothing: what it was to forbid is offered",
    "context.minimum_version in an ssl_context hook",
)
REVOKED = Known(
    "gunicorn-crl-missing",
    "client certificates without a revocation list",
    "cert_reqs looks at no list: a certificate that was revoked is good until it expires",
    "load the lists in an ssl_context hook (VERIFY_CRL_CHECK_CHAIN), anew whenever they change",
)
IN_PLACE = Known(
    "gunicorn-context-in-place",
    "a TLS context changed in place",
    "sessions begun under the old lists are resumed by their tickets: a client that was revoked since "
    "gets in",
    "a new context for each change, or OP_NO_TICKET and num_tickets = 0",
)

CA_UNUSED = Known(
    "gunicorn-ca-unused",
    "ca_certs without cert_reqs",
    "nobody is asked for a certificate: everybody gets in",
    "cert_reqs = ssl.CERT_REQUIRED; --cert-reqs 2 on the command line",
)
VERIFY_UNUSED = Known(
    "gunicorn-verify-unused",
    "client certificates are asked for, and nobody looks at the answer",
    "with CERT_OPTIONAL a client without one gets in like any other, unless the app asks the socket itself "
    "(gunicorn.socket)",
    "CERT_REQUIRED; or Sealgate's engine gunicorn, which tells the app who called",
)
ALL_TLS = Known(
    "gunicorn-every-bind-tls",
    "a plain address beside certfile",
    "certfile counts for every address of bind: the one for plain HTTP expects TLS, and nobody is redirected",
    "one address; and a small server, or Sealgate's engine gunicorn, that redirects",
)

_OTHERS = re.compile(r"\b(uvicorn\.(run|Config)\(|hypercorn\b|(quic|insecure)_bind\b)")
"""What a file in Python says that is another server's."""
_VARIABLE = "FORWARDED_ALLOW_IPS"
_OPTIONS = {
    "ca_certs": ("--ca-certs",),
    "certfile": ("--certfile",),
    "keyfile": ("--keyfile",),
    "forwarded_allow_ips": ("--forwarded-allow-ips",),
    "proxy_allow_ips": ("--proxy-allow-from",),
    "ssl_version": ("--ssl-version",),
    "cert_reqs": ("--cert-reqs",),
}


def _find(main: str, library: Library) -> Found:
    return found(main, library, _in_python, _in_calls)


def _in_python(main: str, text: str) -> Iterator[Trap]:
    tree = parsed(text)
    settings = assigned(tree)
    hook = any(_is_hook(node) for node in tree.body) or "ssl_context" in settings
    yield from _judge(main, settings, hook=hook)
    yield from (IN_PLACE.at(main, line) for line in changed_in_place(tree))


def _in_calls(main: str, text: str) -> Iterator[Trap]:
    """The command line wins over the one variable that Gunicorn reads."""
    value, line = variables(text, _VARIABLE).get(_VARIABLE, ("", 0))
    around = {"forwarded_allow_ips": Setting(value, line)} if value else {}
    for call in calls(text, "gunicorn"):
        yield from _judge(main, around | _said(call), hook=False)


def _said(call: Call) -> dict[str, Setting]:
    values = {name: call.value(*options) for name, options in _OPTIONS.items()}
    return {name: Setting(value, call.line) for name, value in values.items() if value is not None}


def _judge(main: str, settings: Mapping[str, Setting], *, hook: bool) -> Iterator[Trap]:
    certificate = settings.get("certfile") or settings.get("keyfile")
    if certificate and not hook:
        yield OWN_TLS.at(main, certificate.line)
    for name, known in (("forwarded_allow_ips", FORWARDED_ANY), ("proxy_allow_ips", PROXY_ANY)):
        said = settings.get(name)
        if said and "*" in said.words:
            yield known.at(main, said.line)
    if version := settings.get("ssl_version"):
        yield SSL_VERSION.at(main, version.line)
    bound = settings.get("bind")
    if certificate and bound and len(bound.words) > 1 and any(map(_plain, bound.words)):
        yield ALL_TLS.at(main, bound.line)
    if not hook:
        yield from _clients(main, settings)


def _plain(address: str) -> bool:
    """Is it an address that people mean to be plain HTTP?"""
    return address.rpartition(":")[2] in {"80", "8080"}


def _clients(main: str, settings: Mapping[str, Setting]) -> Iterator[Trap]:
    asked = settings.get("cert_reqs")
    if asked is None or asked.value in {"0", "CERT_NONE"}:
        if authorities := settings.get("ca_certs"):
            yield CA_UNUSED.at(main, authorities.line)
        return
    yield REVOKED.at(main, asked.line)
    if asked.value in {"1", "CERT_OPTIONAL"}:
        yield VERIFY_UNUSED.at(main, asked.line)


def _is_hook(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "ssl_context"


def _suits(name: str, text: str) -> bool:
    if name.endswith(".py"):
        return not _OTHERS.search(text)
    return not name.endswith(".json") and next(calls(text, "gunicorn"), None) is not None


TRAPS = Server(
    id="gunicorn",
    title="Gunicorn",
    reads="gunicorn.conf.py (parsed, never run), or a unit, script or container file that calls gunicorn",
    known=(
        OWN_TLS, ALL_TLS, FORWARDED_ANY, PROXY_ANY, SSL_VERSION, CA_UNUSED, VERIFY_UNUSED, REVOKED, IN_PLACE,
    ),
    find=_find,
    suits=_suits,
)  # fmt: skip
