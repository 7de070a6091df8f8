"""Traps of Hypercorn, in its configuration of TOML or Python (parsed, never run) or its command line.

Read off Hypercorn 0.18: ``Config.create_ssl_context``, ``create_sockets`` and ``protocol/quic.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sealgate.engines.configurations.calls import Call, calls
from sealgate.engines.configurations.directive import Unread
from sealgate.engines.configurations.library import Library, UnreadableError
from sealgate.engines.configurations.settings import (
    Setting,
    UnparsedError,
    assigned,
    from_toml,
    keywords,
    parsed,
)
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

QUIC_CLIENTS = Known(
    "hypercorn-quic-client-certificates",
    "a QUIC listener beside client certificates",
    "Hypercorn's QUIC listener asks for no client certificate, whatever verify_mode says: everybody gets in "
    "over HTTP/3, and every other answer tells them where",
    "no quic_bind where verify_mode is set",
)
HALF_TLS = Known(
    "hypercorn-tls-half",
    "certfile without keyfile, or keyfile without certfile",
    "Hypercorn speaks TLS only where both are named, a file that holds both included: without a word all "
    "addresses of bind are plain HTTP, and quic_bind and insecure_bind are not listened on",
    "both; the same file twice where it holds both",
)
PLAIN_TOO = Known(
    "hypercorn-insecure-bind",
    "insecure_bind serves the app",
    "the whole app answers there over plain HTTP, sessions and passwords included; nothing is redirected",
    "no insecure_bind; or hypercorn.middleware.HTTPToHTTPSRedirectMiddleware around the app",
)
CA_UNUSED = Known(
    "hypercorn-ca-unused",
    "ca_certs without verify_mode",
    "nobody is asked for a certificate: everybody gets in",
    'verify_mode = "CERT_REQUIRED" on the command line, 2 in TOML, ssl.CERT_REQUIRED in Python',
)
VERIFY_UNUSED = Known(
    "hypercorn-verify-unused",
    "client certificates are asked for, and nobody looks at the answer",
    "with CERT_OPTIONAL a client without one gets in like any other, and Hypercorn does not tell the app who "
    "called",
    "CERT_REQUIRED; or a server that tells the app",
)
CRL_MISSING = Known(
    "hypercorn-crl-missing",
    "client certificates without a revocation list",
    "a certificate that was revoked is good until it expires",
    "verify_flags = ssl.VERIFY_CRL_CHECK_CHAIN, with the lists beside the authorities in ca_certs, and a "
    "restart after each new one",
)
READ_ONCE = Known(
    "hypercorn-certificate-never-reloaded",
    "a certificate that is read once",
    "certificate, authorities and lists are read at start alone, and no signal reads them again: after a "
    "renewal the old certificate is served until it expires",
    "a restart after each renewal; or a server in front that follows its files",
)

_OPTIONS = {
    "bind": ("-b", "--bind"),
    "quic_bind": ("--quic-bind",),
    "insecure_bind": ("--insecure-bind",),
    "certfile": ("--certfile",),
    "keyfile": ("--keyfile",),
    "ca_certs": ("--ca-certs",),
    "verify_mode": ("--verify-mode", "--cert-reqs"),
}
_NOT_ASKING = frozenset({"0", "CERT_NONE"})
_OPTIONAL = frozenset({"1", "CERT_OPTIONAL"})
_CHECK_LEAF = 4  # ssl.VERIFY_CRL_CHECK_LEAF; that of the chain has its bit, too
_SIGNS = re.compile(r"\bhypercorn\b|^[ \t]*(?:\w{1,60}\.)?(?:quic_bind|insecure_bind)[ \t]*=", re.MULTILINE)


def _find(main: str, library: Library) -> Found:
    try:
        text = library.read(main)
        sets = list(_settings(main, text))
        hook = "create_ssl_context" in text
    except UnreadableError as error:
        return Found((), (Unread(main, 0, f"it cannot be read: {error}"),))
    except UnparsedError as error:
        return Found((), (Unread(main, error.line, str(error)),))
    found = (trap for settings in sets for trap in _judge(main, settings, hook=hook))
    return Found(tuple(dict.fromkeys(found)))


def _settings(main: str, text: str) -> Iterator[Mapping[str, Setting]]:
    if main.endswith(".toml"):
        yield from_toml(text)
    elif main.endswith(".py"):
        tree = parsed(text)
        yield assigned(tree)
        yield from keywords(tree, "Config.from_mapping", "config.from_mapping")
    else:
        yield from (_said(call) for call in calls(text, "hypercorn"))


def _said(call: Call) -> dict[str, Setting]:
    values = {name: call.value(*options) for name, options in _OPTIONS.items()}
    return {name: Setting(value, call.line) for name, value in values.items() if value}


def _judge(main: str, settings: Mapping[str, Setting], *, hook: bool) -> Iterator[Trap]:
    pair = [settings[name] for name in ("certfile", "keyfile") if name in settings]
    if len(pair) == 1:
        yield HALF_TLS.at(main, pair[0].line)
    if len(pair) != len(("certfile", "keyfile")):
        return
    if plain := settings.get("insecure_bind"):
        yield PLAIN_TOO.at(main, plain.line)
    if not hook:
        yield READ_ONCE.at(main, pair[0].line)
        yield from _clients(main, settings)
    mode = settings.get("verify_mode") or settings.get("cert_reqs")
    quic = settings.get("quic_bind")
    if quic and (hook or (mode and mode.value not in _NOT_ASKING)):
        yield QUIC_CLIENTS.at(main, quic.line)


def _clients(main: str, settings: Mapping[str, Setting]) -> Iterator[Trap]:
    mode = settings.get("verify_mode") or settings.get("cert_reqs")
    if mode is None or mode.value in _NOT_ASKING:
        if authorities := settings.get("ca_certs"):
            yield CA_UNUSED.at(main, authorities.line)
        return
    if mode.value in _OPTIONAL:
        yield VERIFY_UNUSED.at(main, mode.line)
    if not _lists(settings.get("verify_flags")):
        yield CRL_MISSING.at(main, mode.line)


def _lists(flags: Setting | None) -> bool:
    """Do the flags ask for lists? Those that are computed may."""
    if flags is None:
        return False
    if flags.value.isascii() and flags.value.isdecimal():
        return bool(int(flags.value[:9]) & _CHECK_LEAF)
    return not flags.value or "CRL" in flags.value


def _suits(name: str, text: str) -> bool:
    if name.endswith((".toml", ".py")):
        return _SIGNS.search(text) is not None
    return not name.endswith(".json") and next(calls(text, "hypercorn"), None) is not None


TRAPS = Server(
    id="hypercorn",
    title="Hypercorn",
    reads="its TOML or Python file (parsed, never run), or a unit, script or container file that calls "
    "hypercorn",
    known=(QUIC_CLIENTS, HALF_TLS, PLAIN_TOO, CA_UNUSED, VERIFY_UNUSED, CRL_MISSING, READ_ONCE),
    find=_find,
    suits=_suits,
)
