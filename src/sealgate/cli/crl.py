"""``sealgate crl``: the lists of the revoked: show them, have them fetched now, catch up with a newer one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli._crl_restore import take_over
from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import console, note, print_json, safe
from sealgate.errors import Exit, StateError

if TYPE_CHECKING:
    from sealgate.pki.lists.shown import Shown

__all__ = ["command"]

_TIME = "%Y-%m-%d %H:%M"


@click.group(short_help="Lists of revoked clients: show, refresh, take over.")
def command() -> None:
    """The lists by which clients' certificates are judged: our own, and those of other authorities."""


command.add_command(take_over)


@command.command("show", short_help="Which lists are in force, and until when.")
@common_options
def show(*, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Each list: of which authority, where it is from, its number, who is on it, and when it ends."""
    from sealgate.pki.lists.shown import shown
    from sealgate.pki.state import State

    context = load_context(config, state, as_json, missing_ok=True)
    opened = State.open(context.state_path, create=False)
    try:
        rows = shown(opened, context.policy)
    except ValueError as error:
        raise StateError(
            "crl-unreadable",
            f"a list in {opened.live_clients} cannot be read: {error}",
            "reload: sealgate makes its own anew and takes over or fetches the others",
        ) from error
    if as_json:
        print_json([asdict(one) for one in rows])
        return
    if not rows:
        note("no list: clients.mode is off, no authority has one, or none was named by a client yet")
        return
    _print_rows(rows)


@command.command("refresh", short_help="Fetch the lists of other authorities now.")
@common_options
def refresh(*, config: Path | None, state: Path | None, as_json: bool) -> int:
    """Have the keeper ask for every list that it fetches, whether it is due or not.

    Exit status 1: not every list could be had; what was in force stays.
    """
    from sealgate.runtime.control import ask

    context = load_context(config, state, as_json, missing_ok=True)
    answer = ask(context.state_path, {"order": "lists-refresh"})
    if as_json:
        print_json(answer)
    elif not answer["lists"] and not answer["responders"]:
        note('nothing is fetched: no authority has crl = "auto" or an address, or no client named a list yet')
    else:
        for one in answer["lists"]:
            note(_line(one))
        for one in answer["responders"]:
            note(f"{one['authority']}: responders were asked about {one['known']} certificates (OCSP)")
    return Exit.NO if any(one["problem"] for one in answer["lists"]) else Exit.DONE


def _line(one: Mapping[str, Any]) -> str:
    addresses = ", ".join(one["addresses"])
    if one["next_update"] is None:
        state = "there is none yet, and its clients get 503"
    else:
        number = "" if one["number"] is None else f" number {one['number']},"
        ends = datetime.fromisoformat(one["next_update"])
        word = "in force" if ends > datetime.now(UTC) else "ENDED, and counts for its grace alone, then 403"
        state = f"{word}:{number} {one['entries']} revoked, until {ends:{_TIME}} UTC"
    problem = f"; not had now: {one['problem']}" if one["problem"] else ""
    return f"{one['authority']} ({addresses}): {state}{problem}"


def _ended(one: Shown) -> str:
    return " ended" if one.next_update is not None and one.next_update < datetime.now(UTC) else ""


def _print_rows(rows: tuple[Shown, ...]) -> None:
    from rich.table import Table

    table = Table("authority", "list", "revoked", "next by (UTC)", box=None, pad_edge=False)
    table.columns[0].overflow = table.columns[1].overflow = "fold"
    for one in rows:
        made = f", made {one.this_update:{_TIME}}" if one.this_update else ""
        known = "" if one.number is None else f"number {one.number}"
        detail = f"{known}{made}".removeprefix(", ")
        lines = [safe(one.source), detail, safe(one.problem)]
        table.add_row(
            safe(one.authority),
            "\n".join(line for line in lines if line),
            str(one.entries) if one.this_update else "none yet",
            f"{one.next_update:{_TIME}}{_ended(one)}" if one.next_update else "",
        )
    console().print(table)
