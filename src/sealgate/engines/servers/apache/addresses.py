"""Who may come in, by address: one expression, asked when a request has been read, before all rules.

``Require ip`` compares one network after the other, and answers only after the rules that redirect. So the
networks stand in an expression, under their first bits: what does not begin like them is left out at once. A
hundred thousand take a tenth of a second to load, and nothing that could be measured to ask. What an address
is comes from mod_remoteip where the PROXY protocol is spoken; mapped ones are IPv4 to APR.

Apache evaluates what is nested twenty deep at most, and lists of any length: so there are few levels. What it
cannot evaluate sets no variable, and who has none may not come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.apache.facts import quoted, refuse, unless
from sealgate.policy.network import FAMILIES, span

__all__ = ["STRANGE", "address_rules", "among"]

STRANGE = 451
"""A status that nobody uses, for an address that may not come in."""

_ADMITTED = "SEALGATE_ADMITTED"
_FEW = 16
_LEVELS = {4: (8, 16, 24), 6: (16, 24, 32, 40, 48, 64)}
Places = Sequence[tuple[int, int, str]]


def address_rules(facts: RenderFacts, *, tls: bool, status: int) -> list[str]:
    """Directives of a virtual host: the first rule for requests from outside.

    Args:
        facts: the site.
        tls: of the HTTPS host.
        status: whose ErrorDocument answers.
    """
    if not facts.policy.judges_addresses(tls=tls):
        return []
    decided = facts.policy.network.decided()
    words = [] if decided.default else [f"({among(decided.allow)})"]
    words += [f"!({among(decided.deny)})"] if decided.deny else []
    return [
        f"SetEnvIfExpr {quoted(' && '.join(words))} {_ADMITTED}=1",
        unless(f"%{{ENV:{_ADMITTED}}}", "."),
        refuse(status),
    ]


def among(networks: Sequence[str]) -> str:
    """An expression: is the address in one of these?"""
    found = [
        _listed(_outermost(networks, version), version, _LEVELS[version])
        for version in FAMILIES
        if any((":" in network) == (version == 6) for network in networks)
    ]
    return " || ".join(found) or "false"


def _outermost(networks: Sequence[str], version: int) -> Places:
    """Sorted, without what lies in another; all as whole halves of the family where they name all of it."""
    spans = sorted(
        (first, -after, text) for text in networks for v, first, after in (span(text),) if v == version
    )
    found: list[tuple[int, int, str]] = []
    for first, negative, text in spans:
        if not found or -negative > found[-1][1]:
            found.append((first, -negative, text))
    if found and found[0][1] - found[0][0] == 1 << FAMILIES[version]:
        half = 1 << (FAMILIES[version] - 1)  # APR knows no mask without a bit
        low, high = ("0.0.0.0/1", "128.0.0.0/1") if version == 4 else ("::/1", "8000::/1")
        return [(0, half, low), (half, 2 * half, high)]
    return found


def _listed(places: Places, version: int, levels: Sequence[int]) -> str:
    if len(places) <= _FEW or not levels:
        return " || ".join(f"-R '{text}'" for _, _, text in places)
    shift = FAMILIES[version] - levels[0]
    words = []
    for begins, group in groupby(places, key=lambda place: place[0] >> shift):
        below = list(group)
        text = _listed(below, version, levels[1:])
        wide = len(below) == 1 or any(after - first > 1 << shift for first, after, _ in below)
        words.append(text if wide else f"(-R '{_network(begins << shift, levels[0], version)}' && ({text}))")
    return " || ".join(words)


def _network(first: int, length: int, version: int) -> str:
    if version == 4:
        return f"{first >> 24}.{first >> 16 & 255}.{first >> 8 & 255}.{first & 255}/{length}"
    return f"{':'.join(f'{first >> shift & 0xFFFF:x}' for shift in range(112, -1, -16))}/{length}"
