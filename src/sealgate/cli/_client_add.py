"""``sealgate client add`` and ``renew``: one certificate, or a table of them."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sealgate.cli._client_asking import answer_of
from sealgate.cli._client_password import password_for, show_once
from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._output import console, note, print_json
from sealgate.errors import UsageError

if TYPE_CHECKING:
    from sealgate.pki.clients.handing import Files
    from sealgate.pki.clients.naming import Asked
    from sealgate.pki.keys import PrivateKey

__all__ = ["add", "renew"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _handing(command: _Command) -> _Command:
    """Options about what is handed out."""
    file = click.Path(path_type=Path)
    for option in (
        click.option(
            "--password-fd", type=int, metavar="N", help="With --p12: read the password from descriptor N."
        ),
        click.option(
            "--password-file", type=file, metavar="FILE", help="With --p12: its first line (mode 0600)."
        ),
        click.option("--p12", is_flag=True, help="NAME.p12, encrypted, instead of NAME.key."),
        click.option(
            "--csr", type=file, metavar="FILE", help="Certify the key of this signing request; none is made."
        ),
        click.option(
            "--out", type=file, default=Path(), metavar="DIR", help="Where the files go.  [default: here]"
        ),
    ):
        command = option(command)
    return command


@click.command(short_help="A certificate for a client, or for each row of a table.")
@click.argument("name", required=False, metavar="NAME")
@common_options
@click.option(
    "--group", "groups", multiple=True, metavar="G", help="Its holder is in this group; repeatable."
)
@click.option("--days", type=int, default=90, show_default=True, metavar="N", help="How long it is good.")
@click.option("--cn", default="", help="CommonName in the certificate.  [default: NAME]")
@click.option("--dns", multiple=True, help="A DNS name in it; repeatable.")
@click.option("--uri", "uris", multiple=True, help="A URI, such as spiffe://example.org/a; repeatable.")
@click.option("--email", "emails", multiple=True, help="A mail address in it; repeatable.")
@click.option(
    "--from",
    "table",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="One for each row; columns: name, cn, dns, uri, email, groups, days.",
)
@_handing
def add(  # noqa: PLR0913 - one for each option
    *,
    name: str | None,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    groups: tuple[str, ...],
    days: int,
    cn: str,
    dns: tuple[str, ...],
    uris: tuple[str, ...],
    emails: tuple[str, ...],
    table: Path | None,
    out: Path,
    csr: Path | None,
    p12: bool,
    password_file: Path | None,
    password_fd: int | None,
) -> None:
    """A certificate for a client: NAME.key (0600), NAME.pem with its issuer, and root.pem of the server.

    With --from a table of clients: killed at any moment, the same call goes on where it broke off.
    """
    from sealgate.pki.clients.naming import Asked

    context = load_context(config, state, as_json, missing_ok=True)
    if (name is None) == (table is None):
        raise UsageError("usage-wrong", "give a NAME, or a table with --from", "see: sealgate client add -h")
    asked = Asked(
        name=name or "", common_name=cn, dns=dns, uris=uris, emails=emails, groups=groups, days=days
    )
    if table is not None:
        if cn or dns or uris or emails or csr or p12:
            fact = "--from takes names from the table, and makes a key for each of its rows"
            raise UsageError("usage-wrong", fact, "leave out --cn, --dns, --uri, --email, --csr and --p12")
        _from_table(context, table, out, asked)
        return
    asked.check()
    wanted = _Wanted.of(asked.name, out, csr, p12=p12, password_file=password_file, password_fd=password_fd)
    from sealgate.pki.clients.orders import application

    order = {
        "order": "client-issue",
        "applications": [application(asked, wanted.spki, own_key=csr is None)],
    }
    with wanted.prepared(replacing=False):
        answer = answer_of(context, order)
    _handed(context, wanted, answer)


@click.command(short_help="Another certificate for a client; the one before stays good.")
@click.argument("name", metavar="NAME")
@common_options
@_handing
def renew(  # noqa: PLR0913 - one for each option
    *,
    name: str,
    config: Path | None,
    state: Path | None,
    as_json: bool,
    out: Path,
    csr: Path | None,
    p12: bool,
    password_file: Path | None,
    password_fd: int | None,
) -> None:
    """Another certificate with the same names, groups and days, and another key. NAME's files are replaced.

    The one before stays good until its end: end it with `sealgate client revoke SERIAL`.
    """
    from sealgate.pki.clients.naming import Asked

    context = load_context(config, state, as_json, missing_ok=True)
    Asked(name=name, common_name="x").check()  # what cannot be a client's name is no file's either
    wanted = _Wanted.of(name, out, csr, p12=p12, password_file=password_file, password_fd=password_fd)
    order = {
        "order": "client-renew",
        "which": name,
        "spki": base64.b64encode(wanted.spki).decode("ascii"),
        "own_key": csr is None,
    }
    with wanted.prepared(replacing=True):
        answer = answer_of(context, order)
    _handed(context, wanted, answer)


class _Wanted:
    """Key, files and password of one certificate, all there before it is asked for."""

    def __init__(
        self, files: Files, key: PrivateKey | None, spki: bytes, password: bytes | None, *, made: bool
    ) -> None:
        self.files, self.key, self.spki, self.password = files, key, spki, password
        self.password_was_made = made

    @classmethod
    def of(
        cls,
        name: str,
        out: Path,
        csr: Path | None,
        *,
        p12: bool,
        password_file: Path | None,
        password_fd: int | None,
    ) -> _Wanted:
        """From the options."""
        from sealgate.pki.clients.handing import Files
        from sealgate.pki.keys import generate, spki

        files = Files(out, name)
        if (password_file or password_fd is not None) and not p12:
            raise UsageError("usage-wrong", "a password is for --p12", "add --p12, or leave it out")
        if csr is not None:
            if p12:
                fact = "--p12 needs the private key, which whoever made the request has"
                raise UsageError("usage-wrong", fact, "leave out --p12 or --csr")
            return cls(files, None, _requested(csr), None, made=False)
        password, made = password_for(files.p12, password_file, password_fd) if p12 else (None, False)
        key = generate("ecdsa-p256")
        return cls(files, key, spki(key), password, made=made)

    @contextlib.contextmanager
    def prepared(self, *, replacing: bool) -> Iterator[None]:
        """What would fail late fails now; a refusal leaves no directory behind."""
        from sealgate.pki.clients.handing import made_for, prepare

        with made_for(self.files.folder):
            prepare(self.files, replacing=replacing)
            yield


def _requested(path: Path) -> bytes:
    from sealgate.pki.clients.signing import LARGEST, read_request

    requested = read_request(_bytes_of(path, LARGEST + 1, "csr-unreadable"), str(path))
    if requested.names:
        note(f"the request calls its holder {', '.join(requested.names)}; only names given here are taken")
    return requested.spki


def _bytes_of(path: Path, most: int, code: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise UsageError(code, f"{path} cannot be read ({error.strerror})", "name a file that can") from error


def _handed(context: Context, wanted: _Wanted, answer: Mapping[str, Any]) -> None:
    from sealgate.pki.clients.handing import hand_over

    issued = answer["issued"][0]
    chain = (issued["pem"] + answer["issuer"]).encode()
    paths = hand_over(wanted.files, chain, answer["root"].encode(), key=wanted.key, password=wanted.password)
    if wanted.password_was_made and wanted.password is not None:
        show_once(wanted.password)
    if context.json:
        told = {key: value for key, value in issued.items() if key != "pem"}
        print_json(told | {"files": [str(path) for path in paths]})
        return
    until = issued["not_after"][:10]
    note(f"certificate for {issued['name']}, serial {issued['serial']}, good until {until}")
    note(f"written: {', '.join(map(str, paths))}")
    if context.policy.clients.mode == "off":
        note('the policy asks for none yet: clients.mode = "optional" or "required"')


# A table


def _from_table(context: Context, path: Path, out: Path, defaults: Asked) -> None:
    from sealgate.pki.clients.batch import issue_table
    from sealgate.pki.clients.office import check_groups
    from sealgate.pki.clients.table import LARGEST, read_table

    rows = read_table(_bytes_of(path, LARGEST + 1, "client-table"), str(path), defaults)
    for row in rows:
        check_groups(row, context.policy)
    with _known(context) as known, _progress(len(rows)) as told:
        done = issue_table(rows, out, _issuer(context), known, told=told)
    if context.json:
        print_json(
            {"issued": done.issued, "resumed": done.resumed, "there": done.there, "elsewhere": done.elsewhere}
        )
        return
    note(f"{done.issued} issued, {done.resumed} completed from a run before, {done.there} there already")
    if done.elsewhere:
        few = ", ".join(done.elsewhere[:5]) + (", ..." if len(done.elsewhere) > 5 else "")
        fact = f"{len(done.elsewhere)} have a certificate whose files are not in {out} ({few})"
        note(f"{fact}: sealgate client renew NAME")


def _issuer(context: Context) -> Callable[[Any], dict[str, Any]]:
    return lambda applications: answer_of(
        context, {"order": "client-issue", "applications": list(applications), "skipping": True}
    )


@contextlib.contextmanager
def _known(context: Context) -> Iterator[Callable[[str], str]]:
    """Who has a certificate already, by the store as it is: the newest and its issuer, PEM; else nothing."""
    from sealgate.pki.clients.register import Register
    from sealgate.pki.inspect import pem_of
    from sealgate.pki.state import State
    from sealgate.pki.store import Store
    from sealgate.pki.vault import load_certificates

    if not (context.state_path / "store.db").exists():
        yield lambda _: ""
        return
    state = State.open(context.state_path, create=False)
    made = load_certificates(state)
    issuer = pem_of(made["clients"]).decode() if made else ""
    with Store.open(state.store, read_only=True) as store:
        register = Register(store)
        yield lambda name: held[0].pem + issuer if (held := register.named(name)) else ""


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing in a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    screen = console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda number: progress.advance(task, number)
