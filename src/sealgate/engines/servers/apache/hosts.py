"""Which Host values are the site's, as anchored regular expressions (PCRE)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sealgate.policy.model import Policy
from sealgate.policy.values import LOOPBACK_HOST

__all__ = ["LOOPBACK", "site_hosts"]

LOOPBACK = rf"(?i)\A{LOOPBACK_HOST}\z"
"""Host values that lead to the machine itself, with any port."""


def _name(name: str) -> str:
    if name.startswith("*."):
        return r"[a-z0-9_-]{1,63}\." + re.escape(name[2:])
    return re.escape(f"[{name}]" if ":" in name else name)


def _pattern(names: Iterable[str], port: str) -> str:
    alternatives = "|".join(_name(name) for name in names)
    return rf"(?i)\A(?:{alternatives}){port}\z"


def site_hosts(policy: Policy, *, plain: bool, ports: bool = True) -> str:
    """Host values accepted on the HTTPS listeners, or on the plain ones.

    The port may be left out; one that is given must be one of the listeners' or the public one.
    """
    listeners = policy.listen.http if plain else policy.listen.https
    numbers = {endpoint.port for endpoint in listeners} | ({80} if plain else {policy.public_port})
    allowed = "|".join(str(number) for number in sorted(numbers))
    return _pattern(policy.site.names, f"(?::(?:{allowed}))?" if ports else "")
