"""Which token a request carries (RFC 6750 §2.1): one, none, or a mistake. Pure.

Only the ``Authorization`` field is read. A token in the query stands in logs and in the history of browsers,
one in a form can come from another site (RFC 6750 §2.2, §2.3; RFC 9700 §4.3.2): neither is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["Mistaken", "bearer_of", "key_of"]

_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_SCHEME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?= |$)", re.ASCII)


class Mistaken(Exception):
    """It is not clear which; a stable word for the log."""


def bearer_of(values: Sequence[str]) -> str:
    """The token; empty: none was shown, or credentials of another scheme, which are the app's affair.

    Args:
        values: of all ``Authorization`` fields; where a server joins them, a comma in one.

    Raises:
        Mistaken: more than one field, or no token behind the scheme.
    """
    if not values:
        return ""
    if len(values) > 1:
        raise Mistaken("credentials-twice")
    value = values[0].strip(" \t")
    if found := _BEARER.fullmatch(value):
        return found[1]
    scheme = _SCHEME.match(value)
    # Two fields that a server has joined, one of them of another scheme: an app may take either.
    if scheme is None or scheme[0].lower() == "bearer" or re.search(r"(?i)\bbearer\b", value):
        raise Mistaken("credentials-malformed")
    return ""


def key_of(values: Sequence[str]) -> str:
    """The API key in a field of its own; empty: there is none.

    Args:
        values: of all fields of that name.

    Raises:
        Mistaken: more than one field, or no key in it.
    """
    if not values:
        return ""
    if len(values) > 1 or "," in values[0]:
        raise Mistaken("credentials-twice")
    value = values[0].strip(" \t")
    if not _TOKEN.fullmatch(value):
        raise Mistaken("credentials-malformed")
    return value
