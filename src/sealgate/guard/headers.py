"""Which request header fields never reach an app: those that an app might take for a proxy's word.

Sealgate is the only proxy in front of the app and says what it has to say in ``REMOTE_ADDR``, ``client``,
``scheme`` and ``sealgate.client``. Any field below therefore comes from outside and is a claim at best.
WSGI servers turn ``-`` and ``_`` into the same name, so a name counts in every spelling.
``X-HTTP-Method-Override`` stays: it is the app's affair, not a claim about who calls. ``X-Request-Id`` stays:
the engine makes it.
"""

from __future__ import annotations

import re

from sealgate.policy.claims import FAMILIES, NAMES, OWN

__all__ = ["is_spoofable", "is_spoofable_variable"]

_SPOOFABLE = re.compile(
    "|".join(f"{re.escape(family)}.*" for family in (*OWN, *FAMILIES)) + "|" + "|".join(map(re.escape, NAMES))
)

# Variables that CGI servers set about the caller; a WSGI server that copies its environment may carry them.
_VARIABLES = frozenset({"REMOTE_USER", "REMOTE_HOST", "REMOTE_IDENT", "AUTH_TYPE"})


def is_spoofable(name: str) -> bool:
    """Must a header field of this name, in any spelling, be kept from the app?"""
    return _SPOOFABLE.fullmatch(name.lower().replace("_", "-")) is not None


def is_spoofable_variable(name: str) -> bool:
    """The same for a variable of a WSGI environ."""
    if name.startswith("HTTP_"):
        return is_spoofable(name[5:])
    return name in _VARIABLES or name.startswith("SSL_CLIENT_")
