"""Traps of Caddy, in a Caddyfile or in its JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from sealgate.engines.configurations.caddy import read_caddyfile
from sealgate.engines.configurations.directive import Directive, Unread
from sealgate.engines.configurations.library import Library, UnreadableError
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

NO_POOL = Known(
    "caddy-client-auth-unverified",
    "client_auth without an authority",
    "without trust_pool Caddy asks for a certificate and does not verify it (modes request and "
    "require), or takes one of any public authority (verify_if_given, require_and_verify)",
    "client_auth { mode require_and_verify; trust_pool file clients.pem }",
)

MODE = Known(
    "caddy-mode-unverified",
    "a mode that does not verify",
    "with mode request or require Caddy asks for a certificate and takes anybody's, trust_pool or not",
    "mode require_and_verify (it is the default where there is a trust_pool)",
)
OPTIONAL = Known(
    "caddy-verify-unused",
    "client certificates are asked for, and nobody looks at the answer",
    "with verify_if_given a client without one gets in like any other",
    "mode require_and_verify; or decide by {tls_client_subject} or {tls_client_fingerprint}, in Caddy or "
    "passed on to the app",
)
CRL_MISSING = Known(
    "caddy-crl-missing",
    "client certificates without a revocation list",
    "Caddy reads none by itself: a certificate that was revoked is good until it expires",
    "a verifier module that reads lists; or certificates that live for hours; or Sealgate in front",
)

_UNVERIFIED = frozenset({"request", "require"})
# Words of a Caddyfile, and of its JSON, of which one is needed.
_POOLS = (
    "trust_pool",
    "trusted_ca_cert",
    "trusted_ca_cert_file",
    "trusted_leaf_cert",
    "trusted_leaf_cert_file",
    "verifier",
)
_JSON_POOLS = ("ca", "trusted_ca_certs", "trusted_ca_certs_pem_files", "trusted_leaf_certs", "verifiers")
_AUTHENTICATION = re.compile(r'"client_authentication"\s*:\s*(?=\{)')


def _find(main: str, library: Library) -> Found:
    try:
        text = library.read(main)
    except UnreadableError as error:
        return Found((), (Unread(main, 0, f"it cannot be read: {error}"),))
    if text.lstrip().startswith("{") and '"apps"' in text:
        return _in_json(main, text)
    configuration = read_caddyfile(main, library)
    traps = (trap for one in configuration.root.walk() for trap in _directive(one, text))
    return Found(tuple(traps), configuration.unread)


def _directive(one: Directive, text: str) -> Iterator[Trap]:
    if one.name != "client_auth":
        return
    pool, mode = one.own(*_POOLS), one.last("mode")
    said = mode.value if mode else ""
    own = bool(one.own("verifier", "trusted_leaf_cert", "trusted_leaf_cert_file"))
    for known in _judged(pool=bool(pool), mode=said, own=own, text=text):
        yield known.on((mode if known in {MODE, OPTIONAL} else None) or one)


def _judged(*, pool: bool, mode: str, own: bool, text: str) -> Iterator[Known]:
    """``own``: a verifier or a list of single certificates decides, whatever the mode says."""
    if not pool:
        yield NO_POOL
    elif mode in _UNVERIFIED and not own:
        yield MODE
    else:
        if mode == "verify_if_given" and "tls_client_" not in text and "tls.client." not in text:
            yield OPTIONAL
        if not own:
            yield CRL_MISSING


def _in_json(main: str, text: str) -> Found:
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        return Found((), (Unread(main, line, "it is not JSON"),))
    return Found(tuple(_policies(main, text)))


def _policies(main: str, text: str) -> Iterator[Trap]:
    decoder = json.JSONDecoder()
    for match in _AUTHENTICATION.finditer(text):
        try:
            value, _ = decoder.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            continue  # inside of a text, not a key
        line = text.count("\n", 0, match.start()) + 1
        pool = any(value.get(name) for name in _JSON_POOLS)
        own = bool(value.get("verifiers") or value.get("trusted_leaf_certs"))
        for known in _judged(pool=pool, mode=str(value.get("mode", "")), own=own, text=text):
            yield known.at(main, line)


def _suits(name: str, text: str) -> bool:
    if name.rpartition("/")[2].lower().startswith("caddyfile") or name.endswith(".caddyfile"):
        return True
    return name.endswith(".json") and '"apps"' in text


TRAPS = Server(
    id="caddy",
    title="Caddy",
    reads="the Caddyfile or the JSON",
    known=(NO_POOL, MODE, OPTIONAL, CRL_MISSING),
    find=_find,
    suits=_suits,
)
