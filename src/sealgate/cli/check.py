"""``sealgate check``: is the policy sound, who enforces what, and what deserves a second look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli._explaining import options as explaining
from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import console, print_error, print_json, safe
from sealgate.cli._servers import TRAPPED
from sealgate.errors import Exit, PolicyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from sealgate.cli._findings import Findings
    from sealgate.cli._options import Context
    from sealgate.engines.traps.trap import Found

__all__ = ["command"]

_OWN_COMMAND_LINE = (
    "nobody looks from outside, renews, confines the app or writes the access log: `sealgate serve` does",
    "`sealgate plan --engine gunicorn` says what no look from outside tells of a running one",
)
_OWN_LIST = (
    "it refuses this policy: only `sealgate serve` makes the private authority's list of the revoked anew"
)
_INSTALLED = "Behind your own {}: whom it runs as, and what it can read, is yours."


@click.command()
@common_options
@click.option(
    "--server-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also look for traps in a server's own configuration; what it includes is read as well.",
)
@click.option(
    "--engine", type=click.Choice(TRAPPED), metavar="SERVER",
    help=f"The server that FILE belongs to: {', '.join(TRAPPED)}.  [default: what it looks like]",
)  # fmt: skip
@click.option("--all", "whole", is_flag=True, help="Every promise by itself, and where it is set.")
@explaining
def command(
    config: Path | None,
    state: Path | None,
    as_json: bool,  # noqa: FBT001 - click's way
    server_config: Path | None,
    engine: str | None,
    whole: bool,  # noqa: FBT001 - click's way
    explain: tuple[str, str] | None,
    **caller: Any,  # noqa: ANN401 - of `_explain.Asked`
) -> int:
    """Is the policy sound; who enforces what; what to look at twice.

    Exit status 0: sound. 1: traps were found in --server-config. 2: the policy, or a file that it names,
    is wrong. With --server-config and no policy anywhere, only the traps are looked for.
    """
    from sealgate._system.clock import system_clock
    from sealgate.cli import _traps
    from sealgate.cli._findings import examine
    from sealgate.policy.load import DEFAULT_NAME

    context = load_context(config, state, as_json)
    alone = config is None and not (context.base / DEFAULT_NAME).exists()
    if not alone:
        _read(context, config or Path(DEFAULT_NAME))
    if explain:
        from sealgate.cli._explain import Asked
        from sealgate.cli._explain import explain as show_rule

        return show_rule(context.loaded, Asked(explain, **caller), as_json=as_json)
    if any(caller.values()):
        raise UsageError("usage-wrong", "a caller is described, and no request", "add --explain METHOD PATH")
    likely = context.policy.site.engine if server_config is not None and not alone else ""
    seen = _traps.look(server_config, engine, likely)
    if seen is not None and alone:
        return _only_traps(seen, as_json=as_json)
    named = seen is not None and engine in {None, likely}
    findings = examine(context.loaded, context.state_path, clock=system_clock, named=named)
    if as_json:
        print_json(findings.as_json() | (_traps.as_json(seen) if seen else {}))
    else:
        show(findings, console(), whole=whole)
        _traps.show(seen, console())
    for error in findings.broken:
        print_error(error)
    if findings.broken:
        return Exit.WRONG
    return Exit.NO if seen and seen.traps else Exit.DONE


def _read(context: Context, path: Path) -> None:
    """The policy, or all of its mistakes.

    Raises:
        PolicyError: see ``sealgate.policy.load.load``.
    """
    from sealgate.cli._absent import with_absent_files

    try:
        _ = context.loaded
    except PolicyError as error:
        raise with_absent_files(error, path.absolute()) from None


def _only_traps(seen: Found, *, as_json: bool) -> int:
    """For those who have a server and no policy yet."""
    from sealgate.cli import _traps

    if as_json:
        print_json(_traps.as_json(seen))
    else:
        _traps.show(seen, console())
    return Exit.NO if seen.traps else Exit.DONE


def show(findings: Findings, out: Console, *, whole: bool = False) -> None:
    """Print findings for people: on one screen, or with every promise by itself."""
    from sealgate.cli._promises import legend, overview, table

    _headline(findings, out)
    out.print(table(findings, out) if whole else overview(findings))
    out.print("" if whole else "\n", legend(findings), sep="")
    if not whole:
        out.print("\n  [dim]every promise by itself, and where it is set: sealgate check --all[/]")
        _list(out, "Not kept on this machine", "red", _not_here(findings))
    upstream = findings.loaded.policy.site.upstream
    if findings.installed:
        out.print(f"\n  {_INSTALLED.format(safe(findings.engine.title))}")
    elif not findings.not_separated:
        apart = "the engine reads no key but its own" if upstream else "the app can read no private key"
        out.print(f"\n  [green]Separated:[/] {apart}.")
    _list(out, "Not separated", "red", findings.not_separated)
    if findings.engine.id == "gunicorn":
        own_list = (_OWN_LIST,) if findings.loaded.policy.own_list else ()
        _list(out, "With a Gunicorn command line of your own", "yellow", (*own_list, *_OWN_COMMAND_LINE))
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
    below = len(findings.not_separated) + len(findings.advice) + len(list(_not_here(findings)))
    if below:
        out.print(f"  [yellow]{below} {'thing needs' if below == 1 else 'things need'} a look: see below[/]")
    out.print()


def _not_here(findings: Findings) -> Iterator[str]:
    """What the table marks where it is shown."""
    for row in findings.capabilities:
        if not findings.holds(row):
            yield f"{row.enforcer.value}: not here: {row.promise}"


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
