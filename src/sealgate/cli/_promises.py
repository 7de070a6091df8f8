"""The promises of a policy and who keeps them, for people: on one screen, or each on a line of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealgate.cli._output import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.table import Table

    from sealgate.cli._findings import Findings
    from sealgate.engines.contract import Capability

__all__ = ["legend", "overview", "table"]

_COLOURS = {"engine": "cyan", "guard": "magenta", "keeper": "blue", "os": "yellow"}
_TITLES = {
    "": "Always",
    "site": "Site",
    "listen": "Listeners",
    "certificate": "Certificate",
    "tls": "TLS",
    "http": "Plain HTTP",
    "clients": "Clients",
    "network": "Addresses",
    "limits": "Limits",
    "timeouts": "Timeouts",
    "tokens": "Tokens",
    "access": "Access",
    "validation": "Validation",
    "monitor": "Watching",
    "version": "Always",
}
_WHO = (
    ("engine", "the server in front"),
    ("guard", "Sealgate inside the app's process"),
    ("keeper", "the one process that holds keys"),
    ("os", "the kernel"),
)
# What the policy does not speak of is not asked for; who reads one screen need not be told so.
_QUIET = frozenset(
    {
        *("version", "site.url", "listen.proxy_protocol", "listen.http3"),
        *("certificate.acme", "certificate.files", "certificate.second_key_type"),
        *("clients.authorities", "clients.groups", "network.allow", "network.deny", "monitor.probes"),
        *("access.default", "access.rules", "limits.rates", "network.trusted_proxies"),
        *("validation.openapi", "validation.mode", "validation.unknown"),
        *("limits.rate_store", "limits.rate_store_failure", "limits.rate_store_password"),
        *("tokens.issuers", "tokens.api_keys", "tokens.api_key_header"),
    }
)
# From this many columns on there is room to say how.
_WIDE = 140
_BETWEEN = " [dim]·[/] "


def overview(findings: Findings) -> Table:
    """One line, or a few, for each part of the policy and each of those who keep it."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for title, rows in _sections(row for row in findings.capabilities if _worth(findings, row)):
        for number, who in enumerate(dict.fromkeys(row.enforcer.value for row in rows)):
            promises = dict.fromkeys(safe(row.promise) for row in rows if row.enforcer.value == who)
            cells = (f"[{_COLOURS[who]}]{who}[/]", _BETWEEN.join(promises))
            grid.add_row("" if number else f"  {title}", *cells)
    return grid


def _worth(findings: Findings, row: Capability) -> bool:
    """Does it stand on the one screen? What this machine does not keep stands below, by itself."""
    quiet = row.key in _QUIET and findings.source(row.key) == "default"
    return findings.holds(row) and row.key != "version" and not quiet


def legend(findings: Findings) -> str:
    """Who is who, of those who keep something."""
    there = {row.enforcer.value for row in findings.capabilities}
    named = [f"[{_COLOURS[who]}]{who}[/][dim]: {what}[/]" for who, what in _WHO if who in there]
    return "\n".join(f"  {line}" for line in (_BETWEEN.join(named[:2]), _BETWEEN.join(named[2:])) if line)


def table(findings: Findings, out: Console) -> Table:
    """Every promise."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    wide = out.is_terminal and out.width >= _WIDE
    grid = Table(box=SIMPLE_HEAD, header_style="dim")
    grid.add_column("", style="bold", no_wrap=True)
    grid.add_column("what holds", overflow="fold")
    grid.add_column("enforced by", no_wrap=True)
    if wide:
        grid.add_column("how", style="dim", overflow="fold")
    grid.add_column("set by", style="dim", overflow="fold")
    for title, rows in _sections(findings.capabilities):
        for number, row in enumerate(rows):
            by = row.enforcer.value
            how = (safe(row.how),) if wide else ()
            who = f"[{_COLOURS[by]}]{by}[/]" if findings.holds(row) else f"[bold red]{by}: not here[/]"
            cells = (safe(row.promise), who, *how, _set_by(findings, row))
            grid.add_row("" if number else title, *cells)
        grid.add_row()
    return grid


def _set_by(findings: Findings, row: Capability) -> str:
    if not row.key:
        return "always"
    source = findings.source(row.key)
    return safe(row.key if source == "default" else f"{row.key} ({source})")


def _sections(rows: Iterable[Capability]) -> Iterator[tuple[str, list[Capability]]]:
    """Rows by the table of the policy they are about, in the order of the titles."""
    grouped: dict[str, list[Capability]] = {title: [] for title in dict.fromkeys(_TITLES.values())}
    for row in rows:
        grouped[_TITLES.get(row.key.partition(".")[0], "Site")].append(row)
    yield from ((title, found) for title, found in grouped.items() if found)
