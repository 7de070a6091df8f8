"""Request fields that pretend to come from a proxy, kept from backends that no guard stands in front of.

nginx cannot take fields out by the beginning of their names, so all known ones are named. A field whose name
has an underscore, or any other character beside letters, digits and hyphens, is never passed on.
"""

from __future__ import annotations

from sealgate.policy import claims

__all__ = ["KNOWN"]

_SET = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"})

KNOWN: tuple[str, ...] = tuple(name for name in claims.KNOWN if name not in _SET)
"""Their names, sorted; what nginx sets itself is not among them, because setting it removes it too."""
