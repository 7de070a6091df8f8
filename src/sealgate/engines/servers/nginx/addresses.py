"""Who may come in, by address: nginx's ``geo``, a trie, where its ``allow`` and ``deny`` are read one by one.

It goes by the longest prefix that fits, and takes mapped addresses for IPv4 by itself. What it says is looked
at in each location that a request from outside can come to; the answers for an ACME authority are in none
of them, because nobody knows from where one asks.
"""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.replies import STRANGE
from sealgate.engines.servers.nginx.words import block

__all__ = ["address_checks", "address_map"]

_STRANGER = "$sealgate_stranger"


def address_map(facts: RenderFacts) -> list[str]:
    """1 for addresses that may not come in; after the maps that say whose word about them counts."""
    if not facts.policy.network.ruled_by_peer:
        return []
    decided = facts.policy.network.decided()
    # No `default`: it stands for these two, and whoever names one of them would be warned.
    cases = dict.fromkeys(("0.0.0.0/0", "::/0"), int(not decided.default))
    cases |= dict.fromkeys(decided.allow, 0) | dict.fromkeys(decided.deny, 1)
    source = "$sealgate_peer" if facts.policy.listen.proxy_protocol else "$remote_addr"
    return block(f"geo {source} {_STRANGER}", [f"{network} {value};" for network, value in cases.items()])


def address_checks(facts: RenderFacts) -> list[str]:
    """The first thing that is looked at in a location."""
    return [f"if ({_STRANGER}) {{ return {STRANGE}; }}"] if facts.policy.network.ruled_by_peer else []
