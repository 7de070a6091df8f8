"""``sealgate client revoke`` and ``release``: the list of the revoked changes, and what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sealgate.cli._client_asking import answer_of
from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._output import note, print_json

__all__ = ["release", "revoke", "tell_doors"]


@click.command(short_help="End a client's certificates before their time.")
@click.argument("which", metavar="NAME|SERIAL")
@common_options
@click.option(
    "--reason",
    default="unspecified",
    show_default=True,
    metavar="REASON",
    help="key-compromise, superseded, affiliation-changed, cessation-of-operation, privilege-withdrawn,"
    " or certificate-hold, which `release` takes back.",
)
def revoke(*, which: str, config: Path | None, state: Path | None, as_json: bool, reason: str) -> None:
    """End all good certificates of NAME, or the one whose SERIAL or fingerprint begins so.

    Returns when a revoked certificate was seen refused by every listener: in a new handshake, and in the next
    request on a connection that was open before. An answer or a WebSocket that is under way is ended.
    """
    context = load_context(config, state, as_json, missing_ok=True)
    _told(context, {"order": "client-revoke", "which": which, "reason": reason}, "revoked")


@click.command(short_help="Take back a hold.")
@click.argument("which", metavar="NAME|SERIAL")
@common_options
def release(*, which: str, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Take back the hold on NAME's certificates, or on the one whose SERIAL or fingerprint begins so.

    Also on one that is not in the store, because its hold was taken over from a list: by its serial.
    """
    context = load_context(config, state, as_json, missing_ok=True)
    _told(context, {"order": "client-release", "which": which}, "released")


def _told(context: Context, order: Mapping[str, Any], what: str) -> None:
    answer = answer_of(context, order)
    if context.json:
        print_json(answer)
        return
    for one in answer[what]:
        note(f"{what}: {one['name'] or 'a certificate whose name is not known'}, serial {one['serial']}")
    tell_doors(answer, revoked=what == "revoked")


def tell_doors(answer: Mapping[str, Any], *, revoked: bool) -> None:
    """What was seen of a list that changed."""
    doors = answer.get("doors")
    if doors is None:
        note("no keeper runs here: the new list counts from the next start of: sealgate serve")
    elif not doors["asked"]:
        note("the policy asks for no certificates of the private authority: nobody gets in by one")
    else:
        note(
            f"seen on {', '.join(doors['listeners'])} after {doors['seconds']:.2f} s: a new handshake with a"
            " certificate on the list is refused, one that is not on it is taken; no session is resumed"
        )
        if revoked:
            note(
                "connections that were open before get no further answer; one that was under way is ended"
                if doors["open_connections"]
                else "connections that were open before are not cut, since no app of ours stands behind them"
            )
