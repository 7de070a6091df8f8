"""What ``[access]``, ``[tokens]`` and rates cannot mean: what never decides, and what nobody can meet."""

from __future__ import annotations

from collections.abc import Iterator

from sealgate.policy.access import Requirement
from sealgate.policy.access import Rule as AccessRule
from sealgate.policy.findings import Finding
from sealgate.policy.model import Policy
from sealgate.policy.positions import KeyPath
from sealgate.policy.quoting import shown
from sealgate.policy.routes import ANY
from sealgate.policy.tokens import is_https

__all__ = ["issuers", "rates", "requirements", "shadowed", "unauthenticated"]


def unauthenticated(policy: Policy) -> Iterator[Finding]:
    """Nobody could show who they are."""
    if policy.access.default == "authenticated" and not policy.authenticates:
        yield Finding(
            ("access", "default"),
            "callers cannot show who they are",
            'clients.mode "optional" or "required", or tokens',
            'say "none" if everybody may, "deny" if nobody may',
        )


def requirements(policy: Policy) -> Iterator[Finding]:
    """What a rule wants, and nobody can have."""
    for index, rule in enumerate(policy.access.rules):
        for number, one in enumerate(rule.require or ()):
            where: KeyPath = ("access", "rules", index, "require")
            yield from _requirement(policy, one, where if len(rule.require or ()) == 1 else (*where, number))


def _requirement(policy: Policy, one: Requirement, where: KeyPath) -> Iterator[Finding]:
    if not policy.authenticates and not one.address:
        yield Finding(
            where, "callers cannot show who they are", 'clients.mode "optional" or "required", or tokens'
        )
        return
    if one.certified and policy.clients.mode == "off":
        key = "group" if one.group else "authority"
        yield Finding(
            (*where, key), 'client certificates are asked for nowhere: clients.mode is "off"', "no such key"
        )
        return
    if one.tokened and not policy.tokens.asked:
        key = "scope" if one.scope else "token"
        yield Finding((*where, key), "nobody's tokens count: [tokens] names none", "no such key")
        return
    yield from _names(one.group, sorted(policy.clients.groups), (*where, "group"), "clients.groups")
    authorities = [each.name for each in policy.clients.authorities]
    yield from _names(one.authority, authorities, (*where, "authority"), "clients.authorities")


def _names(names: tuple[str, ...], known: list[str], where: KeyPath, table: str) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name not in known:
            expected = " or ".join(map(shown, known[:8])) or f"a name in {table}"
            yield Finding((*where, index), f"there is no {shown(name)} in {table}", expected)


def shadowed(policy: Policy) -> Iterator[Finding]:
    """A rule behind one that fits whatever it fits: whoever wrote it believes that it decides."""
    before: dict[str, list[int]] = {}
    rules = policy.access.rules
    for index, rule in enumerate(rules):
        wider = (*before.get(rule.path, ()), *before.get("/**", ()))
        covering = next((other for other in wider if _covers(rules[other], rule)), None)
        if covering is not None:
            yield Finding(
                ("access", "rules", index, "path"),
                f"never decides: access.rules[{covering}], before it, fits all that it fits",
                "rules in their order: the first that fits decides",
                "put it before that one, or take it out",
            )
        else:
            before.setdefault(rule.path, []).append(index)


def _covers(one: AccessRule, other: AccessRule) -> bool:
    return ANY in one.methods or set(one.methods) >= set(other.methods)


def issuers(policy: Policy) -> Iterator[Finding]:
    """Issuers that nobody can be told apart from, or whose tokens could never count."""
    seen: set[str] = set()
    if policy.tokens.api_key_header and not policy.tokens.api_keys:
        yield Finding(("tokens", "api_key_header"), "is set while tokens.api_keys is false", "no such key")
    for index, one in enumerate(policy.tokens.issuers):
        where: KeyPath = ("tokens", "issuers", index)
        if one.issuer in seen:
            yield Finding((*where, "issuer"), f"{shown(one.issuer)} a second time", "each issuer once")
        seen.add(one.issuer)
        if one.jwks_file and (one.jwks_uri or one.ca_file):
            key = "jwks_uri" if one.jwks_uri else "ca_file"
            yield Finding((*where, key), "is set beside jwks_file, which nobody fetches", "one of them")
        if one.fetched and not one.jwks_uri and (not is_https(one.issuer) or "?" in one.issuer):
            fact = f"{shown(one.issuer)} is no https address that says where its keys are"
            yield Finding((*where, "issuer"), fact, "jwks_uri or jwks_file beside it")
        if one.certificate_bound == "required" and policy.clients.mode == "off":
            fact = 'no client shows a certificate that a token could go with: clients.mode is "off"'
            yield Finding((*where, "certificate_bound"), fact, '"optional" or "off"')


def rates(policy: Policy) -> Iterator[Finding]:
    """Rates that count nobody, or the same twice; and a store of which nobody asks anything."""
    limits = policy.limits
    for key, said, needed in (
        ("rate_store", limits.rate_store != "memory" and not limits.rates, "limits.rates has none"),
        (
            "rate_store_password",
            bool(limits.rate_store_password) and limits.rate_store == "memory",
            "the store is memory",
        ),
    ):
        if said:
            yield Finding(("limits", key), f"is set, and {needed}", "no such key")
    for index, one in enumerate(policy.limits.rates):
        where: KeyPath = ("limits", "rates", index)
        if one in policy.limits.rates[:index]:
            yield Finding(where, "a second time", "each rate once")
        if one.by == "token" and not policy.tokens.asked:
            yield Finding((*where, "by"), "nobody's tokens count: [tokens] has no issuer", '"address"')
        if one.by == "client" and not policy.authenticates:
            yield Finding((*where, "by"), "callers cannot show who they are", '"address"')
