"""The rows about who may do what, by what token, how often: the guard's, whatever stands in front. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sealgate.engines.contract import Capability, Enforcer, Refusal
from sealgate.engines.promises import few
from sealgate.policy.model import Policy

__all__ = ["access", "rates", "tokens", "validation"]

_ENGINE, _GUARD = Enforcer.ENGINE, Enforcer.GUARD


def _alone(policy: Policy, asked: bool) -> bool:  # noqa: FBT001 - of the callers' own
    """Is there another backend, and no guard that the server asks before it? ``asked``: it can."""
    return bool(policy.site.upstream) and not (asked and policy.asks_guard)


def access(policy: Policy, *, asked: bool = False) -> Iterator[Capability | Refusal]:
    """Who may do what."""
    rules, default = policy.access.rules, policy.access_default
    others = {
        "none": "everybody may do what no rule speaks of",
        "authenticated": "whoever is not known gets 403 where no rule speaks",
        "deny": "nobody may do what no rule speaks of: 403",
    }[default]
    by = _ENGINE if _alone(policy, asked) else _GUARD
    if policy.judges_access and _alone(policy, asked):
        key = "access.rules" if rules else "access.default"
        reason = "there is no guard before an upstream that could judge who may do what"
        way_out = 'site.app, clients.mode = "required", or access.default = "none" without rules'
        yield Refusal(key, reason, way_out)
        return
    if not policy.judges_access and default == "authenticated":
        yield Capability(
            "access.default", "nobody is unknown: each has a client certificate", _ENGINE, "clients.mode"
        )
    else:
        yield Capability("access.default", others, by, "each request")
    said = f"{len(rules)} rule{'s' if len(rules) > 1 else ''}, the first that fits decides"
    how = "`sealgate check --explain GET /path` says which" if rules else "no rule"
    yield Capability("access.rules", said if rules else "there is no rule", by, how)


def rates(policy: Policy, *, asked: bool = False) -> Iterator[Capability | Refusal]:
    """How often somebody may call."""
    found = policy.limits.rates
    if found and _alone(policy, asked):
        reason = "there is no guard before an upstream that could count requests"
        yield Refusal("limits.rates", reason, "site.app, or no rates")
        return
    by = _ENGINE if _alone(policy, asked) else _GUARD
    said = few(tuple(f"{one.rate} by {one.by}, {one.most} at once" for one in found))
    promise = f"at most {said}; more is 429" if found else "nobody counts how often somebody calls"
    yield Capability("limits.rates", promise, by, "one budget for all workers" if found else "no rate")
    store, failure = policy.limits.rate_store, policy.limits.rate_store_failure
    remote = store != "memory"
    said = f"all machines that ask {store} count together" if remote else "each machine counts for itself"
    yield Capability("limits.rate_store", said, by, "one round trip" if remote else "memory of all workers")
    alone = "each machine counts alone" if failure == "local" else "requests that are counted get 503"
    held = f"while it cannot be asked, {alone}" if remote else "there is no other machine to lose"
    yield Capability("limits.rate_store_failure", held, by, "said in the log" if remote else "memory")
    shown = (
        "its password is read from where the policy says"
        if policy.limits.rate_store_password
        else "no password"
    )
    yield Capability(
        "limits.rate_store_password", shown, Enforcer.KEEPER, "never in a file of ours, nor in the log"
    )


def tokens(policy: Policy, *, asked: bool = False) -> Iterator[Capability | Refusal]:
    """Whose tokens count."""
    issuers, by = policy.tokens.issuers, _ENGINE if _alone(policy, asked) else _GUARD
    if policy.tokens.api_keys and _alone(policy, asked):
        reason = "there is no guard before an upstream that could know API keys"
        yield Refusal("tokens.api_keys", reason, "site.app, or false")
    else:
        where = policy.tokens.api_key_header or "Authorization: Bearer"
        keys = f"keys of `sealgate token add` count, in {where}; revoked within a second"
        told = keys if policy.tokens.api_keys else "no API keys count"
        yield Capability("tokens.api_keys", told, by, "SHA-256 of each, compared in constant time")
        said = (
            f"API keys are read from {where} alone" if policy.tokens.api_keys else "no field is read for keys"
        )
        yield Capability("tokens.api_key_header", said, by, "one field, one key")
    if issuers and _alone(policy, asked):
        reason = "there is no guard before an upstream that could verify tokens"
        yield Refusal("tokens.issuers", reason, "site.app, or no issuers")
        return
    if not issuers:
        yield Capability("tokens.issuers", "nobody's tokens count", by, "no issuer")
        return
    promise = f"only tokens of {few(tuple(one.issuer for one in issuers))} count; any other is 401"
    yield Capability("tokens.issuers", promise, _GUARD, "RFC 8725; signature, audience, dates, binding")


def validation(policy: Policy) -> Iterator[Capability | Refusal]:
    """Are requests what the API's description says?"""
    found = policy.validation
    if found.openapi and policy.site.upstream:
        reason = "there is no guard before an upstream that could validate requests"
        yield Refusal("validation.openapi", reason, "site.app, or no document")
        return
    by = _ENGINE if policy.site.upstream else _GUARD
    if not found.openapi:
        yield Capability("validation.openapi", "no request is validated", by, "no document")
        yield Capability("validation.mode", "nothing is judged", by, "no document")
        yield Capability("validation.unknown", "everything is known", by, "no document")
        return
    promise = f"requests are what {found.openapi} says: parameters, bodies, content types"
    yield Capability("validation.openapi", promise, by, "one validator for each operation, made at start")
    said = "refused: 400, 415" if found.mode == "enforce" else "let through, and said in the log"
    yield Capability("validation.mode", f"what is not is {said}", by, "all mistakes of a request at once")
    rest = "404, or 405" if found.unknown == "refuse" else "let through, unjudged"
    yield Capability("validation.unknown", f"what it does not name is {rest}", by, "by path and method")
