"""``allow`` and ``deny`` of the whole site as ``network.allow`` and ``network.deny``, where that is exact.

In nginx the first rule that fits counts, in a policy ``deny`` wins and an empty ``allow`` is everyone. Two
forms mean the same in both: ``allow …; deny all;`` and ``deny …;`` with or without ``allow all;``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import TypeAdapter, ValidationError

from sealgate.engines.configurations.directive import Directive
from sealgate.engines.proposals._nginx_site import Site
from sealgate.engines.proposals.proposal import Carried, Changed, Finding
from sealgate.policy.values import Network

__all__ = ["addresses"]

_NETWORK: TypeAdapter[str] = TypeAdapter(Network)
_RULES = frozenset({"allow", "deny"})
# Whose address counts, or whether it is asked for at all: with these a rule means something else.
_OTHERWISE = frozenset({"satisfy", "set_real_ip_from"})


def addresses(site: Site) -> Iterator[Finding]:
    """The two lists, from each of their directives; nothing where a policy would mean something else."""
    rules = _rules(site.server) or _rules(site.http)
    found = _exact(rules)
    if found is None or not _plainly(site, rules):
        return
    key, networks = found
    for one in reversed(rules):  # the last said is where the file says it is from: the first of them
        yield Carried(("network", key), networks, one)
    if site.plain:
        yield Changed(rules[0], "address rules hold for plain HTTP as well, redirects among it")


def _rules(block: Directive) -> tuple[Directive, ...]:
    return tuple(one for one in block.inside if one.name in _RULES)


def _plainly(site: Site, rules: Sequence[Directive]) -> bool:
    """Do these rules, and no others, judge the connection's own address on every path?"""
    inside = [one for one in site.server.walk() if one.name in _RULES | _OTHERWISE]
    others = [one for one in inside if not any(one is rule for rule in rules)]
    inherited = [one for one in site.http.inside if one.name in _OTHERWISE]
    proxied = any("proxy_protocol" in listen.args for listen in site.server.own("listen"))
    return not (others or inherited or proxied)


def _exact(rules: Sequence[Directive]) -> tuple[str, tuple[str, ...]] | None:
    if not rules or any(len(one.args) != 1 for one in rules):
        return None
    said = [(one.name, one.value) for one in rules]
    if said[-1] == ("deny", "all"):
        kind, said = "allow", said[:-1]
    else:
        kind, said = "deny", said[:-1] if said[-1] == ("allow", "all") else said
    if not said or any(name != kind for name, _ in said):
        return None  # an empty list of those who may would be everyone
    try:
        return kind, tuple(dict.fromkeys(_NETWORK.validate_python(value) for _, value in said))
    except ValidationError:
        return None  # "unix:", bits after the prefix, a name
