"""Is this Host one of the site's?"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealgate.guard.compiled import Compiled

__all__ = ["is_site_host"]

# RFC 9110 §7.2: uri-host [":" port]. Narrower than RFC 3986: no user, no escapes, no final dot, no zone.
_HOST = re.compile(r"(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*))(?::([0-9]{1,5}))?")
_LONGEST = 260


def is_site_host(compiled: Compiled, host: str) -> bool:
    """Does this Host field value name the site, on one of its ports?

    The port may be absent. A wildcard stands for exactly one label. Addresses are compared as addresses.
    """
    if host in compiled.usual_hosts:
        return True
    match = _HOST.fullmatch(host.lower()) if len(host) <= _LONGEST and host.isascii() else None
    if not match or (match[3] is not None and match[3] not in compiled.ports):
        return False
    name = _address(match[1]) if match[1] else match[2]
    return name in compiled.names or name.partition(".")[2] in compiled.wildcards


def _address(text: str) -> str:
    """The shortest form of an IPv6 address, or an empty text, which no site is called."""
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        return ""
