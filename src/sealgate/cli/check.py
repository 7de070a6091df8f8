"""``sealgate check``: is the policy sound, who enforces what, and what deserves a second look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import console, print_error, print_json, safe
from sealgate.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.table import Table

    from sealgate.cli._findings import Findings
    from sealgate.engines.contract import Capability

__all__ = ["command"]

_COLOURS = {"engine": "cyan", "guard": "magenta", "keeper": "blue", "os": "yellow"}
_TITLES = {
    "": "Always",
    "site": "Site",
    "listen": "Listeners",
    "certificate": "Certificate",
    "tls": "TLS",
    "http": "Plain HTTP",
    "clients": "Clients",
    "limits": "Limits",
    "timeouts": "Timeouts",
    "version": "Always",
}
# From this many columns on there is room to say how.
_WIDE = 140
_WHO = (
    ("engine", "the server in front"),
    ("guard", "Sealgate inside the app's process"),
    ("keeper", "the one process that holds keys"),
    ("os", "the kernel"),
)


@click.command()
@common_options
def command(config: Path | None, state: Path | None, as_json: bool) -> int:  # noqa: FBT001 - click's way
    """Is the policy sound; who enforces what; what to look at twice.

    Exit status 0: sound. 2: the policy, or a file that it names, is wrong.
    """
    from sealgate._system.clock import system_clock
    from sealgate.cli._findings import examine

    context = load_context(config, state, as_json)
    findings = examine(context.loaded, context.state_path, clock=system_clock)
    if as_json:
        print_json(findings.as_json())
    else:
        show(findings, console())
    for error in findings.broken:
        print_error(error)
    return Exit.WRONG if findings.broken else Exit.DONE


def show(findings: Findings, out: Console) -> None:
    """Print findings for people."""
    _headline(findings, out)
    out.print(_table(findings, wide=out.is_terminal and out.width >= _WIDE))
    if out.is_terminal:
        for who, what in _WHO:
            out.print(f"  [{_COLOURS[who]}]{who:<6}[/] [dim]{what}[/]")
    upstream = findings.loaded.policy.site.upstream
    if not findings.not_separated:
        apart = "the engine reads no key but its own" if upstream else "the app can read no private key"
        out.print(f"\n  [green]Separated:[/] {apart}.")
    _list(out, "Not separated", "red", findings.not_separated)
    _list(out, "Worth a second look", "yellow", _advice(findings))
    out.print()


def _headline(findings: Findings, out: Console) -> None:
    policy, path = findings.loaded.policy, findings.loaded.path
    name = safe(path.name if path else "the empty policy")
    verdict = "[bold red]is not sound[/]" if findings.broken else "[bold green]is sound[/]"
    served = safe(policy.site.app or policy.site.upstream or "nothing yet")
    out.print()
    where = f"[bold]{safe(policy.public_url)}[/] by {findings.engine.title}"
    out.print(f"  [bold]{name}[/] {verdict}: {served} at {where}")
    if findings.certificate:
        out.print(f"  Certificate: {safe(findings.certificate)}")
    out.print()


def _table(findings: Findings, *, wide: bool) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="dim")
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("what holds", overflow="fold")
    table.add_column("enforced by", no_wrap=True)
    if wide:
        table.add_column("how", style="dim", overflow="fold")
    table.add_column("set by", style="dim", overflow="fold")
    for title, rows in _sections(findings.capabilities):
        for number, row in enumerate(rows):
            by = row.enforcer.value
            how = (safe(row.how),) if wide else ()
            who = f"[{_COLOURS[by]}]{by}[/]" if findings.holds(row) else f"[bold red]{by}: not here[/]"
            cells = (safe(row.promise), who, *how, _set_by(findings, row))
            table.add_row("" if number else title, *cells)
        table.add_row()
    return table


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


def _advice(findings: Findings) -> Iterator[str]:
    for advice in findings.advice:
        yield f"{advice.key}: {advice.fact} → {advice.remedy}"


def _list(out: Console, title: str, colour: str, sentences: Iterable[str]) -> None:
    from rich.table import Table

    lines = list(sentences)
    if not lines:
        return
    out.print(f"\n  [bold {colour}]{title}[/]")
    # A grid, so that the second line of a sentence stands under its first.
    grid = Table.grid(padding=(0, 1, 0, 1))
    for line in lines:
        grid.add_row(" ", f"[{colour}]•[/]", safe(line))
    out.print(grid)
