"""``sealgate status``: one screen of everything that has a date or a state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import console, print_json, safe
from sealgate.errors import ControlError, Exit
from sealgate.policy.quoting import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sealgate.cli._options import Context
    from sealgate.monitor.snapshot import Snapshot
    from sealgate.monitor.words import Section, View
    from sealgate.pki.state import State

__all__ = ["command", "show"]

_COLOURS = {"good": "green", "soon": "yellow", "bad": "bold red", "plain": "dim"}
_SIGNS = {"good": "✓", "soon": "!", "bad": "✗", "plain": "·"}


_DATES = frozenset({"next by", "since", "until"})  # columns whose cells mean nothing without their name
_WORD = 24  # columns of a state
_DOT = " · "


@click.command("status", short_help="What is there, what expires, what drifts.")
@common_options
def command(config: Path | None, state: Path | None, as_json: bool) -> int:  # noqa: FBT001 - click's way
    """Everything that has a date or a state: as observed by handshakes, not only as stored.

    Asks the running keeper; where none runs, reads the state directory and shakes hands with whoever serves.
    Exit status 1: something is wrong, has ended or is not served.
    """
    from sealgate._system.clock import system_clock
    from sealgate.monitor.judge import Severity, judge
    from sealgate.monitor.snapshot import to_json
    from sealgate.monitor.words import view

    context = load_context(config, state, as_json, missing_ok=True)
    snapshot = _snapshot(context)
    now = system_clock()
    alerts = judge(snapshot, now)
    if as_json:
        found = [
            {
                "code": one.code,
                "key": one.key,
                "severity": one.severity.name.lower(),
                "sentence": one.sentence,
            }
            for one in alerts
        ]
        print_json({"alerts": found, "snapshot": to_json(snapshot)})
    else:
        show(view(snapshot, alerts, now), console())
    return Exit.NO if any(one.severity >= Severity.ERROR for one in alerts) else Exit.DONE


def _snapshot(context: Context) -> Snapshot:
    """The keeper's, or what can be known without one.

    Raises:
        ControlError: a keeper runs and answers with something else than a snapshot.
        StateError: ``state-missing``.
    """
    from sealgate._system.clock import system_clock
    from sealgate.monitor.alone import alone
    from sealgate.monitor.snapshot import Snapshot, from_json
    from sealgate.pki.state import State
    from sealgate.runtime.control import ask

    state = State.open(context.state_path, create=False)
    try:
        answer = ask(state.path, {"order": "status"})
    except ControlError as error:
        if error.code != "keeper-not-running":
            raise
        return alone(state, context.policy, system_clock(), watcher=_watched(state))
    try:
        return from_json(Snapshot, answer.get("snapshot"))
    except ValueError as error:
        raise ControlError(
            "order-unknown", f"the keeper's snapshot cannot be read ({error})", "use the same version"
        ) from None


def _watched(state: State) -> bool:
    """Does `sealgate watch` hold its lock? Where none ever did, nothing is made."""
    from sealgate._system.files import FileLock
    from sealgate.errors import StateError

    path = state.path / "monitor" / "lock"
    if not path.is_file():
        return False
    try:
        with FileLock(path):
            return False
    except StateError as error:
        return error.code == "state-busy"


def show(shown: View, out: Console) -> None:
    """Print it for people."""
    colour = _COLOURS[shown.state]
    out.print(f"  [{colour}]{_SIGNS[shown.state]} {safe(shown.verdict)}[/]: [bold]{safe(shown.url)}[/]")
    out.print(f"  [dim]{safe(shown.detail)}[/]")
    for section in shown.sections:
        _section(section, out)


def _section(section: Section, out: Console) -> None:
    out.print(f"\n  [bold]{safe(section.title)}[/]")
    if section.rows:
        out.print(_flowing(section, out.width))
    else:
        out.print(f"  {safe(section.empty)}")


def _flowing(section: Section, width: int) -> Table:
    """State beside facts; facts flow, and one that fits on a line is not broken."""
    from rich.table import Table

    words = [f"{_SIGNS[row.state]} {printable(row.word)}" for row in section.rows]
    room = width - min(max(map(len, words)), _WORD) - 6  # two before, between and behind
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=0)
    grid.add_column(max_width=_WORD)
    grid.add_column(overflow="fold")
    for row, word in zip(section.rows, words, strict=True):
        grid.add_row("", f"[{_COLOURS[row.state]}]{safe(word)}[/]", _facts(section.columns, row.cells, room))
    return grid


def _facts(columns: tuple[str, ...], cells: tuple[str, ...], room: int) -> Text:
    """Facts one after the other, on a new line where the next one does not fit any more."""
    from rich.cells import cell_len
    from rich.text import Text

    named = (
        f"{name} {cell}" if name in _DATES and cell else cell
        for name, cell in zip(columns, cells, strict=True)
    )
    first, *others = map(printable, named)
    shown, used = Text(first), cell_len(first)
    for other in filter(None, others):
        fits = used + len(_DOT) + cell_len(other) <= room
        shown.append(_DOT if fits else "\n", style="dim")
        shown.append(other, style="dim")
        used = cell_len(other) + (used + len(_DOT) if fits else 0)
    return shown
