"""``sealgate cert``: the server's certificate: list, show, renew, request, import, revoke, deactivate."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli._cert_acme import deactivate, revoke
from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._output import console, note, print_json, safe
from sealgate.errors import CertificateError, ControlError, Exit, SealgateError, UsageError

if TYPE_CHECKING:
    from sealgate.pki.live import LiveCertificate
    from sealgate.pki.state import State
    from sealgate.pki.store import CertificateRow
    from sealgate.pki.vault import KeepRootKey
    from sealgate.policy.model import Policy

__all__ = ["command"]

_TIME = "%Y-%m-%d %H:%M"
_KINDS = {"server": "private"}
"""What the store calls otherwise than people and the policy do."""


@click.group(short_help="The server's certificate: list, show, renew, revoke and more.")
def command() -> None:
    """The server's certificate: list, show, renew, request, import, revoke."""


command.add_command(revoke)
command.add_command(deactivate)


def _answer(context: Context, order: Mapping[str, Any], keep: KeepRootKey | None = None) -> dict[str, Any]:
    """Let the running keeper carry an order out, or do it here, under the state's lock."""
    from sealgate._system.clock import system_clock
    from sealgate.pki.orders import carry_out
    from sealgate.runtime.control import ask

    policy = context.policy
    if keep is None:  # its passphrase must not travel: only without a keeper
        try:
            return ask(context.state_path, order)
        except ControlError as error:
            if error.code != "keeper-not-running":
                raise
    state = context.open_state()
    if order["order"] == "renew" and policy.certificate.source == "acme":
        from sealgate.runtime.unattended import renew as obtained

        _provable(policy)
        force, dry = bool(order["force"]), bool(order["dry_run"])
        return obtained(state, context.loaded, force=force, dry=dry, say=note)
    return carry_out(order, state=state, policy=policy, clock=system_clock, base=context.base, keep=keep)


def _provable(policy: Policy) -> None:
    """Can the engine answer what is asked? Else nobody is asked for anything.

    Raises:
        PolicyError: ``engine-cannot``.
    """
    from sealgate.engines.contract import enforced_rows
    from sealgate.engines.registry import engine

    kind = engine(policy.site.engine)
    rows = kind.capabilities(policy)
    enforced_rows(kind.title, tuple(row for row in rows if row.key.startswith("certificate.acme")))


@command.command("list", short_help="Every server certificate of this state, newest first.")
@common_options
def list_(*, config: Path | None, state: Path | None, as_json: bool) -> None:
    """Every server certificate that was issued here or imported, newest first."""
    from sealgate.pki.live import LiveDirectory
    from sealgate.pki.state import State
    from sealgate.pki.store import REVOKED, Store

    context = load_context(config, state, as_json, missing_ok=True)
    opened = State.open(context.state_path, create=False)
    with Store.open(opened.store, read_only=True) as store:
        rows = [row for row in store.certificates() if row.kind not in {"client", "canary"}]
        revoked = store.subjects(REVOKED)
    sites = {row.site for row in rows}
    shown = {one for site in sites for one in LiveDirectory(opened.live_server(site)).fingerprints()}
    if as_json:
        print_json([_row_json(row, shown, revoked) for row in rows])
        return
    _print_rows(rows, shown, revoked, context.policy.site.names[0])


def _row_json(row: CertificateRow, shown: AbstractSet[str], revoked: AbstractSet[str]) -> dict[str, object]:
    return {
        "live": row.fingerprint in shown,
        "revoked": row.fingerprint in revoked,
        "kind": _KINDS.get(row.kind, row.kind),
        "site": row.site,
        "names": list(row.names),
        "serial": row.serial,
        "not_before": row.not_before.isoformat(),
        "not_after": row.not_after.isoformat(),
        "issued_at": row.issued_at.isoformat(),
        "fingerprint_sha256": row.fingerprint,
    }


def _print_rows(
    rows: list[CertificateRow], shown: AbstractSet[str], revoked: AbstractSet[str], site: str
) -> None:
    from rich.table import Table

    several = len({row.site for row in rows}) > 1
    table = Table(box=None, pad_edge=False)
    titles = ["", *(["site"] if several else []), "names", "kind", "from", "until (UTC)", "sha-256"]
    for title in titles:  # names alone are long; the serial is in `--json`
        table.add_column(title, no_wrap=title not in {"site", "names"}, overflow="fold")
    for row in rows:
        table.add_row(
            _mark(row, shown, revoked, site),
            *([safe(row.site)] if several else []),
            safe(", ".join(row.names)),
            _KINDS.get(row.kind, row.kind),
            f"{row.not_before:%Y-%m-%d}",
            f"{row.not_after:{_TIME}}",
            row.fingerprint[:16],
        )
    console().print(table)


def _mark(row: CertificateRow, shown: AbstractSet[str], revoked: AbstractSet[str], site: str) -> str:
    """`live` of this policy's site only: what another one left there is not served by it."""
    live = ("live" if row.site == site else "other site") if row.fingerprint in shown else ""
    return ", ".join(filter(None, (live, "revoked" if row.fingerprint in revoked else "")))


