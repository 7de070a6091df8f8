"""``sealgate rollback``: the installed server as it was before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealgate.cli._installed import confirmed, open_server, roll_back, server_options
from sealgate.cli._options import load_context
from sealgate.cli._output import note, print_json
from sealgate.errors import Exit

if TYPE_CHECKING:
    from sealgate.cli._installed import Server

__all__ = ["command"]


@click.command("rollback", short_help="Undo the last `apply`.")
@server_options
@click.option("--yes", is_flag=True, help="Do not ask before nothing of ours is served any more.")
@click.option("--all", "everything", is_flag=True, help="Take our file and the include line out.")
def command(
    *,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    engine: str | None,
    server_config: Path | None,
    engine_untested: bool,
    everything: bool,
    yes: bool,
) -> int:
    """Undo the last `apply` of an installed server, or finish the undoing of one that was broken off.

    Undoing the first one takes our file and the include line out, as --all does at once: it asks before. No
    policy is needed, and any version of the server will do. Where two servers have something of ours,
    --engine says which.
    """
    from sealgate.engines.installed.decide import rollback_to

    context = load_context(config, state, as_json)
    with open_server(
        context,
        name=engine,
        config=server_config,
        untested=engine_untested,
        changing=True,
        any_version=True,
        undoing=True,
    ) as server:
        if rollback_to(server.record, everything=everything) is None and not yes:
            if not as_json:
                note(_emptied(server))
            if not confirmed("Take it out?", as_json=as_json):
                note("nothing was changed")
                return Exit.NO
        to = roll_back(server, everything=everything)
        running, doubt = bool(server.pid), server.master.doubt
    if as_json:
        print_json({"version": to.number if to else None, "running": running})
        return Exit.DONE
    is_served = "is served again" if running else "is in its files again"
    note(f"version {to.number} {is_served}" if to else "nothing of ours is in this server any more")
    if not running:
        why = f"was not recognised ({doubt})" if doubt else "does not run"
        note(f"the server {why}: nobody was told, and nobody serves our site")
    return Exit.DONE


def _emptied(server: Server) -> str:
    """What is not served any more once nothing of ours is there."""
    record = server.record
    version = record.standing or (record.pending.to if record.pending else None)
    addresses = version.expected.https + version.expected.http if version else ()
    where = ", ".join(map(str, addresses)) or "its addresses"
    title, main = server.place.included.title, server.place.main
    return f"nothing of ours is in {main} then, and nobody answers on {where} but what else {title} has there"
