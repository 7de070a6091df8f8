"""``sealgate observe``: is the installed server still as it was applied?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealgate.cli._installed import open_server, server_options
from sealgate.cli._options import load_context
from sealgate.cli._output import console, print_json, safe
from sealgate.errors import EngineRefused, Exit, StateError

if TYPE_CHECKING:
    from sealgate.cli._installed import Server
    from sealgate.engines.installed.drift import Drift
    from sealgate.pki.state import State

__all__ = ["command"]


@click.command("observe", short_help="Is an installed server still as it was applied?")
@server_options
def command(
    *,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    engine: str | None,
    server_config: Path | None,
    engine_untested: bool,
) -> int:
    """Look at an installed server: its files, its certificate on disk, and what it really serves.

    Exit status 1: something is not as it was applied.
    """
    context = load_context(config, state, as_json)
    with open_server(
        context, name=engine, config=server_config, untested=engine_untested, any_version=True, changing=False
    ) as server:
        found = _drift(server)
        standing = server.record.standing
    if as_json:
        drift = [{"kind": one.kind, "fact": one.fact, "remedy": one.remedy} for one in found]
        print_json({"drift": drift, "version": standing.number if standing else None})
    else:
        out = console()
        for one in found:
            out.print(f"[red]{one.kind}[/]: {safe(one.fact)} → {safe(one.remedy)}")
        if not found:
            out.print(f"[green]as applied[/]: {safe(context.policy.public_url)}")
    return Exit.NO if found else Exit.DONE


def _drift(server: Server) -> list[Drift]:
    from sealgate.engines.installed.change import gather, live_fingerprint
    from sealgate.engines.installed.decide import rollback_to
    from sealgate.engines.installed.drift import (
        Drift,
        certificate_drift,
        file_drift,
        inherited_drift,
        known_versions,
        seen_drift,
    )
    from sealgate.engines.installed.look import look
    from sealgate.engines.installed.process import check
    from sealgate.engines.installed.running import not_running

    record, place = server.record, server.place
    rollback_to(record, everything=True)  # says so where nothing was ever applied
    version = record.standing or (record.pending.to if record.pending else None)
    paths = (str(place.own), str(place.main))
    standing = server.journal.content(version) if version else b""
    found = list(file_drift(gather(place), record, standing, server.wanted().content, paths))
    if version is None:
        return found
    expected = version.expected
    live = server.state.live_server(server.policy.site.names[0])
    found += certificate_drift(Path(expected.chain), live / "key.pem", _issued(server.state))
    try:
        check(place, place.main)
    except EngineRefused as error:
        found.append(Drift("server-refuses", f"{error.fact}: it would not start again", "put that right"))
    found += inherited_drift(server.inherited_by(gather(place).own or standing))
    if not server.pid:
        found.append(Drift("server-down", not_running(place, server.master).fact, "start it"))
    differences = look(expected, live_fingerprint(expected.chain))
    return [*found, *seen_drift(differences, known_versions(live))]


def _issued(state: State) -> frozenset[str] | None:
    """Every certificate that was issued or imported here; None: that is not known."""
    from sealgate.pki.store import Store

    try:
        with Store.open(state.store, read_only=True) as store:
            return frozenset(row.fingerprint for row in store.certificates())
    except StateError:
        return None
