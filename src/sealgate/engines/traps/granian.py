"""Traps of Granian, in the command line or environment that starts it."""

from __future__ import annotations

from collections.abc import Iterator

from sealgate.engines.configurations.calls import calls, variables
from sealgate.engines.configurations.directive import Unread
from sealgate.engines.configurations.library import Library, UnreadableError
from sealgate.engines.traps.trap import Found, Known, Server, Trap

__all__ = ["TRAPS"]

NO_CA = Known(
    "granian-client-verify-ignored",
    "client-verify without an authority",
    'Granian logs "ignoring" and lets in everybody, with or without a certificate',
    "name the authority: --ssl-ca clients.pem",
)
NO_CRL = Known(
    "granian-crl-missing",
    "client certificates without a revocation list",
    "a certificate that was revoked is good until it expires",
    "--ssl-crl, with a list of every authority of the chain",
)

_NO = frozenset({"", "0", "false", "no", "off", "f", "n"})


def _find(main: str, library: Library) -> Found:
    try:
        text = library.read(main)
    except UnreadableError as error:
        return Found((), (Unread(main, 0, f"it cannot be read: {error}"),))
    return Found(tuple(dict.fromkeys(_traps(main, text))))


def _traps(main: str, text: str) -> Iterator[Trap]:
    environment = variables(text, "GRANIAN_SSL_")
    authority = environment.get("GRANIAN_SSL_CA", ("", 0))[0]
    revoked = environment.get("GRANIAN_SSL_CRL", ("", 0))[0]
    verify, at = environment.get("GRANIAN_SSL_CLIENT_VERIFY", ("", 0))
    asked = [(at, authority, revoked)] if verify.lower() not in _NO else []
    for call in calls(text, "granian"):
        wanted = call.value("--ssl-client-verify") is not None
        if wanted or (asked and call.value("--no-ssl-client-verify") is None):
            line = call.line if wanted else at
            asked.append(
                (line, authority or call.value("--ssl-ca") or "", revoked or call.value("--ssl-crl") or "")
            )
    if len(asked) > 1 and asked[0][0] == at:
        asked = asked[1:]  # the calls say the rest of what the environment begins
    for line, has_authority, has_list in asked:
        if not has_authority:
            yield NO_CA.at(main, line)
        elif not has_list:
            yield NO_CRL.at(main, line)


def _suits(name: str, text: str) -> bool:
    if name.endswith((".py", ".json")):
        return False
    return bool(variables(text, "GRANIAN_")) or next(calls(text, "granian"), None) is not None


TRAPS = Server(
    id="granian",
    title="Granian",
    reads="a unit, script, environment file or container file that starts granian",
    known=(NO_CA, NO_CRL),
    find=_find,
    suits=_suits,
)
