"""``sealgate plan``: what ``apply`` would change in an installed server. Nothing is changed."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli._installed import open_server, server_options
from sealgate.cli._options import load_context
from sealgate.cli._output import console, print_json, safe
from sealgate.errors import Exit
from sealgate.policy.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from sealgate.cli._installed import Server
    from sealgate.engines.configurations.directive import Unread
    from sealgate.engines.configurations.neighbours import Neighbour
    from sealgate.engines.installed.decide import Disk
    from sealgate.engines.installed.site import Wanted

__all__ = ["apply_command", "command", "describe", "show"]

_LONG = 40
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command("plan", short_help="What `apply` would change in an installed server.")
@server_options
@click.option("--diff", "whole", is_flag=True, help="All of the diff, however long it is.")
def command(
    *,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    engine: str | None,
    server_config: Path | None,
    engine_untested: bool,
    whole: bool,
) -> int:
    """What `apply` would change in an installed nginx, Apache or Gunicorn, and what it would refuse.

    The server's own check reads what would be written, beside what is in force; sites of your own at the same
    addresses are named, and what of your own configuration would count in our site. Nothing is changed. Exit
    status 1: apply would refuse it, or the server. 2: it cannot enforce the policy; each key is named.
    """
    from sealgate.engines.installed.change import gather

    context = load_context(config, state, as_json)
    with open_server(
        context, name=engine, config=server_config, untested=engine_untested, changing=False
    ) as here:
        disk = gather(here.place)
        server, tried = here.foreseen(disk)
        document = describe(server, disk, server.wanted())
        document["check"] = asdict(tried)
    if as_json:
        print_json(document)
    else:
        show(document, whole=whole)
        options = {"--engine": engine, "--server-config": server_config, "-c": config, "--state": state}
        click.echo(_next(document, apply_command(options, untested=engine_untested)))
    return Exit.NO if _refused(document) else Exit.DONE


def apply_command(options: Mapping[str, str | Path | None], *, untested: bool = False) -> str:
    """``sealgate apply`` for the very server and policy that this call is about, for a shell."""
    words = ["sealgate", "apply"]
    for option, value in options.items():
        words += [option, str(value)] if value is not None else []
    return printable(shlex.join(words + ["--engine-untested"] * untested))


def _refused(document: dict[str, Any]) -> bool:
    return bool(document["inherited"]) or document["check"]["accepted"] is False


def _next(document: dict[str, Any], command: str) -> str:
    if document["inherited"]:
        remedies = dict.fromkeys(one["remedy"] for one in document["inherited"])
        return f"apply would change nothing: {'; '.join(remedies)}"
    if document["check"]["accepted"] is False:
        return "apply would change nothing: put right what the server's check names"
    return f"to do it: {command}" if document["changes"] else "nothing to change"


def describe(server: Server, disk: Disk, wanted: Wanted) -> dict[str, Any]:
    """What would change, as plain data."""
    from sealgate.engines.installed.decide import Act, acts

    place, policy = server.place, server.policy
    todo = [act for act in acts(disk, wanted.content) if act not in (Act.RELOAD, Act.LOOK)]
    after = disk.main if disk.lines == 1 else _included(server, disk.main)
    return {
        "engine": place.included.id,
        "version": place.program.version,
        "running": bool(server.pid),
        "files": [
            _difference(place.own, disk.own or b"", wanted.content),
            _difference(place.main, disk.main, after),
        ],
        "acts": [act.value for act in todo],
        "unobserved": list(place.included.unobserved),
        "changes": bool(todo) or server.record.pending is not None or _touched(server, disk),
        "interrupted": server.record.pending.order if server.record.pending else None,
        "certificate": _certificate(server),
        "listen": [str(endpoint) for endpoint in policy.listen.https + policy.listen.http],
        "shared": [str(endpoint) for endpoint in wanted.shared],
        "neighbours": [asdict(one) | {"said": str(one)} for one in _neighbours(server)],
        "inherited": [asdict(one) | {"said": str(one), "remedy": one.remedy} for one in server.inherited()],
        "unread": [f"{one.place}: {one.why}" for one in _unread(server)],
        "enforcement": [
            {"key": row.key, "promise": row.promise, "enforcer": row.enforcer.value, "how": row.how}
            for row in server.promises()
        ],
    }


def _touched(server: Server, disk: Disk) -> bool:
    """Has apply to have our file read once more, though its bytes are right?"""
    return server.record.standing is not None and server.record.read != disk.stamp


def _neighbours(server: Server) -> tuple[Neighbour, ...]:
    from sealgate.engines.configurations.neighbours import neighbours

    place, listen = server.place, server.policy.listen
    names = server.policy.site.names
    return neighbours(place.included.id, place.main, place.own, listen.https + listen.http, names)


def _unread(server: Server) -> tuple[Unread, ...]:
    from sealgate.engines.configurations.neighbours import unread

    return unread(server.place.included.id, server.place.main, server.place.own)


def _included(server: Server, main: bytes) -> bytes:
    from sealgate.engines.installed.change import without

    return server.place.included.include(without(server.place, main), str(server.place.own))


def _difference(path: Path, before: bytes, after: bytes) -> dict[str, str]:
    lines = difflib.unified_diff(
        before.decode(errors="backslashreplace").splitlines(),
        after.decode(errors="backslashreplace").splitlines(),
        str(path),
        str(path),
        lineterm="",
    )
    return {"path": str(path), "diff": "\n".join(lines)}


def _certificate(server: Server) -> str:
    from sealgate.errors import CertificateError
    from sealgate.pki.live import LiveDirectory

    try:
        live = LiveDirectory(server.state.live_server(server.policy.site.names[0])).current()
    except CertificateError:
        live = None
    if live is None:
        return "one is made, or taken over, at the first apply"
    return (
        f"{live.fingerprint[:16]} is live until {live.not_after:%Y-%m-%d}; renewed by apply where it is due"
    )


def show(document: dict[str, Any], *, whole: bool = False) -> None:
    """For people; a long diff is summed up."""
    out = console()
    running = "running" if document["running"] else "[red]not running[/]"
    out.print(f"[bold]{document['engine']}[/] {safe(document['version'])}, {running}")
    out.print(f"certificate: {safe(document['certificate'])}")
    if document["interrupted"]:
        out.print(f"[yellow]an earlier {document['interrupted']} was broken off; apply finishes the job[/]")
    for file in document["files"]:
        _show_difference(file, out, whole=whole)
    for neighbour in document["neighbours"]:
        colour = "red" if neighbour["same"] else "yellow"
        out.print(f"[{colour}]•[/] {safe(neighbour['said'])}")
    for line in document["inherited"]:
        out.print(f"[red]•[/] {safe(line['said'])}")
    if document["unread"]:
        first, more = document["unread"][0], len(document["unread"]) - 1
        others = f" (and {more} more)" if more else ""
        out.print(f"[yellow]not read, so sites in there are not named:[/] {safe(first)}{others}")
    if "check" in document:
        out.print(_checked(document["check"]))
    for act in document["acts"]:
        out.print(f"- {act}")
    for sentence in document["unobserved"]:
        out.print(f"[dim]not looked at:[/] {safe(sentence)}")


def _show_difference(file: dict[str, str], out: Console, *, whole: bool) -> None:
    lines = file["diff"].splitlines()
    if len(lines) > _LONG and not whole:
        added, removed = (sum(line.startswith(sign) for line in lines[2:]) for sign in "+-")
        out.print(f"{safe(file['path'])}: {added} lines more, {removed} less; all of them: --diff")
        return
    for line in lines:
        colour = _COLOURS.get(line[:1])
        text = safe(line.expandtabs(4))
        out.print(f"[{colour}]{text}[/]" if colour else text)


def _checked(check: dict[str, Any]) -> str:
    if check["accepted"]:
        return "[green]the server's own check accepts it[/]"
    if check["accepted"] is None:
        return f"[yellow]the server's own check was not asked:[/] {safe(check['said'])}"
    return f"[red]the server's own check refuses it:[/] {safe(check['said'])} → {safe(check['remedy'])}"
