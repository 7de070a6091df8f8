"""``sealgate check --explain GET /path``: which rule of ``[access]`` decides, and why."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sealgate.cli._output import console, print_json, safe
from sealgate.errors import Exit, UsageError
from sealgate.guard.access import DEFAULT, Access, Judgement, Rule, access_of, judge
from sealgate.guard.certificate import Certificate
from sealgate.guard.client import Client, Token
from sealgate.guard.path import NotCanonical, judge_target
from sealgate.policy.quoting import printable
from sealgate.policy.routes import ANY, Pattern, readings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealgate.policy.load import Loaded

__all__ = ["Asked", "explain"]

_MOST_SHOWN = 20
_WHY = {
    "denied": "the rule lets in nobody",
    "address": "the address is in none of its networks",
    "anonymous": "who calls is not known: neither a client certificate nor a token",
    "certificate": "no client certificate was shown",
    "token": "no token was shown",
    "scope": "the token has not all of its scopes",
    "more": "the certificate is of none of its authorities or groups",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that nobody has made.

    Attributes:
        explain: method and target, as typed.
        groups, authority, scopes, token, address: of the caller.
    """

    explain: tuple[str, str]
    groups: tuple[str, ...] = ()
    authority: str | None = None
    scopes: tuple[str, ...] = ()
    token: bool = False
    address: str | None = None


def explain(loaded: Loaded, asked: Asked, *, as_json: bool) -> int:
    """Print the rule that decides, and why."""
    method, target = asked.explain
    client = _client(loaded, asked)
    said = judge_target(method, target)
    if isinstance(said, NotCanonical):
        raise UsageError(
            "usage-wrong",
            f"{printable(target)} is refused before any rule is asked: {said.reason}",
            "give a path as it is sent, beginning with a slash; a query may follow",
        )
    default, rules = access_of(loaded.policy)
    access = Access(rules, DEFAULT[default], "Bearer" if loaded.policy.tokens.asked else "")
    judged = [judge(rule, client) for rule in access.deciding(method, said.path)]
    decisive = next((one for one in judged if not one.allowed), judged[-1])
    problem = None if decisive.allowed else access.refusal(decisive).problem
    answer = {
        "method": method,
        "path": said.path,
        "allowed": decisive.allowed,
        "status": problem.status if problem else None,
        "problem": problem.slug if problem else None,
        "rule": decisive.rule.name,
        "source": _source(loaded, decisive.rule),
        "why": _why(decisive),
    }
    if as_json:
        print_json(answer)
    else:
        _show(answer, decisive, rules, client)
    return Exit.DONE if decisive.allowed else Exit.NO


def _client(loaded: Loaded, asked: Asked) -> Client:
    policy = loaded.policy
    certified = bool(asked.groups or asked.authority) or policy.clients.mode == "required"
    authority = asked.authority or policy.clients.authorities[0].name
    _known("--group", asked.groups, tuple(policy.clients.groups))
    _known("--authority", (authority,), tuple(one.name for one in policy.clients.authorities))
    token = Token("", "caller", frozenset(asked.scopes)) if asked.scopes or asked.token else None
    return Client(
        _address(asked.address or "192.0.2.1"),
        _certificate(authority) if certified else None,
        asked.groups,
        token,
    )


def _known(option: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            fact = f"{option} {printable(name)} is in no table of the policy"
            raise UsageError("usage-wrong", fact, f"one of: {', '.join(known) or 'none'}")


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(
            "usage-wrong", f"--address {printable(text)} is no IP address", "such as 192.0.2.7"
        ) from None


def _certificate(authority: str) -> Certificate:
    now = datetime.now(UTC)
    return Certificate("CN=caller", "caller", (), (), (), (), 1, "", "", now, now, authority)


def _source(loaded: Loaded, rule: Rule) -> str:
    sources = loaded.sources
    inside = (where for key, where in sources.items() if key.startswith(rule.name) and where != "default")
    return sources.get(rule.name) or next(inside, "default")


def _why(said: Judgement) -> str:
    if said.allowed:
        return "the caller is whom it wants" if said.rule.needs else "everybody may"
    return _WHY[said.answer]


def _wants(rule: Rule) -> str:
    if rule.deny:
        return "nobody"
    if not rule.needs:
        return "everybody"
    return " or ".join(_words(need) for need in rule.needs)


def _words(need: Any) -> str:  # noqa: ANN401 - a Need, by the names of its fields
    said = [
        f"{word} {' or '.join(values)}"
        for word, values in (
            ("group", need.groups),
            ("authority", need.authorities),
            ("address", need.networks),
        )
        if values
    ]
    said += [f"scope {' and '.join(need.scopes)}"] if need.scopes else ["a token"] if need.token else []
    return ", ".join(said) or "whoever is known"


def _show(answer: dict[str, Any], said: Judgement, rules: tuple[Rule, ...], client: Client) -> None:
    from rich.table import Table

    out = console()
    verdict = (
        "[bold green]allowed[/]" if said.allowed else f"[bold red]{answer['status']} {answer['problem']}[/]"
    )
    out.print(f"\n  [bold]{safe(answer['method'])} {safe(answer['path'])}[/]: {verdict}")
    out.print(f"  {safe(said.rule.name)} ({answer['source']}) decides: {answer['why']}")
    out.print(f"  The caller: {safe(_caller(client))}\n")
    table = Table(box=None, padding=(0, 2, 0, 1), header_style="dim")
    for title in ("rule", "path", "methods", "for", ""):
        table.add_column(title)
    shown = list(_table(rules, said.rule, answer["method"], answer["path"]))
    for rule, fits in shown[:_MOST_SHOWN]:
        style = "bold" if rule == said.rule else "dim"
        path, methods = rule.path or "every other", " ".join(rule.methods).replace(ANY, "all")
        cells = (rule.name.removeprefix("access."), path, methods, _wants(rule), fits)
        table.add_row(*map(safe, cells), style=style)
    out.print(table)
    if len(shown) > _MOST_SHOWN:
        out.print(f"  [dim]and {len(shown) - _MOST_SHOWN} more before the one that decides[/]")
    if answer["method"] == "OPTIONS" and not said.allowed:
        out.print(
            "\n  A CORS preflight carries no credentials. To let it pass, put before that rule:\n"
            '  [bold]{ path = "/**", methods = ["OPTIONS"], require = "none" }[/]'
        )
    out.print()


def _table(rules: tuple[Rule, ...], decisive: Rule, method: str, path: str) -> Iterator[tuple[Rule, str]]:
    """Rules up to the one that decides, and why each of them does not."""
    for rule in rules:
        if rule == decisive:
            yield rule, "decides"
            return
        fits = any(Pattern.of(rule.path).fits(reading) for reading in readings(path))
        yield rule, f"not for {method}" if fits else "another path"
    yield decisive, "decides: no rule fits"


def _caller(client: Client) -> str:
    said = [f"from {client.address}"]
    if client.certificate:
        said.append(f"with a client certificate by {client.certificate.authority}")
    said += [f"in {', '.join(client.groups)}"] if client.groups else []
    if client.token:
        scopes = " ".join(sorted(client.token.scopes))
        said.append("with a token" + (f" for {scopes}" if scopes else ""))
    return ", ".join(said) if len(said) > 1 else f"{said[0]}, unknown"
