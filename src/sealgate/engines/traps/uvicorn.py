"""Traps of uvicorn: in a program that calls it (parsed, never run), its command line or its environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sealgate.engines.configurations.calls import Call, calls, variables
from sealgate.engines.configurations.library import Library
from sealgate.engines.configurations.settings import Setting, keywords, parsed
from sealgate.engines.traps._contexts import changed_in_place
from sealgate.engines.traps._python import found
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

CA_UNUSED = Known(
    "uvicorn-ca-unused",
    "ssl_ca_certs without ssl_cert_reqs",
    "nobody is asked for a certificate: everybody gets in",
    "ssl_cert_reqs=ssl.CERT_REQUIRED; --ssl-cert-reqs 2 on the command line",
)
VERIFY_UNUSED = Known(
    "uvicorn-verify-unused",
    "client certificates are asked for, and nobody looks at the answer",
    "with CERT_OPTIONAL a client without one gets in like any other, and uvicorn does not tell the app who "
    "called",
    "CERT_REQUIRED; or Sealgate's engine uvicorn, which tells the app",
)
CRL_MISSING = Known(
    "uvicorn-crl-missing",
    "client certificates without a revocation list",
    "ssl_cert_reqs looks at no list: a certificate that was revoked is good until it expires",
    "load the lists in an ssl_context_factory (VERIFY_CRL_CHECK_CHAIN), and a new context for each change",
)
READ_ONCE = Known(
    "uvicorn-certificate-never-reloaded",
    "a certificate that is read once",
    "uvicorn makes its context at start alone: after a renewal the old certificate is served until it "
    "expires",
    "a restart after each renewal; or Sealgate's engine uvicorn; or a server in front",
)
IN_PLACE = Known(
    "uvicorn-context-in-place",
    "a TLS context changed in place",
    "sessions begun under the old lists are resumed by their tickets: a client that was revoked since "
    "gets in",
    "a new context for each change, or OP_NO_TICKET and num_tickets = 0",
)
FORWARDED_ANY = Known(
    "uvicorn-forwarded-any",
    'forwarded_allow_ips = "*"',
    "whoever reaches the port can say from where the request came, and that it came by HTTPS",
    "the addresses of the proxy in front, or a unix socket between them",
)

_OPTIONS = {
    "forwarded_allow_ips": "--forwarded-allow-ips",
    "ssl_certfile": "--ssl-certfile",
    "ssl_ca_certs": "--ssl-ca-certs",
    "ssl_cert_reqs": "--ssl-cert-reqs",
}
_CALLED = ("uvicorn.run", "uvicorn.Config")
_NOT_ASKING = frozenset({"0", "CERT_NONE"})
_OPTIONAL = frozenset({"1", "CERT_OPTIONAL"})


def _find(main: str, library: Library) -> Found:
    return found(main, library, _in_python, _in_calls)


def _in_python(main: str, text: str) -> Iterator[Trap]:
    tree = parsed(text)
    for settings in keywords(tree, *_CALLED):
        yield from _judge(main, settings)
    yield from (IN_PLACE.at(main, line) for line in changed_in_place(tree))


def _in_calls(main: str, text: str) -> Iterator[Trap]:
    """The command line wins over the environment."""
    around = {name: _variable(text, name) for name in _OPTIONS}
    there = {name: setting for name, setting in around.items() if setting is not None}
    said = [_said(call) for call in calls(text, "uvicorn")]
    for settings in said or [{}]:
        yield from _judge(main, there | settings)


def _variable(text: str, name: str) -> Setting | None:
    names = [f"UVICORN_{name.upper()}"]
    # This one is gunicorn's name for it, and uvicorn reads it, too.
    names += [name.upper()] if name == "forwarded_allow_ips" else []
    for each in names:
        value, line = variables(text, each).get(each, ("", 0))
        if value:
            return Setting(value, line)
    return None


def _said(call: Call) -> dict[str, Setting]:
    values = {name: call.value(option) for name, option in _OPTIONS.items()}
    return {name: Setting(value, call.line) for name, value in values.items() if value}


def _judge(main: str, settings: Mapping[str, Setting]) -> Iterator[Trap]:
    forwarded = settings.get("forwarded_allow_ips")
    if forwarded and "*" in forwarded.words:
        yield FORWARDED_ANY.at(main, forwarded.line)
    if "ssl_context_factory" in settings:
        return  # what it makes is seen by nobody who only reads
    if certificate := settings.get("ssl_certfile"):
        yield READ_ONCE.at(main, certificate.line)
    asked = settings.get("ssl_cert_reqs")
    if asked is None or asked.value in _NOT_ASKING:
        if authorities := settings.get("ssl_ca_certs"):
            yield CA_UNUSED.at(main, authorities.line)
        return
    yield CRL_MISSING.at(main, asked.line)
    if asked.value in _OPTIONAL:
        yield VERIFY_UNUSED.at(main, asked.line)


def _suits(name: str, text: str) -> bool:
    if name.endswith(".py"):
        return re.search(r"\buvicorn\.(run|Config)\(", text) is not None
    if name.endswith(".json"):
        return False
    return bool(variables(text, "UVICORN_")) or next(calls(text, "uvicorn"), None) is not None


TRAPS = Server(
    id="uvicorn",
    title="uvicorn",
    reads="a program that calls uvicorn.run (parsed, never run), or a unit, script, environment file or "
    "container file that starts uvicorn",
    known=(CA_UNUSED, VERIFY_UNUSED, CRL_MISSING, READ_ONCE, IN_PLACE, FORWARDED_ANY),
    find=_find,
    suits=_suits,
)
