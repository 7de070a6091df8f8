"""Which Host values are the site's, as regular expressions for RE2 (Envoy matches them whole)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sealgate.policy.model import Policy
from sealgate.policy.values import LOOPBACK_HOST

__all__ = ["LOOPBACK", "WELL_FORMED_HOST", "host_pattern", "site_hosts"]

WELL_FORMED_HOST = r"(?i)(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::[0-9]{1,5})?"
"""Whatever the guard would look at; the worker's HTTP/2 resets streams over some of the others."""

LOOPBACK = f"(?i){LOOPBACK_HOST}"
"""Host values that lead to the machine itself, with any port."""


def _name(name: str) -> str:
    if name.startswith("*."):
        return r"[a-z0-9_-]{1,63}\." + re.escape(name[2:])
    return re.escape(f"[{name}]" if ":" in name else name)


def host_pattern(names: Iterable[str], ports: Iterable[int], *, bare: bool) -> str:
    """Any of the names (a wildcard stands for one label), alone or with one of the ports."""
    alternatives = "|".join(_name(name) for name in names)
    with_port = "|".join(str(port) for port in sorted(set(ports)))
    suffix = f"(?::(?:{with_port}))" + ("?" if bare else "")
    return rf"(?i)(?:{alternatives}){suffix}" if with_port else rf"(?i)(?:{alternatives})"


def site_hosts(policy: Policy, *, plain: bool) -> str:
    """Host values accepted on the HTTPS listeners, or on the plain ones.

    The port may be left out (it is a part of what the client connected to, which a port forwarding changes);
    a port that is given must be one of the listeners' or the public one.
    """
    listeners = policy.listen.http if plain else policy.listen.https
    ports = {endpoint.port for endpoint in listeners} | ({80} if plain else {policy.public_port})
    return host_pattern(policy.site.names, ports, bare=True)
