"""``sealgate cert``: the server's certificate: list, show, renew, request, import."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._output import console, note, print_json, safe
from sealgate.errors import CertificateError, ControlError, UsageError

if TYPE_CHECKING:
    from sealgate.pki.store import CertificateRow
    from sealgate.pki.vault import KeepRootKey

__all__ = ["command"]

_TIME = "%Y-%m-%d %H:%M"


@click.group()
def command() -> None:
    """The server's certificate: list, show, renew, request, import."""


def _answer(context: Context, order: Mapping[str, Any], keep: KeepRootKey | None = None) -> dict[str, Any]:
    """Let the running keeper carry an order out, or do it here, under the state's lock."""
    from sealgate._system.clock import system_clock
    from sealgate.pki.orders import carry_out
    from sealgate.pki.state import State
    from sealgate.runtime.control import ask

    policy = context.policy
    if keep is None:  # its passphrase must not travel: only without a keeper
        try:
            return ask(context.state_path, order)
        except ControlError as error:
            if error.code != "keeper-not-running":
                raise
    state = State.open(context.state_path)
    return carry_out(order, state=state, policy=policy, clock=system_clock, base=context.base, keep=keep)


@command.command("list", short_help="Every server certificate of this state, newest first.")
@common_options
def list_(*, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Every server certificate that was issued here or imported, newest first."""
    from sealgate.pki.live import LiveDirectory
    from sealgate.pki.state import State
    from sealgate.pki.store import Store

    context = load_context(config, state, as_json, missing_ok=True)
    opened = State.open(context.state_path, create=False)
    with Store.open(opened.store, read_only=True) as store:
        rows = [row for row in store.certificates() if row.kind != "client"]
    live = {row.site: LiveDirectory(opened.live_server(row.site)).fingerprint() for row in rows}
    if as_json:
        print_json([_row_json(row, live=live[row.site] == row.fingerprint) for row in rows])
        return
    _print_rows(rows, live)


def _row_json(row: CertificateRow, *, live: bool) -> dict[str, object]:
    return {
        "live": live,
        "kind": row.kind,
        "site": row.site,
        "names": list(row.names),
        "serial": row.serial,
        "not_before": row.not_before.isoformat(),
        "not_after": row.not_after.isoformat(),
        "issued_at": row.issued_at.isoformat(),
        "fingerprint_sha256": row.fingerprint,
    }


def _print_rows(rows: list[CertificateRow], live: Mapping[str, str]) -> None:
    from rich.table import Table

    table = Table("", "names", "kind", "from", "until", "serial", "sha-256", box=None, pad_edge=False)
    for row in rows:
        mark = "live" if live[row.site] == row.fingerprint else ""
        dates = (f"{row.not_before:{_TIME}}", f"{row.not_after:{_TIME}}")
        table.add_row(mark, safe(", ".join(row.names)), row.kind, *dates, row.serial, row.fingerprint[:16])
    console().print(table)


@command.command()
@common_options
@click.option("--pem", is_flag=True, help="Print the chain itself.")
def show(*, config: Path | None, state: Path | None, as_json: bool, pem: bool) -> None:
    """The certificate that is live, and when it is renewed."""
    from cryptography import x509

    from sealgate.pki.inspect import facts, pem_of
    from sealgate.pki.live import LiveDirectory
    from sealgate.pki.renewal import due_at
    from sealgate.pki.state import State

    context = load_context(config, state, as_json, missing_ok=True)
    site = context.policy.site.names[0]
    live = LiveDirectory(State.open(context.state_path, create=False).live_server(site)).current()
    if live is None:
        raise CertificateError(
            "certificate-missing",
            f"there is no certificate for {site} yet",
            "make one with: sealgate cert renew",
        )
    chain = [x509.load_der_x509_certificate(der) for der in live.chain]
    if pem:
        click.echo(b"".join(pem_of(one) for one in chain), nl=False)
        return
    leaf = facts(chain[0]).as_json()
    private = context.policy.certificate.source == "private"
    renewal = due_at(live.not_before, live.not_after) if private else None
    document = leaf | {
        "version": live.version,
        "renewed_from": renewal.isoformat() if renewal else None,
        "files": {"chain": str(live.chain_path), "key": str(live.key_path)},
        "issuers": [facts(one).as_json() for one in chain[1:]],
    }
    if as_json:
        print_json(document)
        return
    _print_live(document, renewal)


def _print_live(document: Mapping[str, Any], renewal: datetime | None) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    until = datetime.fromisoformat(document["not_after"])
    rows = {
        "names": ", ".join(document["names"]),
        "subject": document["subject"],
        "issuer": document["issuer"],
        "key": document["key"],
        "valid from": f"{datetime.fromisoformat(document['not_before']):{_TIME}} UTC",
        "valid until": f"{until:{_TIME}} UTC",
        "renewed from": f"{renewal:{_TIME}} UTC" if renewal else "when certificate.files change",
        "serial": document["serial"],
        "sha-256": document["fingerprint_sha256"],
        "chain": document["files"]["chain"],
        "key file": document["files"]["key"],
    }
    for name, value in rows.items():
        table.add_row(name, safe(value))
    console().print(table)


@command.command(short_help="Get another certificate now, without losing a request.")
@common_options
@click.option("--new-root", is_flag=True, help="Make a new root too; every client must trust it anew.")
@click.option(
    "--keep-root-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --new-root: keep the root's key in FILE, encrypted, instead of destroying it.",
)
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Passphrase for --keep-root-key (first line, mode 0600); default: asked for.",
)
@click.option("--if-due", is_flag=True, help="Only if it is due.")
def renew(
    *,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    new_root: bool,
    keep_root_key: Path | None,
    passphrase_file: Path | None,
    if_due: bool,
) -> None:
    """Get another certificate now; the running server takes it over without losing a request."""
    context = load_context(config, state, as_json, missing_ok=True)
    if (keep_root_key or passphrase_file) and not new_root:
        raise UsageError(
            "usage-wrong", "--keep-root-key goes with --new-root", "add --new-root, or leave it out"
        )
    keep = _keep(keep_root_key, passphrase_file) if keep_root_key else None
    order: dict[str, Any] = (
        {"order": "cert-new-root"} if new_root else {"order": "renew", "force": not if_due}
    )
    answer = _answer(context, order, keep)
    if as_json:
        print_json(answer)
    elif answer.get("renewed", True):
        note(f"certificate {answer['fingerprint'][:16]} is live until {answer['not_after']}")
    else:
        note(f"not due: certificate {answer['fingerprint'][:16]} is live until {answer['not_after']}")
    if new_root:
        note("every client must trust the new root: sealgate trust")


def _keep(path: Path, passphrase_file: Path | None) -> KeepRootKey:
    from sealgate._system.files import check_not_readable_by_others
    from sealgate.pki.vault import KeepRootKey

    if passphrase_file is None:
        text = click.prompt(
            "Passphrase for the root's key", hide_input=True, confirmation_prompt=True, err=True
        )
    else:
        try:
            check_not_readable_by_others(passphrase_file, code="key-readable-by-others")
            text = (passphrase_file.read_text().splitlines() or [""])[0]
        except (OSError, UnicodeError) as error:
            raise UsageError(
                "passphrase-unreadable",
                f"{passphrase_file} cannot be read ({error})",
                "name a text file of mode 0600",
            ) from error
    keep = KeepRootKey(path, text.encode())
    keep.check()
    return keep


@command.command(short_help="A signing request (CSR) for another authority.")
@common_options
def request(*, config: Path | None, state: Path | None, as_json: bool) -> None:
    """A signing request (CSR) on stdout, for another authority; its key stays here."""
    answer = _answer(load_context(config, state, as_json, missing_ok=True), {"order": "cert-request"})
    if as_json:
        print_json(answer)
        return
    click.echo(answer["pem"], nl=False)
    note(f"kept in {answer['request']}; bring the answer with: sealgate cert import CHAIN")


@command.command("import", short_help="Check a certificate from another authority and keep it.")
@click.argument("chain", type=click.Path(path_type=Path))
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help="Its key; default: the request's."
)
@common_options
def import_(*, config: Path | None, state: Path | None, as_json: bool, chain: Path, key: Path | None) -> None:
    """Check a certificate CHAIN (PEM) from another authority, and keep it with its key."""
    context = load_context(config, state, as_json, missing_ok=True)
    order = {
        "order": "cert-import",
        "chain": str(chain.absolute()),
        "key": str(key.absolute()) if key else "",
    }
    answer = _answer(context, order)
    if as_json:
        print_json(answer)
        return
    note(f"certificate {answer['fingerprint_sha256'][:16]} fits, valid until {answer['not_after']}")
    if answer["live"]:
        note("it is live")
        return
    note("to serve it, put this into the policy:")
    files = answer["files"]
    click.echo('[certificate]\nsource = "files"\n[certificate.files]')
    click.echo(f'chain = "{files["chain"]}"\nkey = "{files["key"]}"')
