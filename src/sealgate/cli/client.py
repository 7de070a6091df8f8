"""``sealgate client``: certificates for clients: add, list, show, revoke, release, renew."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli._client_add import add, renew
from sealgate.cli._client_block import block, unblock
from sealgate.cli._client_lines import LINES
from sealgate.cli._client_revoke import release, revoke
from sealgate.cli._options import common_options, load_context
from sealgate.cli._output import console, print_json, safe

if TYPE_CHECKING:
    from sealgate.pki.clients.register import Blocked, Held

__all__ = ["command"]

_TIME = "%Y-%m-%d %H:%M"


@click.group(short_help="Certificates for clients: add, list, show, revoke and more.")
def command() -> None:
    """Certificates for clients, by the private authority: add, list, show, revoke, release, renew."""


for _each in (add, renew, revoke, release, block, unblock):
    command.add_command(_each)


@command.command("list", short_help="Every client's certificate, by name.")
@common_options
@click.option("--all", "every", is_flag=True, help="Also those that ended or were revoked.")
@click.option("--blocked", "kept_out", is_flag=True, help="Instead: whom of other authorities is kept out.")
def list_(*, config: Path | None, state: Path | None, as_json: bool, every: bool, kept_out: bool) -> None:
    """Every client's certificate that is good or on hold; with --all those of the past too."""
    from sealgate.pki.clients.register import Register
    from sealgate.pki.state import State
    from sealgate.pki.store import Store

    context = load_context(config, state, as_json, missing_ok=True)
    opened = State.open(context.state_path, create=False)
    with Store.open(opened.store, read_only=True) as store:
        if kept_out:
            _print_blocked(Register(store).blocked(), as_json=as_json)
            return
        rows = Register(store).all()
    now = _now()
    rows = [row for row in rows if every or row.active(now)]
    if as_json:
        print_json([_as_json(row, now) for row in rows])
        return
    _print_rows(rows, now)


def _print_blocked(rows: list[Blocked], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {"fingerprint_sha256": one.fingerprint, "at": one.at.isoformat(), "note": one.note}
                for one in rows
            ]
        )
        return
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("fingerprint", "since (UTC)", "note"):
        table.add_column(name, overflow="fold")
    for one in rows:
        table.add_row(one.fingerprint, f"{one.at:{_TIME}}", safe(one.note))
    console().print(table)


def _now() -> datetime:
    from sealgate._system.clock import system_clock

    return system_clock()


def _as_json(row: Held, now: datetime) -> dict[str, Any]:
    return {
        "name": row.name,
        "status": row.status(now),
        "groups": list(row.groups),
        "common_name": row.asked.subject,
        "dns": list(row.asked.dns),
        "uris": list(row.asked.uris),
        "emails": list(row.asked.emails),
        "subject": row.subject,
        "serial": row.serial,
        "not_before": row.not_before.isoformat(),
        "not_after": row.not_after.isoformat(),
        "issued_at": row.issued_at.isoformat(),
        "fingerprint_sha256": row.fingerprint,
        "issuer_key_sha256": row.issuer_key,
        "own_key": row.own_key,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        "reason": row.reason or None,
    }


def _print_rows(rows: list[Held], now: datetime) -> None:
    from rich.table import Table

    table = Table("name", "", "groups", "until (UTC)", "serial", "sha-256", box=None, pad_edge=False)
    for row in rows:
        status = row.status(now)
        table.add_row(
            safe(row.name),
            "" if status == "valid" else status,
            safe(", ".join(row.groups)),
            f"{row.not_after:{_TIME}}",
            row.serial,
            row.fingerprint[:16],
        )
    console().print(table)


@command.command(short_help="One client's certificate, and how programs use it.")
@click.argument("which", metavar="NAME|SERIAL")
@common_options
@click.option("--as", "how", type=click.Choice(sorted(LINES)), help="Lines to paste, for this program.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="With --as: where the client's files are.  [default: here]",
)
@click.option("--pem", is_flag=True, help="Print the certificate itself, and its issuer.")
def show(
    *,
    which: str,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    how: str | None,
    folder: Path,
    pem: bool,
) -> None:
    """The newest certificate of NAME, or the one whose SERIAL or fingerprint begins so."""
    from sealgate.pki.clients.handing import Files
    from sealgate.pki.clients.office import found
    from sealgate.pki.clients.register import Register
    from sealgate.pki.inspect import pem_of
    from sealgate.pki.state import State
    from sealgate.pki.store import Store
    from sealgate.pki.vault import load_certificates

    context = load_context(config, state, as_json, missing_ok=True)
    opened = State.open(context.state_path, create=False)
    now = _now()
    with Store.open(opened.store, read_only=True) as store:
        held = found(Register(store), which)
    if how is not None:
        lines = LINES[how](Files(folder, held[0].name), context.policy.public_url)
        if as_json:
            print_json({"lines": lines})
            return
        click.echo("\n".join(lines))
    elif pem:
        made = load_certificates(opened)
        click.echo(held[0].pem + (pem_of(made["clients"]).decode() if made else ""), nl=False)
    elif as_json:
        print_json(_as_json(held[0], now) | {"others": [_as_json(row, now) for row in held[1:]]})
    else:
        _print_one(held, now)


def _print_one(held: list[Held], now: datetime) -> None:
    from rich.table import Table

    newest, table = held[0], Table(box=None, show_header=False, pad_edge=False)
    revoked = f" since {newest.revoked_at.astimezone(UTC):{_TIME}} UTC" if newest.revoked_at else ""
    why = f" ({newest.reason})" if newest.reason else ""
    rows = {
        "name": newest.name,
        "status": newest.status(now) + revoked + why,
        "groups": ", ".join(newest.groups) or "none",
        "subject": newest.subject,
        "DNS names": ", ".join(newest.asked.dns),
        "URIs": ", ".join(newest.asked.uris),
        "mail": ", ".join(newest.asked.emails),
        "valid from": f"{newest.not_before:{_TIME}} UTC",
        "valid until": f"{newest.not_after:{_TIME}} UTC",
        "serial": newest.serial,
        "sha-256": newest.fingerprint,
        "key": "made here, for the client alone" if newest.own_key else "the client's own (by request)",
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, safe(value))
    others = [row for row in held[1:] if row.active(now)]
    if others:
        told = (f"{row.serial} until {row.not_after:%Y-%m-%d}" for row in others)
        table.add_row("also good", ", ".join(told))
    console().print(table)
    if newest.active(now):
        console().print(f"\nlines to paste: sealgate client show {safe(shlex.quote(newest.name))} --as curl")
