"""``sealgate token``: API keys: add, list, revoke."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import console, note, print_json, safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealgate.cli._options import Context
    from sealgate.pki.api_keys.register import ApiKey

__all__ = ["command"]

_TIME = "%Y-%m-%d %H:%M"


@click.group(short_help="API keys: add, list, revoke.")
def command() -> None:
    """API keys, for callers that have no client certificate: shown once, kept as hashes."""


@command.command(short_help="A new key, shown once.")
@click.argument("name")
@common_options
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="What it may be used for; repeat it.")
@click.option("--days", type=int, metavar="N", help="Days until it ends by itself.  [default: never]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the key there (0600), and not to the screen.",
)
def add(
    *,
    name: str,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    scopes: tuple[str, ...],
    days: int | None,
    out: Path | None,
) -> None:
    """Make a key for NAME. It counts at once, where the policy has tokens.api_keys = true.

    A name may have two keys that count, so that one can be replaced without a gap: add, hand over, revoke.
    """
    from sealgate.errors import UsageError
    from sealgate.policy.api_keys import hashed, made_of

    context = load_context(config, state, as_json, missing_ok=True)
    key = made_of(secrets.token_bytes(8), secrets.token_bytes(32))
    if out is not None and os.path.lexists(out):
        raise UsageError("token-file-exists", f"{out} is there already", "name another file")
    order = {
        "order": "token-add",
        "id": key.id,
        "hash": hashed(key.whole),
        "name": name,
        "scopes": list(scopes),
        "days": days,
    }
    answer = _answer_of(context, order)
    if out is not None:
        _write(out, key.whole)
    if context.json:
        shown = {} if out is not None else {"key": key.whole}
        print_json(answer["issued"] | shown)
    elif out is None:
        click.echo(key.whole)
        if sys.stdout.isatty():
            note("shown this once: only a hash of it is kept")
    else:
        note(f"written: {out}")
    if not answer["counts"]:
        note("no key counts yet: the policy says tokens.api_keys = false")


def _write(path: Path, text: str) -> None:
    from sealgate._system.files import translated

    with translated(path):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"{text}\n")


@command.command("list", short_help="Every key, by name; never the keys themselves.")
@common_options
@click.option("--all", "every", is_flag=True, help="Also those that ended or were revoked.")
def list_(*, config: Path | None, state: Path | None, as_json: bool, every: bool) -> None:
    """Every key that counts; with --all those of the past too."""
    from sealgate._system.clock import system_clock
    from sealgate.pki.api_keys.orders import told
    from sealgate.pki.api_keys.register import ApiKeys
    from sealgate.pki.state import State
    from sealgate.pki.store import Store

    context = load_context(config, state, as_json, missing_ok=True)
    opened = State.open(context.state_path, create=False)
    now = system_clock()
    with Store.open(opened.store, read_only=True) as store:
        rows = [one for one in ApiKeys(store).all() if every or one.active(now)]
    if as_json:
        print_json([told(one) | {"status": one.status(now)} for one in rows])
        return
    from rich.table import Table

    table = Table("name", "", "scopes", "until (UTC)", "id", box=None, pad_edge=False)
    for one in rows:
        status = one.status(now)
        table.add_row(
            safe(one.name),
            "" if status == "valid" else status,
            safe(" ".join(one.scopes)),
            _until(one),
            one.id,
        )
    console().print(table)


def _until(one: ApiKey) -> str:
    return f"{one.expires_at:{_TIME}}" if one.expires_at else "it is revoked"


@command.command(short_help="End keys before their time.")
@click.argument("which", metavar="NAME|ID")
@common_options
def revoke(*, which: str, config: Path | None, state: Path | None, as_json: bool) -> None:
    """End all keys of NAME that count, or the one whose ID this is.

    Returns when no request counts by it any more; an answer or a WebSocket that is under way by it is ended.
    """
    context = load_context(config, state, as_json, missing_ok=True)
    answer = _answer_of(context, {"order": "token-revoke", "which": which})
    if context.json:
        print_json(answer)
        return
    for one in answer["revoked"]:
        note(f"revoked: {one['id']} of {one['name']}")


def _answer_of(context: Context, order: Mapping[str, Any]) -> dict[str, Any]:
    """By the running keeper, or here under the state's lock."""
    from sealgate._system.clock import system_clock
    from sealgate.errors import ControlError
    from sealgate.pki.api_keys.orders import carry_out
    from sealgate.runtime.control import ask

    try:
        return ask(context.state_path, order)
    except ControlError as error:
        if error.code != "keeper-not-running":
            raise
    state = context.open_state()
    with state.lock():
        answer = carry_out(order, state=state, clock=system_clock)
    return answer | {"counts": context.policy.tokens.api_keys}
