"""Which Host values are the site's, as maps: names in a hash, so that a thousand cost what one does."""

from __future__ import annotations

from sealgate.engines.facts import RenderFacts
from sealgate.engines.servers.nginx.words import entries, pattern, quoted
from sealgate.policy.values import LOOPBACK_HOST

__all__ = ["HOST", "WELL_FORMED_HOST", "local_hsts", "maps"]

WELL_FORMED_HOST = r"(?:\[[0-9a-fA-F:.]{2,45}\]|[a-zA-Z0-9_-]+(?:\.[a-zA-Z0-9_-]+)*)(?::[0-9]{1,5})?"
"""Whatever the guard would look at."""

HOST = "$sealgate_authority"
"""The Host that counts: an absolute target's own (RFC 9112 §3.2.2), else the field's."""

_NAME = r"(?<{0}>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)"


def _literal(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def maps(facts: RenderFacts) -> list[str]:
    """The Host that counts; the name in it where it is the site's; the HSTS value."""
    absolute = {
        pattern(r"\S+ https?://(?<sealgate_absolute>[^/?#\s]*).*", operator="~*"): "$sealgate_absolute"
    }
    policy = facts.policy
    secure = {endpoint.port for endpoint in policy.listen.https} | {policy.public_port}
    plain = {endpoint.port for endpoint in policy.listen.http} | {80}
    lines = [
        "# The Host that counts: an absolute target's own (RFC 9112, 3.2.2), else the field's.",
        *entries("$request", HOST, absolute, "$http_host"),
        "",
        "# The name in it where the site has it, on one of the site's ports; else nothing.",
        *_ours(facts, "site", secure if not facts.guarded else set()),
        *_ours(facts, "plain", plain),
    ]
    return [*lines, "", *_hsts(facts)]


def _ours(facts: RenderFacts, what: str, ports: set[int]) -> list[str]:
    if not ports:
        return []
    which = "|".join(map(str, sorted(ports)))
    bare = f"$sealgate_{what}_bare"
    named = _NAME.format(f"sealgate_{what}_name")
    cut = {pattern(f"{named}(?::(?:{which}))?", operator="~*"): f"$sealgate_{what}_name"}
    names = facts.policy.site.names
    known = {quoted(_literal(name)): bare for name in names if not name.startswith("*.")}
    wild = {quoted(name[2:]): bare for name in names if name.startswith("*.")}
    lines = entries(HOST, bare, cut)
    if not wild:
        return [*lines, *entries(bare, f"$sealgate_{what}", known)]
    parent = f"$sealgate_{what}_parent"
    one = {
        pattern(rf"[a-z0-9_-]{{1,63}}\.(?<sealgate_{what}_rest>.+)", operator="~*"): f"$sealgate_{what}_rest"
    }
    return [
        *lines,
        "# A star stands for one label.",
        *entries(bare, parent, one),
        *entries(parent, f"$sealgate_{what}_wild", wild),
        *entries(bare, f"$sealgate_{what}", known, f"$sealgate_{what}_wild"),
    ]


def _hsts(facts: RenderFacts) -> list[str]:
    return entries(HOST, "$sealgate_hsts", local_hsts(facts), quoted(facts.hsts))


def local_hsts(facts: RenderFacts) -> dict[str, str]:
    """Hosts that lead to the machine itself have a value of their own."""
    return {pattern(LOOPBACK_HOST, operator="~*"): quoted(facts.hsts_local)} if facts.hsts_local else {}