@command.command()
@common_options
@click.option("--pem", is_flag=True, help="Print the chain itself.")
def show(*, config: Path | None, state: Path | None, as_json: bool, pem: bool) -> None:
    """The certificate that is live, and when it is renewed; the second one too, where there are two."""
    from cryptography import x509

    from sealgate.pki.inspect import pem_of
    from sealgate.pki.live import LiveDirectory
    from sealgate.pki.state import State

    context = load_context(config, state, as_json, missing_ok=True)
    site = context.policy.site.names[0]
    opened = State.open(context.state_path, create=False)
    live = LiveDirectory(opened.live_server(site)).current()
    if live is None:
        raise CertificateError(
            "certificate-missing",
            f"there is no certificate for {site} yet",
            "make one with: sealgate cert renew",
        )
    if pem:
        chain = [x509.load_der_x509_certificate(der) for der in live.chain]
        click.echo(b"".join(pem_of(one) for one in chain), nl=False)
        return
    renewals = [_renewal(context.policy, opened, one) for one in live.both]
    documents = [_document(one, due) for one, due in zip(live.both, renewals, strict=True)]
    if as_json:
        print_json(documents[0] | ({"second": documents[1]} if live.second else {}))
        return
    files = context.policy.certificate.source == "files"
    never = "when certificate.files change" if files else "now: it stands in until the authority's is there"
    for index, (document, renewal) in enumerate(zip(documents, renewals, strict=True)):
        if index:
            click.echo()
        _print_live(document, f"{renewal:{_TIME}} UTC" if renewal else never)


def _document(live: LiveCertificate, renewal: datetime | None) -> dict[str, Any]:
    from cryptography import x509

    from sealgate.pki.inspect import facts

    leaf, *issuers = (facts(x509.load_der_x509_certificate(der)).as_json() for der in live.chain)
    return leaf | {
        "version": live.version,
        "renewed_from": renewal.isoformat() if renewal else None,
        "files": {"chain": str(live.chain_path), "key": str(live.key_path)},
        "issuers": issuers,
    }


def _renewal(policy: Policy, state: State, live: LiveCertificate) -> datetime | None:
    """When it is renewed; None: from files, or a stand-in."""
    from sealgate.acme.renewer import due_of
    from sealgate.pki.renewal import due_at

    source = policy.certificate.source
    if source == "acme":
        return due_of(state, policy, index=live.index(policy.certificate.key_types))
    return due_at(live.not_before, live.not_after) if source == "private" else None


def _print_live(document: Mapping[str, Any], renewal: str) -> None:
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
        "renewed from": renewal,
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
@click.option("--yes", is_flag=True, help="With --new-root: do not ask.")
@click.option("--if-due", is_flag=True, help="Only if it is due.")
@click.option("--force", is_flag=True, help="Although none is due: what is done without --if-due anyway.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="With ACME: show and see the proofs; nothing is asked of the authority.",
)
def renew(  # noqa: PLR0913 - one for each option
    *,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    new_root: bool,
    keep_root_key: Path | None,
    passphrase_file: Path | None,
    yes: bool,
    if_due: bool,
    force: bool,
    dry_run: bool,
) -> int:
    """Get another certificate now; the running server takes it over without losing a request."""
    context = load_context(config, state, as_json, missing_ok=True)
    if dry_run and (new_root or context.policy.certificate.source != "acme"):
        raise UsageError(
            "usage-wrong", '--dry-run is for certificate.source = "acme"', "leave it out: nothing can fail"
        )
    if force and if_due:
        raise UsageError("usage-wrong", "--force and --if-due say opposite things", "leave one of them out")
    if (keep_root_key or passphrase_file) and not new_root:
        raise UsageError(
            "usage-wrong", "--keep-root-key goes with --new-root", "add --new-root, or leave it out"
        )
    if new_root and not yes and not _root_given_up(context):
        note("nothing was changed")
        return Exit.NO
    keep = _keep(keep_root_key, passphrase_file) if keep_root_key else None
    order: dict[str, Any] = (
        {"order": "cert-new-root"}
        if new_root
        else {"order": "renew", "force": not if_due, "dry_run": dry_run}
    )
    answer = _answer(context, order, keep)
    if as_json:
        print_json(answer)
    else:
        if new_root:
            note(f"new root {_root(context)[:16]} made")
        if not new_root or context.policy.certificate.source == "private":
            _note_renewed(answer, context.policy.site.names[0])
    if new_root:
        note("every client must trust the new root: sealgate trust")
    return Exit.DONE


def _root(context: Context) -> str:
    """Fingerprint of the root in force; empty: there is none that can be read."""
    from cryptography import x509

    from sealgate.pki.inspect import fingerprint
    from sealgate.pki.state import State

    try:
        path = State.open(context.state_path, create=False).root_pem
        return fingerprint(x509.load_pem_x509_certificate(path.read_bytes()))
    except (SealgateError, OSError, ValueError):
        return ""


def _root_given_up(context: Context) -> bool:
    """Ask, where there is a root that clients may trust."""
    from sealgate.cli._installed import confirmed

    if not (context.state_path / "authorities").is_dir():
        return True
    root = _root(context)[:16] or "there was until now"
    return confirmed(
        f"Every client that trusts root {root} must get the new one; this cannot be undone. Go on?",
        as_json=context.json,
    )


def _note_renewed(answer: Mapping[str, Any], site: str) -> None:
    if answer.get("rehearsed"):
        note("every name could be proven; nothing was asked of the authority")
    else:
        until = f"{datetime.fromisoformat(answer['not_after']).astimezone(UTC):{_TIME}} UTC"
        due = "" if answer.get("renewed", True) else "not due: "
        note(f"{due}certificate {answer['fingerprint'][:16]} for {safe(site)} is live until {until}")
        if second := answer.get("second"):
            ends = f"{datetime.fromisoformat(second['not_after']).astimezone(UTC):{_TIME}} UTC"
            note(f"the second one, {second['fingerprint'][:16]}, is live until {ends}")
    for plan in answer.get("plans", ()):
        note(f"next: {safe(plan)}")
    if answer.get("served") is False:
        note("it is not served yet: tell the server (sealgate apply, or its own reload)")


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
