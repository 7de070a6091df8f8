"""Request fields that pretend to come from a proxy: removed before anything reads them.

Field names with underscores never get here: such requests are refused.
"""

from __future__ import annotations

from sealgate.engines.servers.envoy.facts import Json
from sealgate.policy.claims import FAMILIES, NAMES, OWN

__all__ = ["removals"]


def removals(*, guarded: bool) -> list[Json]:
    """Mutations that remove them; with a guard behind, only the engine's own names, the rest is its."""
    prefixes = OWN if guarded else OWN + FAMILIES
    names = () if guarded else NAMES
    matches = ({"key_matcher": {"prefix": prefix, "ignore_case": True}} for prefix in prefixes)
    return [*({"remove_on_match": match} for match in matches), *({"remove": name} for name in names)]
