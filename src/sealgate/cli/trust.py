"""``sealgate trust``: the private root into, or out of, this machine's trust stores."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealgate.cli._options import Context, common_options, load_context
from sealgate.cli._output import note, print_json, safe
from sealgate.errors import StateError, TrustStoreError

if TYPE_CHECKING:
    from sealgate.pki.trust import Found, Root

__all__ = ["command"]


@click.command(short_help="Let this machine and its browsers trust the private root.")
@common_options
@click.option(
    "--remove", "removing", is_flag=True, help="Take it out again, and earlier roots of this state too."
)
@click.option(
    "--print", "printing", is_flag=True, help="Change nothing; the last line is the path of the root's PEM."
)
def command(
    *, config: Path | None, state: Path | None, as_json: bool, removing: bool, printing: bool
) -> None:
    """Let this machine trust the private root: the system's store and browsers' (NSS) databases."""
    from sealgate.pki.trust import find_stores, this_machine

    context = load_context(config, state, as_json, missing_ok=True)
    current, earlier = _roots(context, make=not removing)
    found = find_stores(current, this_machine())
    problems = [] if printing else _change(found, current, earlier, removing=removing)
    seen = found if printing else find_stores(current, this_machine())
    if as_json:
        print_json(_document(current, seen, removing=removing))
    else:
        for one in seen:
            click.echo(_line(one, current, removing=removing and printing, printing=printing))
        if not seen:
            click.echo("no trust store was found on this machine")
        if printing:
            click.echo(str(current.path))
    if problems:
        # The others were seen to; the first that could not be says what to type.
        for problem in problems[1:]:
            note(f"sealgate: {problem}")
        raise problems[0]


def _roots(context: Context, *, make: bool) -> tuple[Root, tuple[Root, ...]]:
    """The root (made where there is none yet and one will be used), and the earlier ones of this state."""
    from cryptography import x509

    from sealgate._system.clock import system_clock
    from sealgate.pki.server import ensure_root
    from sealgate.pki.store import Store
    from sealgate.pki.trust import Root
    from sealgate.pki.vault import load_certificates

    make = make and context.policy.certificate.source == "private"
    state = context.open_state(create=make)
    certificates = load_certificates(state)
    if not certificates and not make:
        raise StateError(
            "state-missing",
            f"there is no private root in {safe(context.state_path)}",
            "name the state that has one with --state; certificates from files are trusted by their own "
            "authority's root",
        )
    root = certificates["root"] if certificates else ensure_root(state, context.policy, system_clock)
    earlier: list[Root] = []
    try:
        with Store.open(state.store, read_only=True) as store:
            pems = store.retired_roots()
    except StateError:
        pems = []
    earlier = [Root(x509.load_pem_x509_certificate(pem.encode()), state.root_pem) for pem in pems]
    return Root(root, state.root_pem), tuple(earlier)


def _change(
    found: tuple[Found, ...], current: Root, earlier: tuple[Root, ...], *, removing: bool
) -> list[TrustStoreError]:
    from sealgate.pki.trust import add, remove

    problems = []
    for one in found:
        try:
            remove(one, (current, *earlier) if removing else earlier)
            if not removing:
                add(one, current)
        except TrustStoreError as error:
            problems.append(error)
    return problems


def _line(one: Found, root: Root, *, removing: bool, printing: bool) -> str:
    where = f"{one.store.title}: {safe(one.place.path)}"
    if one.trusted == (not removing):
        return f"{where}: {'trusted' if one.trusted else 'not trusted'}"
    if not printing:
        return f"{where}: {'trusted' if one.trusted else 'not trusted'}"
    sudo = one.place.needs_root and os.geteuid() != 0
    line = one.removing(root, sudo=sudo) if removing else one.adding(root, sudo=sudo)
    return f"{where}: {'trusted' if one.trusted else 'not trusted'}; would run: {safe(line)}"


def _document(root: Root, found: tuple[Found, ...], *, removing: bool) -> dict[str, object]:
    from sealgate.pki.inspect import facts

    return {
        "root": str(root.path),
        "certificate": facts(root.certificate).as_json(),
        "stores": [
            {
                "id": one.store.id,
                "title": one.store.title,
                "path": str(one.place.path),
                "trusted": one.trusted,
                "needs_root": one.place.needs_root,
                "command": (one.removing if removing else one.adding)(root, sudo=one.place.needs_root),
            }
            for one in found
        ],
    }
